"""Checkpoints read safely and written: a file in, named float32 tensors out.

A checkpoint comes from anywhere, so no code in it is ever run: `torch.load(weights_only=True)` or
safetensors, after the archive has been checked.
"""

import argparse
import io
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perframe.errors import InputError, UnavailableError
from perframe.export.architecture import Architecture
from perframe.export.archive import check_archive, checkpoint_format
from perframe.export.pytorch import torch
from perframe.export.tensor_checks import check_finite, check_integers, check_storage
from perframe.files import atomic_path, readable_file, sha256_of

# Where training programs keep the weights, best first: the plain model before its moving average (EMA).
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net_state_dict",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "params_ema",
)
_MAX_NESTING = 4
_PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "backbone.",
    "net.",
    "network.",
    "encoder.",
    "student.",
    "ema.",
)
_SAVE_STATE_DICT = (
    "Save the state dict alone where the checkpoint comes from: torch.save(model.state_dict(), FILE)."
)


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one file.

    Attributes:
        path: The file.
        sha256: Its SHA-256.
        tensors: Floating point tensors of at least one dimension, as float32 on the CPU, in file order, all
            finite.
        buffers: Counters and index tables: scalars and integer tensors, as stored.
        stored_dtype: The type most of the weights were stored in, such as "float16".
        wrapper: Under which keys the state dict was found ("ema.state_dict"); None for a bare one.
        passed_over: Other state dicts in the file that were not taken, such as a moving average.
        prefix: What was cut off the front of every name ("module."); empty where nothing was.
    """

    path: Path
    sha256: str
    tensors: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]
    stored_dtype: str
    wrapper: str | None
    passed_over: tuple[str, ...]
    prefix: str

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of `tensors`, in file order."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a .pth, .pt, .pth.tar, .safetensors or pre-1.6 torch file, whatever its suffix.

    Raises:
        InputError: The file is missing, cut off, hostile, no checkpoint, or holds tensors that cannot be
            weights (NaN, infinite, integer, sparse, expanded beyond what the file stores).
        UnavailableError: There is no permission to read it, or a library is missing.
    """
    readable_file(path, "checkpoint")
    if checkpoint_format(path) == "safetensors":
        wrapper: str | None = None
        passed_over: tuple[str, ...] = ()
        found = _read_safetensors(path)
    else:
        if checkpoint_format(path) == "torch-zip":
            check_archive(path)
        content = _read_torch(path)
        if isinstance(content, torch.nn.Module):
            raise InputError(f"{path}: a whole pickled network, expected a state dict.", _SAVE_STATE_DICT)
        wrapper, found, passed_over = _unwrap(path, content)
    # Scalars apart: torch's AveragedModel puts its counter `n_averaged` beside `module.`.
    prefix = _common_prefix([name for name, tensor in found.items() if tensor.ndim > 0])
    found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    buffers = {
        name: tensor for name, tensor in found.items() if tensor.ndim == 0 or not tensor.is_floating_point()
    }
    weights = {name: tensor for name, tensor in found.items() if name not in buffers}
    check_storage(path, found)
    check_integers(path, buffers)
    if not weights:
        raise InputError(
            f"{path}: no weights in this checkpoint, only scalars and counters.", _SAVE_STATE_DICT
        )
    tensors = {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in weights.items()}
    check_finite(path, tensors)
    dtypes = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in weights.values())
    return Checkpoint(
        path=path,
        sha256=sha256_of(path),
        tensors=tensors,
        buffers=buffers,
        stored_dtype=dtypes.most_common(1)[0][0],
        wrapper=wrapper,
        passed_over=passed_over,
        prefix=prefix,
    )


def save_checkpoint(path: Path, network: torch.nn.Module, architecture: Architecture) -> None:
    """Write a network as training programs do: a dict of `arch` (a name) and `state_dict`.

    Equal networks give equal files.

    Raises:
        UnavailableError: The file cannot be written.
    """
    content = {"arch": architecture.name, "state_dict": network.state_dict()}
    # Given a path, torch would write the temporary file's name into the archive; and when the disk fills while it
    # writes, it ends in an error of its own, which says nothing of the disk.
    archive = io.BytesIO()
    torch.save(content, archive)
    with atomic_path(path) as temporary:
        temporary.write_bytes(archive.getbuffer())


def _read_torch(path: Path) -> Any:
    # argparse.Namespace is plain data, and training programs often keep their options in the checkpoint.
    allowed = torch.serialization.safe_globals([argparse.Namespace])
    try:
        # A file, not its path: given a path, newer versions of torch judge by the suffix.
        with path.open("rb") as file, warnings.catch_warnings(), allowed:
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except MemoryError as error:
        raise InputError(
            f"{path}: this checkpoint asks for more memory than there is.", "Was it cut off or altered?"
        ) from error
    # A damaged file makes torch's reader fail in any way there is.
    except Exception as error:
        if "TorchScript" in str(error):
            raise InputError(
                f"{path}: a TorchScript program, expected a state dict.",
                "Export it to ONNX with torch.onnx.export and give the .onnx.",
            ) from error
        raise InputError(
            f"{path}: this checkpoint is cut off or corrupt ({type(error).__name__}).",
            "Copy or download it again.",
        ) from error


def _refused(path: Path, reason: str) -> InputError:
    wanted = re.search(r"GLOBAL (\S+)", reason) or re.search(
        r"unrecognized function <[^>]*?'?([\w.]+)'?>", reason
    )
    if wanted is None:
        return InputError(
            f"{path}: this checkpoint is cut off or corrupt, or no state dict.", _SAVE_STATE_DICT
        )
    return InputError(
        f"{path}: expected tensors only, found a pickle that imports {wanted[1]}; nothing of it was run.",
        _SAVE_STATE_DICT,
    )


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "Reading .safetensors needs safetensors, which is not installed.",
            "Install it with: pip install 'perframe[torch]'",
        ) from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, ValueError, OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: this safetensors file is cut off or corrupt ({error}).", "Copy or download it again."
        ) from error


def _unwrap(path: Path, content: Any) -> tuple[str | None, dict[str, torch.Tensor], tuple[str, ...]]:
    """Find the state dict: its keys, its tensors, and the keys of others."""
    found = _state_dicts(content)
    if not found:
        keys = (
            ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
        )
        raise InputError(
            f"{path}: no tensors found in this checkpoint (it holds: {keys or 'nothing'}).", _SAVE_STATE_DICT
        )
    (taken, tensors), *others = found
    return taken or None, tensors, tuple(name for name, _ in others)


def _state_dicts(content: Any, depth: int = 0) -> list[tuple[str, dict[str, torch.Tensor]]]:
    """Every state dict under the usual keys, best first; failing those a bare one, failing that any other."""
    if not isinstance(content, Mapping) or depth > _MAX_NESTING:
        return []

    def under(keys: list[str]) -> list[tuple[str, dict[str, torch.Tensor]]]:
        return [
            (f"{key}.{inner}" if inner else key, tensors)
            for key in keys
            for inner, tensors in _state_dicts(content[key], depth + 1)
        ]

    usual = under([key for key in _WRAPPERS if key in content])
    if usual:
        return usual
    bare = {
        name: tensor
        for name, tensor in content.items()
        if isinstance(name, str) and isinstance(tensor, torch.Tensor)
    }
    if any(tensor.ndim > 0 for tensor in bare.values()):
        return [("", bare)]
    return under([key for key in content if isinstance(key, str) and "optim" not in key])


def _common_prefix(names: list[str]) -> str:
    """The known prefixes that all names share, one after the other."""
    prefix = ""
    while names:
        step = next((p for p in _PREFIXES if all(name.startswith(prefix + p) for name in names)), None)
        if step is None:
            break
        prefix += step
    return prefix
