"""The border to CUDA: one GPU's memory, streams, events and graphs, through whichever library is installed.

Whatever CUDA hands out crosses this border as a whole number, which is what TensorRT takes too, and is given back
when its context closes. Both libraries use the device's primary context, the one that TensorRT and every other
user of the runtime API share.
"""

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import NewType, Protocol

from perframe.arrays import Array
from perframe.engines.installed import driver_cuda
from perframe.errors import MeasurementError, OutOfMemoryError, PerframeError, UnavailableError

Address = NewType("Address", int)
"""Where memory begins on the device."""
Stream = NewType("Stream", int)
"""A queue of the device: what is put into it runs in order."""
Event = NewType("Event", int)
"""A mark in a stream that remembers when the device came by."""
Graph = NewType("Graph", int)
"""Work captured from a stream, launched again as one."""

# In the order they are preferred: pycuda has no graphs.
_LIBRARIES = {"cuda.bindings": "perframe.engines.cuda_bindings", "pycuda": "perframe.engines.cuda_pycuda"}


@dataclass(frozen=True)
class DeviceIdentity:
    """Which GPU it is.

    Attributes:
        name: Such as "NVIDIA H200".
        uuid: As nvidia-smi writes it, "GPU-..."; `None` where the library does not tell.
        compute_capability: Major and minor.
    """

    name: str
    uuid: str | None
    compute_capability: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability[0]}.{self.compute_capability[1]})"


class CaptureFailedError(Exception):
    """Work could not be captured into a graph. It can still be run as it is."""


class Cuda(Protocol):
    """One GPU that is open in this process, to be used from one thread.

    Every method raises:
        OutOfMemoryError: The device's memory, or the host's that can be pinned, does not suffice.
        MeasurementError: CUDA reports any other error.
    """

    library: str
    """Name and version of the library behind it."""
    device: DeviceIdentity
    """The GPU."""

    def memory(self, size: int) -> AbstractContextManager[Address]:
        """Hold `size` bytes on the device."""
        ...

    def pinned(self, size: int) -> AbstractContextManager[Array]:
        """Hold `size` bytes of page-locked host memory, as uint8. They are gone when the context closes."""
        ...

    def stream(self) -> AbstractContextManager[Stream]:
        """Hold a stream that does not wait for the default stream."""
        ...

    def event(self) -> AbstractContextManager[Event]:
        """Hold an event that takes the time."""
        ...

    def graph(self, stream: Stream, enqueue: Callable[[], None]) -> AbstractContextManager[Graph]:
        """Hold a graph of what `enqueue` puts into `stream`. None of it runs now.

        Raises:
            CaptureFailedError: The library has no graphs, or the work may not be captured.
        """
        ...

    def upload(self, address: Address, array: Array, stream: Stream) -> None:
        """Put a copy from pinned memory to the device into `stream`."""
        ...

    def download(self, array: Array, address: Address, stream: Stream) -> None:
        """Put a copy from the device to pinned memory into `stream`."""
        ...

    def launch(self, graph: Graph, stream: Stream) -> None:
        """Put a graph into `stream`."""
        ...

    def record(self, event: Event, stream: Stream) -> None:
        """Put an event into `stream`."""
        ...

    def wait(self, event: Event) -> None:
        """Return when the device has come by an event."""
        ...

    def elapsed_s(self, start: Event, end: Event) -> float:
        """Seconds on the device between two events that it has come by. Resolution 0.5 us."""
        ...

    def synchronize(self, stream: Stream) -> None:
        """Return when everything in `stream` is done."""
        ...


def open_cuda(index: int) -> AbstractContextManager[Cuda]:
    """Open the GPU that CUDA counts as `index`.

    Raises:
        UnavailableError: No library, driver or such GPU is there.
    """
    opened: AbstractContextManager[Cuda] = _library().open_device(index)
    return opened


def device_identity(index: int) -> DeviceIdentity:
    """Return which GPU CUDA counts as `index`. Does not make a context on it.

    Raises:
        UnavailableError: No library, driver or such GPU is there.
    """
    identity: DeviceIdentity = _library().identify(index)
    return identity


def cuda_unavailable() -> str | None:
    """Return why no GPU can be used here and what would mend it, as two lines; `None` if one can be used."""
    try:
        device_identity(0)
    except UnavailableError as error:
        return str(error)
    return None


def not_there(what: str) -> UnavailableError:
    """Return the error for a GPU that could not be opened."""
    if driver_cuda() is None:
        return UnavailableError(
            f"No GPU can be used through CUDA, since no NVIDIA driver is loaded: {what}.",
            "Install the NVIDIA driver; start a container with --gpus all.",
        )
    return UnavailableError(
        f"No GPU can be used through CUDA: {what}.",
        "Check nvidia-smi; the driver must be at least as new as the CUDA version of cuda-bindings or pycuda.",
    )


def failed(call: str, error: str, *, out_of_memory: bool) -> PerframeError:
    """Return the error for a call that failed on an open GPU.

    Args:
        call: The CUDA function.
        error: CUDA's name of the error, and what it says.
        out_of_memory: Whether the error says that memory does not suffice.
    """
    if out_of_memory:
        return OutOfMemoryError(
            f"{call}: out of memory: {error}.", "Give a smaller batch, or free the GPU's memory."
        )
    return MeasurementError(
        f"{call} failed on the GPU: {error}.", "Run it again; the GPU's own log (dmesg, Xid) may tell more."
    )


def _library() -> ModuleType:
    for package, module in _LIBRARIES.items():
        if _installed(package):
            return importlib.import_module(module)
    raise UnavailableError(
        "Neither cuda-bindings nor pycuda is installed: nothing can be run on the GPU.",
        "pip install cuda-bindings, of the CUDA version that the driver supports (or pycuda, which pip compiles).",
    )


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        # The package around it is missing.
        return False
