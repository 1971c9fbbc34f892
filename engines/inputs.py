"""Seeded inputs: the same bytes on every machine, and never zeros.

Data changes power: zeros run up to 15 % faster, and operand values move GEMM power by some 40 %
(arXiv 2409.18324). So inputs are drawn from a standard normal distribution, as normalised images are, and their
hash stands in the result.
"""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from perframe.arrays import Array
from perframe.errors import UnavailableError, UsageError
from perframe.export.onnx_model import TensorInfo


def seeded_inputs(
    infos: Iterable[TensorInfo], shapes: Mapping[str, tuple[int, ...]], seed: int
) -> dict[str, Array]:
    """Draw one array per input.

    Args:
        infos: Names and data types.
        shapes: Full shape of each input by name, batch dimension first.
        seed: Of the generator; equal seeds give equal bytes.

    Raises:
        UsageError: An input has a data type that numbers cannot be drawn for.
        UnavailableError: The inputs do not fit into memory.
    """
    generator = np.random.default_rng(seed)
    try:
        return {info.name: _draw(generator, info, shapes[info.name]) for info in infos}
    except (MemoryError, ValueError, OverflowError) as error:
        sizes = ", ".join("x".join(map(str, shape)) for shape in shapes.values())
        raise UnavailableError(
            f"Inputs of {sizes} do not fit into memory.", "Give a smaller batch or --input."
        ) from error


def inputs_sha256(inputs: Mapping[str, Array]) -> str:
    """Hash names, types, shapes and bytes of all inputs."""
    digest = hashlib.sha256()
    for name, array in sorted(inputs.items()):
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _draw(generator: np.random.Generator, info: TensorInfo, shape: tuple[int, ...]) -> Array:
    try:
        dtype = np.dtype(info.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind == "f":
        return generator.standard_normal(shape, dtype=np.float32).astype(dtype)
    if dtype.kind in "iu":
        # Small enough for any index or quantised pixel.
        return generator.integers(1, 100, shape).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    raise UsageError(
        f"Input {info.name!r} has data type {info.dtype}: no random values can be drawn for it.",
        "Export the model with float or integer inputs.",
    )
