"""Checkpoint -> ONNX, checked: load, recognise, build the network, export, compare, and only then keep."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perframe.engines.base import ModelInfo
from perframe.engines.describe import describe_model
from perframe.engines.parity import ParityReport, check_parity
from perframe.errors import UsageError
from perframe.export.architecture import Architecture, make_architecture
from perframe.export.cost import LayerCost, layer_costs
from perframe.export.onnx_model import OnnxModel, fixed_batch, open_onnx, resolve_input_shapes
from perframe.files import readable_file, writable_target
from perframe.progress import Progress, silent

if TYPE_CHECKING:
    from perframe.export.loading import LoadedNetwork

_IMAGENET = (3, 224, 224)


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint.

    Attributes:
        model: The ONNX file.
        parity: How far it is from the framework's network; `None` where the check was left out.
        notes: What was found on the way: the key that was unwrapped, the prefix that was stripped, ...
        export_s: Seconds the export took, loading and parity not counted.
    """

    model: OnnxModel
    parity: ParityReport | None
    notes: tuple[str, ...]
    export_s: float


def convert(
    checkpoint: Path,
    out: Path,
    *,
    input_shape: tuple[int, ...] | None = None,
    factory: str | None = None,
    parity: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Conversion:
    """Export a checkpoint to the ONNX file `out`.

    Args:
        checkpoint: See `perframe.export.checkpoint.load_checkpoint`.
        out: The ONNX file; it appears only if everything succeeded.
        input_shape: Channels, height, width; `None` takes the family's own.
        factory: `package.module:callable` that builds the `nn.Module`, for networks that are not recognised.
        parity: Whether to compare the result with the framework.
        seed: Of the inputs it is compared on.
        progress: Told what is going on.

    Raises:
        UsageError: `out` is the checkpoint, or an argument contradicts the checkpoint.
        InputError: The checkpoint is unreadable, hostile, incomplete or of an unknown architecture.
        UnavailableError: torch or ONNX Runtime is not installed, or `out` cannot be written.
        BuildError: Export or parity failed.
    """
    from perframe.export.checkpoint import load_checkpoint
    from perframe.export.loading import load_network
    from perframe.export.reference import reference_activations, run_reference
    from perframe.export.to_onnx import export_onnx

    writable_target(out, inputs=(checkpoint,))
    progress("loading the checkpoint", 0.0)
    network = load_network(load_checkpoint(checkpoint), factory)
    shape = network.input_shape if input_shape is None else _image(input_shape)
    if network.architecture is not None and shape[0] != network.architecture.in_channels:
        raise UsageError(
            f"{checkpoint}: its first layer takes {network.architecture.in_channels} channels,"
            f" found an input of {shape[0]}.",
            f"Give --input {network.architecture.in_channels}x{shape[1]}x{shape[2]}.",
        )
    metadata = {"perframe.checkpoint_sha256": network.checkpoint.sha256}
    if network.architecture is not None:
        metadata["perframe.architecture"] = network.architecture.name
    # The file takes its place only when it has passed, so it is made in a folder beside that place.
    with tempfile.TemporaryDirectory(prefix=".perframe-", dir=out.parent) as folder:
        draft = Path(folder) / out.name
        progress("exporting", 0.3)
        started = time.perf_counter()
        export_onnx(network.module, shape, draft, metadata=metadata)
        export_s = time.perf_counter() - started
        report = None
        if parity:
            progress("checking parity", 0.6)
            report = check_parity(
                draft,
                lambda image: run_reference(network.module, image),
                lambda image, modules: reference_activations(network.module, image, modules),
                shape,
                seed=seed,
            )
        # Weights that did not fit into the file lie beside it, and must be there before it is.
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == draft):
            file.replace(out.parent / file.name)
    return Conversion(model=open_onnx(out), parity=report, notes=_notes(network), export_s=export_s)


def new_checkpoint(
    family: str,
    out: Path,
    *,
    group_size: int | None = None,
    groups: int | None = None,
    width: float = 1.0,
    classes: int = 1000,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
) -> Architecture:
    """Write a checkpoint of an untrained network, with activations of realistic size.

    Args:
        family: `mobilenet-v1` or `resnext50`.
        out: The checkpoint file.
        group_size: Constant group size G (E2GC); give this or `groups`.
        groups: Constant number of groups g (FgGC).
        width: Multiplies every channel count.
        classes: Outputs of the network.
        seed: Of the weights.
        input_shape: Channels, height, width; 3 x 224 x 224 unless given.

    Raises:
        UsageError: The values contradict each other, or do not divide a layer's channels.
        UnavailableError: torch is not installed, or `out` cannot be written.
    """
    from perframe.export.checkpoint import save_checkpoint
    from perframe.export.networks import new_network
    from perframe.export.pytorch import resources_translated

    channels, height, width_px = _image(input_shape or _IMAGENET)
    writable_target(out)
    architecture = make_architecture(
        family, group_size=group_size, groups=groups, width=width, classes=classes, in_channels=channels
    )
    with resources_translated(f"{out}, {architecture.name} at {height}x{width_px}"):
        network = new_network(architecture, seed=seed, input_size=(height, width_px))
        save_checkpoint(out, network, architecture)
    return architecture


@dataclass(frozen=True)
class Inspection:
    """What a file holds: the network, its layers' cost, and what was noticed on the way."""

    model: ModelInfo
    costs: tuple[LayerCost, ...]
    notes: tuple[str, ...]


def inspect_file(
    file: Path,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None = None,
    factory: str | None = None,
    progress: Progress = silent,
) -> Inspection:
    """Say what network a checkpoint or ONNX file holds and what each layer costs.

    A checkpoint is exported for it, so that the layers are the ones that later results name.

    Args:
        file: Checkpoint or ONNX file.
        input_shapes: Sizes without the batch, by input name or for the only input.
        factory: See `convert`.
        progress: Told what is going on.

    Raises:
        PerframeError: See `convert` and `perframe.export.onnx_model.open_onnx`.
    """
    if not is_onnx(file):
        with tempfile.TemporaryDirectory(prefix="perframe-") as folder:
            out = Path(folder) / f"{file.name.split('.')[0]}.onnx"
            shape = only_shape(input_shapes)
            done = convert(file, out, input_shape=shape, factory=factory, parity=False, progress=progress)
            return _inspected(done.model, None, done.notes)
    return _inspected(open_onnx(file), input_shapes, ())


def is_onnx(file: Path) -> bool:
    """Tell an ONNX file from a checkpoint, by its name or else by its first byte.

    Raises:
        InputError: The file is missing, empty or a directory.
    """
    readable_file(file, "checkpoint or ONNX model")
    if file.suffix.lower() == ".onnx":
        return True
    with file.open("rb") as stream:
        # Field 1 of the message, the IR version; zip, pickle and safetensors all begin with something else.
        return stream.read(1) == b"\x08"


def only_shape(shapes: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the shape given for the one input of a checkpoint's network, whatever it was called.

    Raises:
        UsageError: Shapes were given for several inputs.
    """
    if shapes is None or isinstance(shapes, tuple):
        return shapes
    if len(shapes) > 1:
        raise UsageError(
            f"Shapes were given for {len(shapes)} inputs ({', '.join(shapes)}); a checkpoint's network has one.",
            "Give --input once, such as --input 3x224x224.",
        )
    return next(iter(shapes.values()))


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


def _inspected(
    model: OnnxModel,
    input_shapes: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None,
    notes: tuple[str, ...],
) -> Inspection:
    shapes = resolve_input_shapes(model, fixed_batch(model) or 1, input_shapes)
    costs = layer_costs(model, shapes)
    return Inspection(describe_model(model, costs, shapes[model.inputs[0].name]), costs, notes)


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UsageError(
            f"Input {'x'.join(map(str, shape))}: expected channels, height and width.",
            "Give --input 3x224x224.",
        )
    channels, height, width = shape
    return channels, height, width
