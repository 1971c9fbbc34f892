"""Which of NVML's GPUs is meant: by index, UUID or PCI address, or as CUDA counts them.

NVML counts all GPUs by PCI address. CUDA counts those of CUDA_VISIBLE_DEVICES, and by default the fastest first
(CUDA Programming Guide, CUDA environment variables), so its `cuda:0` may be another card than nvidia-smi's GPU 0.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perframe.engines.cuda import device_identity
from perframe.errors import UnavailableError, UsageError
from perframe.profiler.sensors.nvml_answers import Answer, Status, ask
from perframe.profiler.sensors.nvml_library import NvmlLibrary

_UUID = re.compile(r"GPU-[0-9a-fA-F-]+")
_PCI = re.compile(r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})(?:\.0)?")
_INTEGER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Gpu:
    """One of NVML's GPUs.

    Attributes:
        index: As nvidia-smi counts.
        name: Such as "NVIDIA A100-SXM4-40GB"; "GPU" where it does not tell.
        uuid: None where it does not tell.
        pci: Domain, bus and device; None where it does not tell.
    """

    index: int
    name: str
    uuid: str | None
    pci: tuple[int, int, int] | None

    def __str__(self) -> str:
        return f"{self.name} (GPU {self.index}{f', {self.uuid}' if self.uuid else ''})"


def list_gpus(library: NvmlLibrary) -> list[Gpu]:
    """Return the GPUs that NVML can open, in its order; NVML must be initialised.

    Raises:
        UnavailableError: There is none.
    """
    count = ask(library, library.nvmlDeviceGetCount)
    gpus, refused = [], [] if count.value is not None else [str(count)]
    for index in range(count.value or 0):
        # Devices that a container may not use, and gaps in the numbering, are still counted.
        handle = ask(library, lambda index=index: library.nvmlDeviceGetHandleByIndex(index))  # type: ignore[misc]
        if handle.status is not Status.OK:
            refused.append(f"GPU {index}: {handle}")
            continue
        gpus.append(_gpu(library, index, handle.value))
    if not gpus:
        why = f": {'; '.join(refused)}" if refused else ""
        raise UnavailableError(
            f"NVML: no NVIDIA GPU can be opened{why}.",
            "Check nvidia-smi -L; start a container with --gpus all.",
        )
    return gpus


def _gpu(library: NvmlLibrary, index: int, handle: object) -> Gpu:
    name = ask(library, lambda: library.nvmlDeviceGetName(handle))
    uuid = ask(library, lambda: library.nvmlDeviceGetUUID(handle))
    place: Answer[tuple[int, int, int]] = ask(library, lambda: _place(library, handle))
    return Gpu(index, name.value or "GPU", uuid.value or None, place.value)


def _place(library: NvmlLibrary, handle: object) -> tuple[int, int, int]:
    info = library.nvmlDeviceGetPciInfo(handle)
    return info.domain, info.bus, info.device


def check_name(argument: str) -> None:
    """Check that a name could be a GPU's.

    Raises:
        UsageError: It is no index, UUID or PCI address.
    """
    if not (argument.isdecimal() or _UUID.fullmatch(argument) or _PCI.fullmatch(argument)):
        raise UsageError(
            f"--sensor nvml:{argument}: expected an index, a UUID (GPU-...) or a PCI address.",
            "nvidia-smi -L lists the GPUs.",
        )


def gpu_named(gpus: Sequence[Gpu], argument: str) -> Gpu:
    """Return the GPU with an index of nvidia-smi, a UUID or its beginning, or a PCI address.

    Raises:
        UsageError: The argument is none of these.
        UnavailableError: There is no such GPU, or several.
    """
    check_name(argument)
    if argument.isdecimal():
        found = [gpu for gpu in gpus if gpu.index == int(argument)]
    elif (pci := _PCI.fullmatch(argument)) is not None:
        place = tuple(int(part or "0", 16) for part in pci.groups())
        found = [gpu for gpu in gpus if gpu.pci == place]
    else:
        found = _with_uuid(gpus, argument)
    if len(found) != 1:
        listed = ", ".join(map(str, gpus))
        raise UnavailableError(
            f"NVML: {'several GPUs are' if found else 'no GPU is'} called {argument}; there is {listed}.",
            "Give nvml:INDEX or nvml:UUID of one of them.",
        )
    return found[0]


def uuid_of_cuda(ordinal: int) -> str | None:
    """Ask CUDA for the UUID of the GPU that it counts as `ordinal`; None where it cannot be asked."""
    try:
        return device_identity(ordinal).uuid
    except UnavailableError:
        return None


def gpu_of_cuda(gpus: Sequence[Gpu], ordinal: int, environment: Mapping[str, str]) -> Gpu:
    """Return the GPU that a CUDA program knows as `cuda:ordinal`.

    Args:
        gpus: All GPUs.
        ordinal: CUDA's number of it.
        environment: Where CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER stand.

    Raises:
        UnavailableError: CUDA sees no such GPU, the one it sees is a MIG instance, or it cannot be told which it is.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    by_place = sorted(gpus, key=lambda gpu: (gpu.pci is None, gpu.pci or (0, 0, 0), gpu.index))
    # Equal cards are equally fast, and CUDA then keeps them in the order of their addresses.
    in_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({gpu.name for gpu in gpus}) == 1
    seen: Sequence[Gpu | None] = by_place if in_order else [None] * len(gpus)
    if visible is not None:
        seen = _visible(visible, seen, gpus)
    if ordinal >= len(seen):
        setting = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
        raise UnavailableError(
            f"cuda:{ordinal}: CUDA sees {len(seen)} of {len(gpus)} GPUs{setting}.",
            "Give another --device, or change CUDA_VISIBLE_DEVICES.",
        )
    gpu = seen[ordinal]
    if gpu is None:
        raise UnavailableError(
            f"cuda:{ordinal}: CUDA counts the fastest GPU first, and which of these that is cannot be told from"
            f" outside: {', '.join(map(str, by_place))}.",
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or CUDA_VISIBLE_DEVICES to the UUID of one of them.",
        )
    return gpu


def _visible(setting: str, order: Sequence[Gpu | None], gpus: Sequence[Gpu]) -> Sequence[Gpu | None]:
    """Pick as CUDA does: up to the first entry that names no device; twice the same device is none at all."""
    seen: list[Gpu | None] = []
    indices: list[int] = []
    for entry in map(str.strip, setting.split(",")):
        if entry.startswith("MIG-"):
            raise UnavailableError(
                f"CUDA_VISIBLE_DEVICES={setting!r}: a MIG instance has no power reading of its own.",
                "Measure on a whole GPU: sudo nvidia-smi -mig 0, and give its index or UUID.",
            )
        if _INTEGER.fullmatch(entry):
            if not 0 <= int(entry) < len(order):
                break
            indices.append(int(entry))
            seen.append(order[int(entry)])
        else:
            found = _with_uuid(gpus, entry) if _UUID.fullmatch(entry) else []
            if len(found) != 1:
                break
            seen.append(found[0])
    known = [gpu for gpu in seen if gpu is not None]
    if len(set(known)) < len(known) or len(set(indices)) < len(indices):
        return []
    return seen


def _with_uuid(gpus: Sequence[Gpu], beginning: str) -> list[Gpu]:
    return [gpu for gpu in gpus if gpu.uuid and gpu.uuid.lower().startswith(beginning.lower())]
