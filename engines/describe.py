"""The network in an ONNX file, as it stands in results."""

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

import onnx

from perframe.engines.base import ModelInfo
from perframe.errors import InputError
from perframe.export.constants import constant_roots
from perframe.export.cost import LayerCost, totals
from perframe.export.onnx_model import OnnxModel
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
        precision=_precision(model),
        sha256=model.sha256,
        params=total.params,
        macs=total.macs,
        activations=total.activations,
        **_architecture(model),
    )


def _precision(model: OnnxModel) -> str:
    elements: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        elements[tensor.data_type] += prod(tensor.dims)
    weights = {kind: count for kind, count in elements.items() if kind in _PRECISIONS}
    # No weights: what the network computes in is what it is given.
    return _PRECISIONS[max(weights, key=weights.__getitem__)] if weights else model.inputs[0].dtype


def _architecture(model: OnnxModel) -> dict[str, Any]:
    shapes = _checkpoint_shapes(model.graph)
    try:
        architecture = recognise(shapes, str(model.path)).architecture
    except InputError:
        return {
            "name": model.path.stem,
            "family": "other",
            "variant": "other",
            "group_size": None,
            "groups": None,
        }
    return {
        "name": architecture.name,
        "family": architecture.family,
        "variant": architecture.variant,
        "group_size": architecture.group_size,
        "groups": architecture.groups,
    }


def _checkpoint_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Give the weights the shapes they had in a checkpoint, where BatchNorm was not yet folded into them."""
    roots = constant_roots(graph)
    dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes: dict[str, tuple[int, ...]] = {}
    for index, node in enumerate(graph.node):
        weight = next((dims[roots[t]] for t in node.input[1:2] if roots.get(t) in dims), ())
        if len(weight) == 4 and "Conv" in node.op_type:
            shapes[f"{index}.weight"] = weight
            for role in ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
                shapes[f"{index}.{role}"] = weight[:1]
        elif len(weight) == 2 and node.op_type in ("Gemm", "MatMul"):
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            shapes[f"{index}.weight"] = weight if transposed else weight[::-1]
            shapes[f"{index}.bias"] = shapes[f"{index}.weight"][:1]
    return shapes
