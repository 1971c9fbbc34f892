"""An fp32 ONNX file written in fp16, bf16 or int8."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from perframe.engines.running import InputShapes, running
from perframe.errors import BuildError, InputError, UsageError
from perframe.export.images import ImageSet
from perframe.export.narrow import Rounding, narrow
from perframe.export.onnx_model import open_onnx
from perframe.export.precision import PRECISIONS, prepare
from perframe.export.quantise import activations_to_quantise, quantise, quantised_layers, unquantised_layers
from perframe.export.ranges import CALIBRATORS, Magnitudes
from perframe.export.write_onnx import INLINE_LIMIT_BYTES, write_onnx
from perframe.progress import Progress, silent

CALIBRATION_KEY = "perframe.calibration"
"""Key of the model's metadata entry that says what an int8 model was calibrated on."""


@dataclass(frozen=True)
class PrecisionSpec:
    """In which precision a network shall be written.

    Attributes:
        name: One of `perframe.export.precision.PRECISIONS`.
        images: What int8 is calibrated on, see `perframe.export.images.read_images`; None for the others.
        calibrator: How int8's ranges are chosen, see `perframe.export.ranges`.

    Raises:
        UsageError: They contradict each other.
    """

    name: str = "fp32"
    images: Path | None = None
    calibrator: str = "entropy"

    def __post_init__(self) -> None:
        if self.name not in PRECISIONS or self.calibrator not in CALIBRATORS:
            wrong = self.calibrator if self.name in PRECISIONS else self.name
            raise UsageError(
                f"{wrong!r} is no precision or calibrator that is known.",
                f"Precisions are {', '.join(PRECISIONS)}; calibrators {', '.join(CALIBRATORS)}.",
            )
        if (self.name == "int8") != (self.images is not None):
            raise UsageError(
                f"int8 is scaled by images of yours; --precision {self.name} came with"
                f" {'none' if self.images is None else str(self.images)}.",
                "Give --precision int8 with --images FOLDER, .npy or .npz: some hundred the network will see.",
            )


def lower(
    fp32: Path,
    out: Path,
    spec: PrecisionSpec,
    images: ImageSet | None,
    *,
    source: str,
    input_shapes: InputShapes = None,
    progress: Progress = silent,
) -> tuple[str, ...]:
    """Write an fp32 ONNX file in another precision.

    Args:
        fp32: The file to read.
        out: The file to write.
        spec: The precision, not fp32.
        images: What `spec.images` holds, for int8; None for the others.
        source: The file the user gave, for messages.
        input_shapes: Sizes of dimensions that are symbolic.
        progress: Told how far the calibration is.

    Returns:
        What there is to know about it, sentence by sentence: rounded away weights, layers left in fp32.

    Raises:
        InputError: The file is not in fp32, or the images say nothing about a layer.
        BuildError: It cannot be written in that precision.
        UnavailableError: A library is missing, or `out` cannot be written.
    """
    if (size_bytes := open_onnx(fp32).size_bytes) > INLINE_LIMIT_BYTES:
        raise BuildError(
            f"{source}: {size_bytes / 1e9:.1f} GB of weights are too many for the tools that change a precision.",
            f"They take up to {INLINE_LIMIT_BYTES / 1e9:.0f} GB; export it in {spec.name} from its framework.",
        )
    model = prepare(onnx.load(str(fp32)), source)
    if images is None:
        rounding = narrow(model, spec.name, source)
        notes = _rounding_notes(spec.name, rounding)
    else:
        ranges = _ranges(fp32, activations_to_quantise(model.graph), images, spec, input_shapes, progress)
        quantise(model, ranges, source)
        calibration = f"{spec.calibrator}, {len(images.images)} images, sha256 {images.sha256}"
        model.metadata_props.add(key=CALIBRATION_KEY, value=calibration)
        notes = _quantising_notes(model.graph, images, spec)
    write_onnx(model, out)
    return notes


def _ranges(
    fp32: Path,
    tensors: Sequence[str],
    images: ImageSet,
    spec: PrecisionSpec,
    input_shapes: InputShapes,
    progress: Progress,
) -> Mapping[str, float]:
    magnitudes = {name: Magnitudes() for name in tensors}
    done = 0
    with running(fp32, input_shapes, show=tensors) as runner:
        for part in runner.over(images.images):
            for name, magnitude in magnitudes.items():
                if not np.isfinite(part[name]).all():
                    raise BuildError(
                        f"{images.source}: on these images {name!r} is not finite.",
                        "Are they scaled and normalised as in training?",
                    )
                magnitude.add(part[name])
            done += len(part[runner.model.inputs[0].name])
            progress("calibrating", done / len(images.images))
    ranges = {name: magnitude.range(spec.calibrator) for name, magnitude in magnitudes.items()}
    if (dead := next((name for name, reach in ranges.items() if reach == 0.0), None)) is not None:
        raise InputError(
            f"{images.source}: on these images {dead!r} is zero everywhere, which gives it no range.",
            "Give images that the network was trained for.",
        )
    return ranges


def _rounding_notes(precision: str, rounding: Rounding) -> tuple[str, ...]:
    notes = [f"{rounding.values} weights rounded to {precision}"]
    if rounding.clamped:
        notes.append(f"of these, {rounding.clamped} beyond its largest number and now that number")
    if rounding.vanished:
        notes.append(f"of these, {rounding.vanished} too small for it and now zero")
    if rounding.kept_fp32:
        notes.append(f"left in fp32, having no definition in {precision}: {', '.join(rounding.kept_fp32)}")
    return tuple(notes)


def _quantising_notes(graph: onnx.GraphProto, images: ImageSet, spec: PrecisionSpec) -> tuple[str, ...]:
    used = len(images.images)
    some = "" if used == images.available else f" of {images.available}, evenly spread"
    quantised, left = quantised_layers(graph), unquantised_layers(graph)
    notes = [
        f"calibrated by {spec.calibrator} on {used} images{some}",
        f"{len(quantised)} of {len(quantised) + len(left)} convolutions and matrix products in int8",
    ]
    if left:
        notes.append(f"left in fp32: {', '.join(left)}")
    return tuple(notes)
