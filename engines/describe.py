"""The network in an ONNX file, as it stands in results."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import onnx

from perframe.engines.base import ModelInfo
from perframe.errors import InputError
from perframe.export.constants import constant_roots
from perframe.export.cost import LayerCost, totals
from perframe.export.onnx_model import OnnxModel
from perframe.export.quantise import quantised_layers
from perframe.export.recognise import recognise

_PRECISIONS = {
    int(onnx.TensorProto.FLOAT): "fp32",
    int(onnx.TensorProto.FLOAT16): "fp16",
    int(onnx.TensorProto.BFLOAT16): "bf16",
    int(onnx.TensorProto.DOUBLE): "fp64",
    int(onnx.TensorProto.INT8): "int8",
    int(onnx.TensorProto.UINT8): "int8",
}


def describe_model(model: OnnxModel, costs: Sequence[LayerCost], input_shape: tuple[int, ...]) -> ModelInfo:
    """Describe `model`. Its architecture is recognised from the shapes of its weights, whoever exported it.

    Args:
        model: The ONNX model.
        costs: Its per-layer cost.
        input_shape: Full shape of its first input, batch dimension first.
    """
    total = totals(costs)
    return ModelInfo(
        input_shape=input_shape[1:],
        precision=precision_of(model),
        sha256=model.sha256,
        params=total.params,
        macs=total.macs,
        activations=total.activations,
        quantised=quantised_layers(model.graph),
        **architecture_fields(_checkpoint_shapes(model.graph), model.path.stem, str(model.path)),
    )


def architecture_fields(shapes: Mapping[str, tuple[int, ...]], name: str, source: str) -> dict[str, Any]:
    """Return the fields of `ModelInfo` that name an architecture, recognised from the shapes of its weights.

    Args:
        shapes: Name -> shape as in a checkpoint, see `perframe.export.recognise.recognise`.
        name: What to call a network that is not recognised.
        source: Which file.
    """
    try:
        architecture = recognise(shapes, source).architecture
    except InputError:
        return {"name": name, "family": "other", "variant": "other", "group_size": None, "groups": None}
    return {
        "name": architecture.name,
        "family": architecture.family,
        "variant": architecture.variant,
        "group_size": architecture.group_size,
        "groups": architecture.groups,
    }


def add_folded(shapes: dict[str, tuple[int, ...]], layer: str, weight: tuple[int, ...]) -> None:
    """Add the tensors that a layer had in a checkpoint: a convolution its BatchNorm, a matrix its bias.

    Args:
        shapes: Name -> shape, added to in place.
        layer: What to call the layer.
        weight: Shape of its weight.
    """
    shapes[f"{layer}.weight"] = weight
    if len(weight) == 4:
        for role in ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
            shapes[f"{layer}.{role}"] = weight[:1]
    else:
        shapes[f"{layer}.bias"] = weight[:1]


def precision_of(model: OnnxModel) -> str:
    """Return the data type of most weights of a model: `fp32`, `fp16`, `bf16`, `int8`, ..."""
    elements: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        elements[tensor.data_type] += prod(tensor.dims)
    weights = {kind: count for kind, count in elements.items() if kind in _PRECISIONS}
    # No weights: what the network computes in is what it is given.
    return _PRECISIONS[max(weights, key=weights.__getitem__)] if weights else model.inputs[0].dtype


def _checkpoint_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Give the weights the shapes they had in a checkpoint, where BatchNorm was not yet folded into them."""
    roots = constant_roots(graph)
    dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes: dict[str, tuple[int, ...]] = {}
    for index, node in enumerate(graph.node):
        weight = next((dims[roots[t]] for t in node.input[1:2] if roots.get(t) in dims), ())
        if len(weight) == 4 and "Conv" in node.op_type:
            add_folded(shapes, str(index), weight)
        elif len(weight) == 2 and node.op_type in ("Gemm", "MatMul"):
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            add_folded(shapes, str(index), weight if transposed else weight[::-1])
    return shapes
