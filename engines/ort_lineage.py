"""Which source nodes each step of an ONNX Runtime graph came from, at the optimisation level one deploys with.

At level ALL the runtime fuses nodes, renames them, drops their metadata and moves convolutions into a blocked
layout (NCHWc) with reorder steps around them: of MobileNet-V1's 57 profiled names only 16 are ONNX nodes. What
survives is the names of tensors. So both graphs are laid over each other by their tensors: the source nodes
between a step's inputs and its output are what the step computes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import onnx

from perframe.engines.base import EngineLayer
from perframe.engines.lineage import Neighbours, SourceGraph, fused_layer, main_node
from perframe.export.cost import LayerCost
from perframe.export.mac_ops import operands_of
from perframe.export.provenance import node_names

# Steps that only move data: between layouts on the CPU, between host and device elsewhere.
_MOVERS = frozenset({"ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost"})
# The same, where the runtime put them in; a network has some of its own.
_CONVERSIONS = frozenset({"Cast", "Transpose", "QuantizeLinear", "DequantizeLinear"})
# What the runtime puts before and behind the source node or tensor that it names a step or tensor after.
_PREFIX = re.compile(r"^(?:InsertedPrecisionFreeCast_|fused )")
_SUFFIX = re.compile(r"(?:_bn_nchwc|_nchwc|/\w+Fusion/|_token_\d+|/duplicated)$")


def engine_layers(
    source: onnx.GraphProto,
    optimised: onnx.GraphProto,
    costs: Sequence[LayerCost],
    modules: Mapping[str, str],
) -> tuple[EngineLayer, ...]:
    """Describe every step of the optimised graph by the source nodes it computes.

    Args:
        source: The graph as exported.
        optimised: The graph as the runtime saved it after optimising.
        costs: Per source node, see `perframe.export.cost.layer_costs`.
        modules: Source node to module path, see `perframe.export.provenance.node_modules`.

    Returns:
        One layer per optimised node, in execution order.
    """
    origin = SourceGraph(source)
    cost_of = {cost.name: cost for cost in costs}
    tensors = _Tensors(origin, optimised)
    claims = _claims(origin, optimised, tensors)
    steps = [tuple(origin.names[i] for i in sorted(claimed)) for claimed in claims]
    owners = [modules.get(main_node(nodes, cost_of) or "") for nodes in steps]
    neighbours = Neighbours([n.input for n in optimised.node], [n.output for n in optimised.node])
    layers: list[EngineLayer] = []
    for index, name in enumerate(node_names(optimised)):
        node, nodes = optimised.node[index], steps[index]
        moves = not nodes and node.op_type in _MOVERS | _CONVERSIONS
        # A step that computes, but nothing of its own in the source, is a part of what its reader computes.
        owners[index] = owners[index] if nodes else neighbours.owner(index, owners, before=moves)
        layer = fused_layer(name, node.op_type, nodes, cost_of, module=owners[index], overhead=moves)
        layers.append(replace(layer, macs=None) if not nodes and operands_of(node) else layer)
    return tuple(layers)


class _Tensors:
    """For every tensor of the optimised graph, the source tensor whose values it holds."""

    def __init__(self, source: SourceGraph, optimised: onnx.GraphProto) -> None:
        self._source = source
        self._output_of = {
            name: node.output[0]
            for name, node in zip(source.names, source.graph.node, strict=True)
            if node.output
        }
        anchors = [self._anchor(node) for node in optimised.node]
        # Source tensors that some step is named for, so that no other step computes them.
        self._named = {anchor for anchor in anchors if anchor} | {
            known for node in optimised.node for t in node.output if (known := self._known(t))
        }
        self.alias: dict[str, str] = {value.name: value.name for value in optimised.input}
        restored = {n.input[0]: n.output[0] for n in optimised.node if n.op_type == "ReorderOutput"}
        for node, anchor in zip(optimised.node, anchors, strict=True):
            for tensor in filter(None, node.output):
                if found := self._meaning(node, tensor, anchor, restored.get(tensor, "")):
                    self.alias[tensor] = found
        self.available = set(self.alias.values())

    def inputs_of(self, node: onnx.NodeProto) -> set[str]:
        """Source tensors that an optimised node reads."""
        return {self.alias[tensor] for tensor in node.input if tensor in self.alias}

    def _meaning(self, node: onnx.NodeProto, tensor: str, anchor: str | None, restored: str) -> str | None:
        if known := self._known(tensor):
            return known
        if restored in self._source.tensors:
            return restored
        if anchor is not None:
            return self._fused_on(node, anchor)
        if node.op_type in _MOVERS | _CONVERSIONS:
            return self.alias.get(node.input[0])
        return None

    def _known(self, tensor: str) -> str | None:
        """The source tensor that a tensor is named after."""
        return next((name for name in _stripped(tensor) if name in self._source.tensors), None)

    def _anchor(self, node: onnx.NodeProto) -> str | None:
        """The source tensor that a step is named after, or the output of the source node it is named after."""
        if node.op_type in _MOVERS:
            return None
        for name in _stripped(node.name):
            if name in self._output_of:
                return str(self._output_of[name])
            if name in self._source.tensors:
                return name
        return None

    def _fused_on(self, node: onnx.NodeProto, tensor: str) -> str:
        """Follow `tensor` through the additions and activations that were fused into `node` after it was named."""
        reads = self.inputs_of(node)
        while True:
            consumers = self._source.consumers[tensor]
            if len(consumers) != 1:
                return tensor
            consumer = self._source.graph.node[consumers[0]]
            others = set(self._source.data_inputs(consumers[0])) - {tensor}
            # What has weights is a step of its own, whichever tensor that step is named for.
            if operands_of(consumer) or consumer.output[0] in self._named or not others <= reads:
                return tensor
            tensor = consumer.output[0]


def _stripped(name: str) -> Iterator[str]:
    """`name`, then what is left of it as one after the other of the runtime's additions is taken off."""
    while name:
        yield name
        shorter = _SUFFIX.sub("", _PREFIX.sub("", name))
        if shorter == name:
            return
        name = shorter


def _claims(source: SourceGraph, optimised: onnx.GraphProto, tensors: _Tensors) -> list[set[int]]:
    claims: list[set[int]] = []
    claimed: set[int] = set()
    for node in optimised.node:
        found: set[int] = set()
        if node.op_type not in _MOVERS:
            # A step that writes what it reads, in another type or layout, computes nothing.
            writes = [known for t in node.output if (known := tensors.alias.get(t)) is not None]
            found = source.between(tensors.inputs_of(node), writes, tensors.available) - claimed
        claimed |= found
        claims.append(found)
    source.adopt(claims)
    return claims
