"""Tensors that a checkpoint may hold but a network cannot use, or only at the price of the whole memory."""

from pathlib import Path

from perframe.errors import InputError
from perframe.export.pytorch import torch

# Tied weights name one storage twice; more than this is no network but an attempt at the memory.
_MAX_EXPANSION = 2


def check_storage(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse tensors that are not plain numbers, or claim more elements than the file stores.

    Raises:
        InputError: The first such tensor, by name.
    """
    for name, tensor in tensors.items():
        kind = None
        if tensor.is_quantized:
            kind = "quantised"
        elif tensor.is_meta:
            kind = "empty (on the meta device)"
        elif tensor.layout != torch.strided:
            kind = "sparse"
        elif tensor.is_complex():
            kind = "complex"
        elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            kind = f"expanded to {tensor.numel()} elements beyond what the file stores"
        if kind is not None:
            raise InputError(
                f"{path}: the tensor {name!r} is {kind}, expected plain weights.",
                "Save the plain state dict.",
            )
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > _MAX_EXPANSION * path.stat().st_size:
        raise InputError(
            f"{path}: its tensors claim {claimed} bytes, the file has {path.stat().st_size}.",
            "Save the state dict again with torch.save.",
        )


def check_integers(path: Path, buffers: dict[str, torch.Tensor]) -> None:
    """Refuse integer weights; counters and the index tables of attention layers are no weights.

    Raises:
        InputError: The first such tensor, by name.
    """
    small = (torch.int8, torch.uint8, torch.int16)
    for name, tensor in buffers.items():
        if tensor.ndim == 4 or (tensor.ndim > 0 and tensor.dtype in small):
            raise InputError(
                f"{path}: the tensor {name!r} holds {tensor.dtype} integers, expected weights.",
                "Give the checkpoint from before quantisation.",
            )


def check_finite(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse NaN and infinite weights.

    Raises:
        InputError: The tensors that hold them, and how many.
    """
    broken = []
    for name, tensor in tensors.items():
        # One pass in the usual case: the sum is finite only if no element is NaN or infinite.
        if not torch.isfinite(tensor.sum(dtype=torch.float64)):
            nan = int(torch.isnan(tensor).sum())
            infinite = int(torch.isinf(tensor).sum())
            broken.append(f"{name} ({nan} NaN, {infinite} infinite of {tensor.numel()})")
    if broken:
        more = f" and {len(broken) - 4} more" if len(broken) > 4 else ""
        raise InputError(
            f"{path}: expected finite weights, found {', '.join(broken[:4])}{more}.",
            "The training diverged or the file was damaged; give an earlier checkpoint.",
        )
