"""int8, written into an ONNX file as pairs of QuantizeLinear and DequantizeLinear.

Everything is symmetric, and weights have a scale per output channel: TensorRT takes nothing else. Quantised are
the weights of every convolution and fully connected layer, grouped or not, and the activations such a layer
reads, after the ReLU before it and for all their readers. Results are not: a runtime fuses bias, ReLU and the
next layer's quantisation behind the sums, and a pair between them would be computed there as well. Biases stay
fp32, which TensorRT asks for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from perframe.arrays import Array
from perframe.errors import BuildError
from perframe.export.mac_ops import STANDARD_DOMAINS, operands_of
from perframe.export.provenance import MODULE_KEY, module_of, node_names

QUANTISED_KEY = "perframe.quantised"
"""Key of the model's metadata entry that lists its int8 layers, a JSON list of node names."""

_LARGEST = 127
# QuantizeLinear and DequantizeLinear have an axis from this operator set on.
_AXIS_OPSET = 13


@dataclass(frozen=True)
class _Layer:
    """A layer that can be quantised: its node, the tensors it multiplies, and the axis of its output channels."""

    node: onnx.NodeProto
    activation: str
    weight: str
    axis: int


def activations_to_quantise(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the tensors whose ranges `quantise` needs, in the order they are read."""
    return tuple(dict.fromkeys(layer.activation for layer in _layers(graph)))


def quantise(model: onnx.ModelProto, ranges: Mapping[str, float], source: str) -> None:
    """Write a model in int8, in place.

    Args:
        model: What `perframe.export.precision.prepare` returned.
        ranges: For each of `activations_to_quantise` the magnitude that int8's 127 shall stand for.
        source: Which file it came from, for messages.

    Raises:
        BuildError: The model has no layer to quantise, weights that are not finite, or too old an operator
            set.
    """
    opset = max((e.version for e in model.opset_import if e.domain in STANDARD_DOMAINS), default=0)
    if opset < _AXIS_OPSET:
        raise BuildError(
            f"{source}: int8 needs operator set {_AXIS_OPSET} or newer, found {opset}.",
            "Export the network again with a newer one.",
        )
    layers = _layers(model.graph)
    if not layers:
        raise BuildError(
            f"{source}: expected convolutions or fully connected layers with fp32 weights, found none.",
            "Export it in fp16 or bf16.",
        )
    _Quantising(model.graph, layers, ranges, source).apply()
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata[QUANTISED_KEY] = json.dumps(quantised_layers(model.graph))
    helper.set_model_props(model, metadata)


def quantised_layers(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the layers that multiply int8 by int8, by their names, whoever quantised the model.

    Whether two int8 results may be compared depends on it: a quantiser that leaves out layers of some group
    sizes makes those sizes look slower than they are.
    """
    return tuple(key for key, quantised in _multiplying(graph).items() if quantised)


def unquantised_layers(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the layers that multiply, but not int8 by int8."""
    return tuple(key for key, quantised in _multiplying(graph).items() if not quantised)


def _multiplying(graph: onnx.GraphProto) -> dict[str, bool]:
    """Every node that multiplies and accumulates, and whether it does so in int8."""
    integers = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    found = {}
    for key, node in zip(node_names(graph), graph.node, strict=True):
        if (operands := operands_of(node)) is not None:
            own = "QLinear" in node.op_type or "Integer" in node.op_type
            found[key] = own or {node.input[operands.data], node.input[operands.weight]} <= integers
    return found


def _layers(graph: onnx.GraphProto) -> list[_Layer]:
    weights = {t.name: len(t.dims) for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    found = []
    for node in graph.node:
        ranks = {"Conv": 3, "Gemm": 2, "MatMul": 2}
        if node.domain not in STANDARD_DOMAINS or node.op_type not in ranks:
            continue
        activation, weight = node.input[:2]
        rank = weights.get(weight, 0)
        if activation in weights or rank < ranks[node.op_type] or (rank > 2 and node.op_type != "Conv"):
            continue
        given = {attribute.name: attribute.i for attribute in node.attribute}
        # A matrix that is not transposed has its output channels in the columns.
        axis = 0 if node.op_type == "Conv" or given.get("transB") else 1
        found.append(_Layer(node, activation, weight, axis))
    return found


class _Quantising:
    """Puts the pairs into one graph, in place."""

    def __init__(
        self, graph: onnx.GraphProto, layers: list[_Layer], ranges: Mapping[str, float], source: str
    ) -> None:
        self._graph = graph
        self._layer_of = {layer.node.name: layer for layer in layers}
        self._ranges = ranges
        self._source = source
        self._values = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._read_as: dict[str, str] = {}

    def apply(self) -> None:
        activations = {layer.activation: layer.node for layer in reversed(self._layer_of.values())}
        for value in self._graph.input:
            if value.name in activations:
                self._quantise_activation(value.name, module_of(activations[value.name]))
        for node in self._graph.node:
            layer = self._layer_of.get(node.name)
            if layer is not None:
                node.input[1] = self._quantise_weight(layer)
            node.input[:] = [self._read_as.get(name, name) for name in node.input]
            self._nodes.append(node)
            for name in node.output:
                if name in activations:
                    self._quantise_activation(name, module_of(node))
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        # The fp32 weights that int8 ones replaced.
        read = {name for node in self._graph.node for name in node.input}
        replaced = {layer.weight for layer in self._layer_of.values()} - read
        kept = [tensor for tensor in self._graph.initializer if tensor.name not in replaced]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _quantise_activation(self, name: str, module: str | None) -> None:
        self._add_weight(f"{name}/scale", np.array(self._ranges[name] / _LARGEST, np.float32))
        self._add_weight(f"{name}/zero", np.array(0, np.int8))
        self._add_node("QuantizeLinear", name, f"{name}/int8", name, module)
        self._add_node("DequantizeLinear", f"{name}/int8", f"{name}/fp32", name, module)
        self._read_as[name] = f"{name}/fp32"

    def _quantise_weight(self, layer: _Layer) -> str:
        # A weight of two layers is quantised once, unless they have their channels in different places.
        stem = layer.weight if layer.axis == 0 else f"{layer.weight}/columns"
        if f"{stem}/int8" not in self._values:
            values = numpy_helper.to_array(self._values[layer.weight])
            others = tuple(axis for axis in range(values.ndim) if axis != layer.axis)
            largest = np.abs(values).max(axis=others, keepdims=True)
            if not np.isfinite(largest).all():
                raise BuildError(
                    f"{self._source}: the weights of {layer.node.name!r} are not all finite.",
                    "Check the checkpoint; did the training diverge?",
                )
            # A channel of zeros has no range; any scale gives back its zeros.
            scale = np.where(largest > 0, largest / np.float32(_LARGEST), np.float32(1))
            steps = np.clip(np.rint(values / scale), -_LARGEST, _LARGEST).astype(np.int8)
            self._add_weight(f"{stem}/int8", steps)
            self._add_weight(f"{stem}/scale", scale.ravel())
            self._add_weight(f"{stem}/zero", np.zeros(scale.size, np.int8))
            module = module_of(layer.node)
            self._add_node("DequantizeLinear", f"{stem}/int8", f"{stem}/fp32", stem, module, axis=layer.axis)
        return f"{stem}/fp32"

    def _add_weight(self, name: str, values: Array) -> None:
        tensor = numpy_helper.from_array(values, name)
        self._graph.initializer.append(tensor)
        self._values[name] = tensor

    def _add_node(
        self, op: str, read: str, written: str, stem: str, module: str | None, axis: int | None = None
    ) -> None:
        node = helper.make_node(op, [read, f"{stem}/scale", f"{stem}/zero"], [written], name=f"{stem}/{op}")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        node.metadata_props.add(key=MODULE_KEY, value=module or "")
        self._nodes.append(node)
