"""Parity: does the exported ONNX compute what the framework computes?"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from perframe.arrays import Array
from perframe.engines.base import BuildSpec
from perframe.engines.inputs import seeded_inputs
from perframe.engines.registry import backend_named
from perframe.errors import BuildError
from perframe.export.onnx_model import open_onnx, resolve_input_shapes
from perframe.export.provenance import node_modules, node_names

BATCHES = (1, 3)
# Largest error relative to the largest reference value. Two correct fp32 implementations of a 50-layer network
# differ by some 1e-6 of it (sums in another order); a wrong layer by far more than this.
TOLERANCE = 1e-4

Activations = Callable[[Array, Mapping[str, str]], Mapping[str, Array]]


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
    """The outcome of a passed parity check: one difference per batch size, and what was tolerated."""

    tolerance: float
    seed: int
    differences: tuple[Difference, ...]


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
    path: Path,
    reference: Callable[[Array], Array],
    activations: Activations,
    input_shape: tuple[int, ...],
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> ParityReport:
    """Compare an ONNX file, as ONNX Runtime deploys it on the CPU, with the framework's network.

    Args:
        path: The ONNX file.
        reference: Input of shape (batch, channels, height, width) to output, in the framework.
        activations: The same input, and the module of every ONNX node, to the outputs of nodes.
        input_shape: Channels, height, width.
        seed: Of the random inputs.
        tolerance: Largest relative error that passes, see `Difference.max_rel`.

    Raises:
        BuildError: The error is beyond the tolerance; the message names the first layer that diverges.
        UnavailableError: ONNX Runtime is not installed.
    """
    differences = []
    for batch in BATCHES:
        inputs, outputs = _run(path, input_shape, batch, seed)
        image = next(iter(inputs.values()))
        found = difference(reference(image), next(iter(outputs.values())))
        if not found.max_rel <= tolerance:
            layer = _first_divergent(path, activations, input_shape, batch, seed, tolerance)
            raise BuildError(
                f"{path}: parity failed at batch {batch}: expected a relative error of at most {tolerance:.0e},"
                f" found {found.max_rel:.1e} (cosine {found.cosine:.6f}); first layer that diverges: {layer}.",
                "Look at that layer's export; a newer torch or another --factory may export it right.",
            )
        differences.append(found)
    return ParityReport(tolerance=tolerance, seed=seed, differences=tuple(differences))


def _run(
    path: Path, input_shape: tuple[int, ...], batch: int, seed: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    backend = backend_named("onnxruntime")
    model = open_onnx(path)
    overrides = {info.name: input_shape for info in model.inputs}
    spec = BuildSpec(input_shapes=resolve_input_shapes(model, 1, overrides))
    with tempfile.TemporaryDirectory(prefix="perframe-") as folder:
        artifact = backend.build(model, spec, Path(folder) / "parity.onnx")
        with backend.open(artifact) as engine:
            inputs = seeded_inputs(model.inputs, resolve_input_shapes(model, batch, overrides), seed)
            return inputs, engine.infer(inputs)


def _first_divergent(
    path: Path,
    activations: Activations,
    input_shape: tuple[int, ...],
    batch: int,
    seed: int,
    tolerance: float,
) -> str:
    """Run the model with every inner tensor as an output, and walk both along the graph."""
    model = onnx.load(str(path))
    names = node_names(model.graph)
    outputs = {output.name for output in model.graph.output}
    inner = {node.output[0]: name for node, name in zip(model.graph.node, names, strict=True)}
    model.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in inner if tensor not in outputs)
    inferred = onnx.shape_inference.infer_shapes(model)
    with tempfile.TemporaryDirectory(prefix="perframe-") as folder:
        probe = Path(folder) / "probe.onnx"
        onnx.save(inferred, str(probe))
        inputs, values = _run(probe, input_shape, batch, seed)
    expected = activations(next(iter(inputs.values())), node_modules(model.graph))
    for tensor, name in inner.items():
        if name in expected and not difference(expected[name], values[tensor]).max_rel <= tolerance:
            return name
    return "none of the layers that could be compared"
