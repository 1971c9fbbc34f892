"""Checkpoint -> ONNX, checked: load, recognise, build the network, export, compare, and only then keep."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perframe.engines.accuracy import Accuracy, measure_accuracy
from perframe.engines.base import ModelInfo
from perframe.engines.describe import describe_model
from perframe.engines.lower import PrecisionSpec, lower
from perframe.engines.parity import ParityReport, check_layers, check_parity
from perframe.engines.running import InputShapes, image_shape, running
from perframe.engines.source import Source, checkpoint_source, onnx_source
from perframe.errors import UsageError
from perframe.export.architecture import Architecture, make_architecture
from perframe.export.cost import LayerCost, layer_costs
from perframe.export.images import read_images, read_labelled
from perframe.export.onnx_model import OnnxModel, fixed_batch, open_onnx, resolve_input_shapes
from perframe.export.quantise import quantised_layers, unquantised_layers
from perframe.files import readable_file, writable_target
from perframe.progress import Progress, silent

_IMAGENET = (3, 224, 224)
_FP32 = PrecisionSpec()


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint, or of an fp32 ONNX file.

    Attributes:
        model: The ONNX file.
        precision: What it is in, see `perframe.export.precision.PRECISIONS`.
        quantised: Names of the layers that multiply in int8.
        unquantised: In an int8 file, the convolutions and matrix products that do not.
        parity: How far it is from what it was exported from; `None` where the check was left out.
        accuracy: Top-1 on labelled images, where some were given.
        notes: What was found on the way: the key that was unwrapped, the prefix that was stripped, ...
        export_s: Seconds the export took, loading and parity not counted.
    """

    model: OnnxModel
    precision: str
    quantised: tuple[str, ...]
    unquantised: tuple[str, ...]
    parity: ParityReport | None
    accuracy: Accuracy | None
    notes: tuple[str, ...]
    export_s: float


def convert(
    file: Path,
    out: Path,
    *,
    input_shape: InputShapes = None,
    factory: str | None = None,
    precision: PrecisionSpec = _FP32,
    labelled: Path | None = None,
    parity: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Conversion:
    """Export a checkpoint, or an fp32 ONNX file in another precision, to the ONNX file `out`.

    Args:
        file: A checkpoint, see `perframe.export.checkpoint.load_checkpoint`; or an ONNX file.
        out: The ONNX file; it appears only if everything succeeded.
        input_shape: Channels, height, width; `None` takes the family's own, or what the ONNX file says.
        factory: `package.module:callable` that builds the `nn.Module`, for networks that are not recognised.
        precision: What to write it in.
        labelled: Images and labels to count right answers on, see `perframe.export.images.read_labelled`.
        parity: Whether to compare the result with the framework, or with the fp32 ONNX file.
        seed: Of the inputs it is compared on.
        progress: Told what is going on.

    Raises:
        UsageError: `out` is the input, or an argument contradicts the file or another argument.
        InputError: The file is unreadable, hostile, incomplete, of an unknown architecture or not in fp32; or
            images or labels do not fit.
        UnavailableError: torch or ONNX Runtime is not installed, or `out` cannot be written.
        BuildError: Export or parity failed.
    """
    read = (path for path in (file, precision.images, labelled) if path is not None)
    writable_target(out, inputs=tuple(read))
    # The file takes its place only when it has passed, so it is made in a folder beside that place.
    with tempfile.TemporaryDirectory(prefix=".perframe-", dir=out.parent) as folder:
        draft = Path(folder) / out.name
        fp32 = draft if precision.name == "fp32" else Path(folder) / "fp32" / out.name
        fp32.parent.mkdir(exist_ok=True)
        with _source(file, fp32, input_shape, factory, precision, progress) as source:
            shapes, export_s, notes = source.input_shapes, source.export_s, source.notes
            images = test_set = report = accuracy = None
            if precision.images is not None:
                images = read_images(precision.images, image_shape(open_onnx(source.fp32), shapes))
            if labelled is not None:
                test_set = read_labelled(labelled, image_shape(open_onnx(source.fp32), shapes))
            if parity and source.fp32 == fp32:
                progress("checking parity", 0.4)
                report = check_parity(fp32, source.reference, shapes, seed=seed)
            if precision.name != "fp32":
                started = time.perf_counter()
                notes += lower(
                    source.fp32,
                    draft,
                    precision,
                    images,
                    source=str(file),
                    input_shapes=shapes,
                    progress=progress,
                )
                export_s += time.perf_counter() - started
                if parity:
                    progress(f"checking parity in {precision.name}", 0.8)
                    report = check_layers(
                        draft,
                        source.fp32,
                        precision.name,
                        source.reference.output,
                        shapes,
                        images=None if images is None else images.images,
                        seed=seed,
                    )
            if test_set is not None:
                progress("counting right answers", 0.9)
                with running(draft, shapes) as exported:
                    accuracy = measure_accuracy(test_set, source.reference.output, exported)
        # Weights that did not fit into the file lie beside it, and must be there before it is.
        made = [path for path in Path(folder).iterdir() if path.is_file()]
        for path in sorted(made, key=lambda path: path == draft):
            path.replace(out.parent / path.name)
    model = open_onnx(out)
    return Conversion(
        model=model,
        precision=precision.name,
        quantised=quantised_layers(model.graph),
        unquantised=unquantised_layers(model.graph) if precision.name == "int8" else (),
        parity=report,
        accuracy=accuracy,
        notes=notes,
        export_s=export_s,
    )


@contextmanager
def _source(
    file: Path,
    fp32: Path,
    input_shape: InputShapes,
    factory: str | None,
    precision: PrecisionSpec,
    progress: Progress,
) -> Iterator[Source]:
    """Give what is exported; a checkpoint goes to the file `fp32` for it."""
    if not is_onnx(file):
        shape = only_shape(input_shape)
        yield checkpoint_source(file, fp32, None if shape is None else _image(shape), factory, progress)
    elif precision.name == "fp32":
        raise UsageError(
            f"{file}: an ONNX file; there is nothing to export in fp32.",
            "Give --precision fp16, bf16 or int8.",
        )
    else:
        with onnx_source(file, input_shape) as source:
            yield source


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
