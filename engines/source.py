"""What is exported: an fp32 ONNX file, and what the network in it must compute."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perframe.engines.parity import Reference
from perframe.engines.running import InputShapes, running
from perframe.errors import UsageError
from perframe.export.onnx_model import open_onnx
from perframe.export.precision import require_fp32
from perframe.progress import Progress

if TYPE_CHECKING:
    from perframe.export.loading import LoadedNetwork


@dataclass(frozen=True)
class Source:
    """An fp32 ONNX file and where it comes from.

    Attributes:
        fp32: The file.
        reference: What it must compute.
        input_shapes: Sizes of its symbolic dimensions.
        notes: What was noticed in the checkpoint.
        export_s: Seconds it took to write the file; 0 where it was there.
    """

    fp32: Path
    reference: Reference
    input_shapes: InputShapes
    notes: tuple[str, ...]
    export_s: float


def checkpoint_source(
    checkpoint: Path,
    fp32: Path,
    image: tuple[int, int, int] | None,
    factory: str | None,
    progress: Progress,
) -> Source:
    """Export a checkpoint to the file `fp32`.

    Args:
        checkpoint: See `perframe.export.checkpoint.load_checkpoint`.
        fp32: The ONNX file to write.
        image: Channels, height, width; `None` takes the family's own.
        factory: See `perframe.engines.convert.convert`.
        progress: Told what is going on.

    Raises:
        PerframeError: See `perframe.engines.convert.convert`.
    """
    from perframe.export.checkpoint import load_checkpoint
    from perframe.export.loading import load_network
    from perframe.export.reference import reference_activations, run_reference
    from perframe.export.to_onnx import export_onnx

    progress("loading the checkpoint", 0.0)
    network = load_network(load_checkpoint(checkpoint), factory)
    channels, height, width = image or network.input_shape
    if network.architecture is not None and channels != network.architecture.in_channels:
        raise UsageError(
            f"{checkpoint}: its first layer takes {network.architecture.in_channels} channels,"
            f" found an input of {channels}.",
            f"Give --input {network.architecture.in_channels}x{height}x{width}.",
        )
    metadata = {"perframe.checkpoint_sha256": network.checkpoint.sha256}
    if network.architecture is not None:
        metadata["perframe.architecture"] = network.architecture.name
    progress("exporting", 0.3)
    started = time.perf_counter()
    export_onnx(network.module, (channels, height, width), fp32, metadata=metadata)
    reference = Reference(
        lambda inputs: run_reference(network.module, next(iter(inputs.values()))),
        lambda inputs, modules: reference_activations(network.module, next(iter(inputs.values())), modules),
    )
    return Source(fp32, reference, (channels, height, width), _notes(network), time.perf_counter() - started)


@contextmanager
def onnx_source(file: Path, input_shapes: InputShapes) -> Iterator[Source]:
    """Take an ONNX file, which is then its own reference.

    Args:
        file: The file, in fp32.
        input_shapes: Sizes of dimensions that are symbolic.

    Raises:
        InputError: It is not in fp32.
        PerframeError: See `perframe.engines.running.running`.
    """
    require_fp32(open_onnx(file).proto, str(file))

    with running(file, input_shapes) as runner:
        yield Source(file, Reference(runner.output, lambda inputs, modules: {}), input_shapes, (), 0.0)


def _notes(network: "LoadedNetwork") -> tuple[str, ...]:
    checkpoint = network.checkpoint
    notes = []
    if checkpoint.wrapper is not None:
        notes.append(f"weights taken from {checkpoint.wrapper!r}")
    if checkpoint.passed_over:
        notes.append(f"also in the file, not taken: {', '.join(checkpoint.passed_over)}")
    if checkpoint.prefix:
        notes.append(f"prefix {checkpoint.prefix!r} cut off every name")
    if checkpoint.stored_dtype != "float32":
        notes.append(f"weights stored as {checkpoint.stored_dtype}, exported as float32")
    architecture = network.architecture
    if architecture is not None and architecture.group_size is not None and architecture.groups is not None:
        notes.append(
            f"E2GC with G = {architecture.group_size} and FgGC with g = {architecture.groups} coincide in this network"
        )
    return tuple(notes)
