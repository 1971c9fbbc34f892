"""Parity: does the exported ONNX compute what the framework, or the fp32 model, computes?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from pathlib import Path

import numpy as np
import onnx

from perframe.arrays import Array
from perframe.engines.inputs import seeded_inputs
from perframe.engines.running import InputShapes, running, running_model
from perframe.errors import BuildError
from perframe.export.onnx_model import OnnxModel, fixed_batch, open_onnx, resolve_input_shapes
from perframe.export.precision import prepare
from perframe.export.provenance import node_modules, node_names
from perframe.export.twins import ERROR, SIZE, with_twins

BATCHES = (1, 3)
# Largest error relative to the largest reference value. Two correct fp32 implementations of a 50-layer network
# differ by some 1e-6 to 1e-5 of it (sums in another order); a wrong layer by far more than this.
TOLERANCE = 1e-4

LAYER_TOLERANCES = {
    # Sixteen times the unit roundoff of the type, 2**-11 and 2**-8. Weights and the result are rounded once each: 0.7
    # to 1.9 units are usual, and several where the products of a layer nearly cancel.
    "fp16": 16 * 2**-11,
    "bf16": 16 * 2**-8,
    # 255 steps over the range of a tensor: 2 to 5 % are usual, and a scale that is wrong by a factor of two makes
    # it 50 or 100 %.
    "int8": 0.2,
}
"""By precision, the largest error a layer may add to its result: root mean square, relative to that of the result.

Of the whole network no such figure can be asked: roundoff is amplified, in untrained networks a hundredfold. What is
left of the answers is for labelled images to tell."""

_METHODS = {
    "fp16": "weights and results rounded to fp16, sums in fp32",
    "bf16": "weights and results rounded to bf16, sums in fp32",
    "int8": "as ONNX Runtime deploys it",
}
_REMEDIES = {
    "fp16": "Numbers of fp16 end at 65504; bf16 reaches as far as fp32.",
    "bf16": "Take fp16, or --no-parity if the accuracy suffices.",
    "int8": "Give more, and typical, --images or another --calibrator; or --no-parity if the accuracy suffices.",
}


@dataclass(frozen=True)
class Reference:
    """What a network must compute.

    Attributes:
        output: Inputs by name to the first output.
        activations: The same inputs, and the module of every node of the exported graph by the node's name, to
            the outputs of nodes by name, as far as they are known.
    """

    output: Callable[[Mapping[str, Array]], Array]
    activations: Callable[[Mapping[str, Array], Mapping[str, str]], Mapping[str, Array]]


@dataclass(frozen=True)
class Difference:
    """How far outputs are from the reference.

    Attributes:
        batch: Frames compared.
        max_abs: Largest absolute error.
        max_rel: The same over the largest absolute reference value.
        cosine: Cosine of the angle between both, all values taken as one vector.
        top1_agreement: Share of frames whose largest output has the same index.
    """

    batch: int
    max_abs: float
    max_rel: float
    cosine: float
    top1_agreement: float


@dataclass(frozen=True)
class ParityReport:
    """The outcome of a passed parity check.

    Attributes:
        method: How the file was computed, on the CPU.
        tolerance: The largest error that passes: in fp32 of the network, see `Difference.max_rel`; else of one
            layer, see `LAYER_TOLERANCES`.
        seed: Of the random inputs; None where images were given.
        differences: Of the network, one per batch size.
        worst_layer: Where the file is not in fp32, the layer that adds the largest error.
        worst_layer_error: That error.
    """

    method: str
    tolerance: float
    seed: int | None
    differences: tuple[Difference, ...]
    worst_layer: str | None = None
    worst_layer_error: float | None = None


def difference(reference: Array, candidate: Array) -> Difference:
    """Compare two outputs of shape (batch, ...). A value that is not finite counts as infinitely far off."""
    if reference.shape != candidate.shape:
        infinite = float("inf")
        return Difference(reference.shape[0], infinite, infinite, 0.0, 0.0)
    a, b = reference.astype(np.float64), candidate.astype(np.float64)
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all())
    largest = float(np.abs(a).max()) if finite else 0.0
    max_abs = float(np.abs(a - b).max()) if finite else float("inf")
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b)) if finite else 0.0
    rows_a, rows_b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return Difference(
        batch=len(a),
        max_abs=max_abs,
        max_rel=max_abs / largest if largest else (0.0 if max_abs == 0.0 else float("inf")),
        cosine=float(np.vdot(a, b)) / lengths if lengths else float(max_abs == 0.0),
        top1_agreement=float(np.mean(rows_a.argmax(axis=1) == rows_b.argmax(axis=1))),
    )


def check_parity(
    path: Path, reference: Reference, input_shapes: InputShapes = None, *, seed: int = 0
) -> ParityReport:
    """Compare an fp32 ONNX file, as ONNX Runtime deploys it on the CPU, with what it was exported from.

    Args:
        path: The ONNX file.
        reference: What it shall compute.
        input_shapes: Sizes of dimensions that are symbolic.
        seed: Of the random inputs.

    Raises:
        BuildError: The error is beyond the tolerance; the message names the first layer that diverges.
        UnavailableError: ONNX Runtime is not installed.
    """
    differences = []
    with running(path, input_shapes) as runner:
        for inputs in _inputs(runner.model, input_shapes, None, seed):
            found = difference(reference.output(inputs), runner.output(inputs))
            if not found.max_rel <= TOLERANCE:
                layer = _first_divergent(path, reference, inputs, input_shapes)
                raise BuildError(
                    f"{path}: parity failed at batch {found.batch}: expected a relative error of at most"
                    f" {TOLERANCE:.0e}, found {found.max_rel:.1e} (cosine {found.cosine:.6f}); first layer that"
                    f" diverges: {layer}.",
                    "Look at that layer's export; a newer torch or another --factory may export it right.",
                )
            differences.append(found)
    return ParityReport("as ONNX Runtime deploys it", TOLERANCE, seed, tuple(differences))


def check_layers(
    path: Path,
    fp32: Path,
    precision: str,
    reference: Callable[[Mapping[str, Array]], Array],
    input_shapes: InputShapes = None,
    *,
    images: Array | None = None,
    seed: int = 0,
) -> ParityReport:
    """Compare every layer of a file in fp16, bf16 or int8 with the fp32 layer it was made from.

    Each is given the same inputs as its original, those that the reduced network computes on the CPU.

    Args:
        path: The ONNX file.
        fp32: What it was made from.
        precision: What it is in.
        reference: Inputs by name to the first output, in fp32: how far the network is off is reported too.
        input_shapes: Sizes of dimensions that are symbolic.
        images: To compare on, for a network with one input; the first ones are taken. Random inputs unless
            given: int8 is right only for what it was calibrated on.
        seed: Of the random inputs.

    Raises:
        BuildError: A layer adds more than it may; the message names the first.
        UnavailableError: ONNX Runtime is not installed.
    """
    tolerance = LAYER_TOLERANCES[precision]
    proto, layers = with_twins(onnx.load(str(path)), prepare(onnx.load(str(fp32)), str(fp32)))
    with running(path, input_shapes) as runner:
        inputs = _inputs(runner.model, input_shapes, images, seed)
        differences = tuple(difference(reference(each), runner.output(each)) for each in inputs)
    with running_model(proto, input_shapes) as runner:
        found = runner.run(inputs[-1])
    errors = {layer: _relative(float(found[layer + ERROR]), float(found[layer + SIZE])) for layer in layers}
    for layer, error in errors.items():
        if not error <= tolerance:
            raise BuildError(
                f"{path}: parity failed: expected each layer to add an error of at most {tolerance:.0e},"
                f" found {error:.1e}; first layer that diverges: {layer}.",
                _REMEDIES[precision],
            )
    worst = max(errors, key=errors.__getitem__)
    return ParityReport(
        method=_METHODS[precision],
        tolerance=tolerance,
        seed=seed if images is None else None,
        differences=differences,
        worst_layer=worst,
        worst_layer_error=errors[worst],
    )


def _relative(error: float, size: float) -> float:
    if not (isfinite(error) and isfinite(size)):
        return inf
    return sqrt(error / size) if size else (inf if error else 0.0)


def _inputs(
    model: OnnxModel, input_shapes: InputShapes, images: Array | None, seed: int
) -> list[dict[str, Array]]:
    """One set of inputs per batch size."""
    fixed = fixed_batch(model)
    batches = BATCHES if fixed is None else (fixed,)
    if images is not None:
        return [{model.inputs[0].name: images[np.arange(batch) % len(images)]} for batch in batches]
    return [
        seeded_inputs(model.inputs, resolve_input_shapes(model, batch, input_shapes), seed)
        for batch in batches
    ]


def _first_divergent(
    path: Path, reference: Reference, inputs: Mapping[str, Array], input_shapes: InputShapes
) -> str:
    """Walk along the graph, the outputs of its nodes beside those of the reference."""
    graph = open_onnx(path).graph
    expected = reference.activations(inputs, node_modules(graph))
    nodes = zip(node_names(graph), graph.node, strict=True)
    tensors = {name: node.output[0] for name, node in nodes if name in expected}
    with running(path, input_shapes, show=tensors.values()) as runner:
        found = runner.run(inputs)
    for name, tensor in tensors.items():
        if not difference(expected[name], found[tensor]).max_rel <= TOLERANCE:
            return name
    return "none of the layers that could be compared"
