"""Which source nodes each step of an ONNX Runtime graph came from, at the optimisation level one deploys with.

At level ALL the runtime fuses nodes, renames them, drops their metadata and moves convolutions into a blocked
layout (NCHWc) with reorder steps around them: of MobileNet-V1's 57 profiled names only 16 are ONNX nodes. What
survives is the names of tensors. So both graphs are laid over each other by their tensors: the source nodes
between a step's inputs and its output are what the step computes.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import onnx

from perframe.engines.base import EngineLayer
from perframe.export.constants import constant_roots
from perframe.export.cost import LayerCost, sum_or_none
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
    origin = _Source(source)
    cost_of = {cost.name: cost for cost in costs}
    tensors = _Tensors(origin, optimised)
    claims = _claims(origin, optimised, tensors)

    main = [_main_node([origin.names[i] for i in sorted(claimed)], cost_of) for claimed in claims]
    owners = [modules.get(name) if name else None for name in main]
    neighbours = _Neighbours(optimised)
    layers: list[EngineLayer] = []
    for index, name in enumerate(node_names(optimised)):
        node = optimised.node[index]
        nodes = tuple(origin.names[i] for i in sorted(claims[index]))
        moves = not nodes and node.op_type in _MOVERS | _CONVERSIONS
        cost = cost_of.get(main[index] or "")
        known = [cost_of[each] for each in nodes if each in cost_of]
        # A step that computes, but nothing of its own in the source, is a part of what its reader computes.
        owners[index] = owners[index] if nodes else neighbours.owner(index, owners, before=moves)
        layers.append(
            EngineLayer(
                name=name,
                op=node.op_type,
                module=owners[index],
                onnx_nodes=nodes,
                overhead=moves,
                macs=None if not nodes and operands_of(node) else sum_or_none(each.macs for each in known),
                params=sum_or_none(each.params for each in known),
                input_activations=cost.input_activations if cost else None,
                output_activations=cost.output_activations if cost else None,
                groups=cost.groups if cost else None,
                group_size=cost.group_size if cost else None,
            )
        )
    return tuple(layers)


class _Source:
    """The source graph, indexed by tensor."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.names = node_names(graph)
        self.producer = {tensor: i for i, node in enumerate(graph.node) for tensor in node.output if tensor}
        self.tensors = set(self.producer) | {value.name for value in graph.input}
        # Weights and shape arithmetic: folded away before anything runs.
        self.constants = constant_roots(graph).keys()
        self.consumers: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(graph.node):
            for tensor in node.input:
                self.consumers[tensor].append(i)

    def data_inputs(self, index: int) -> list[str]:
        """Inputs of a node that depend on the network's input."""
        return [tensor for tensor in self.graph.node[index].input if tensor and tensor not in self.constants]


class _Tensors:
    """For every tensor of the optimised graph, the source tensor whose values it holds."""

    def __init__(self, source: _Source, optimised: onnx.GraphProto) -> None:
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


def _claims(source: _Source, optimised: onnx.GraphProto, tensors: _Tensors) -> list[set[int]]:
    claims: list[set[int]] = []
    owner: dict[int, int] = {}
    for index, node in enumerate(optimised.node):
        found: set[int] = set()
        if node.op_type not in _MOVERS:
            found = {i for i in _between(source, node, tensors) if i not in owner}
        owner.update(dict.fromkeys(found, index))
        claims.append(found)
    # A source node that no tensor leads to was fused into the step that computes the last of its inputs.
    for i, node in enumerate(source.graph.node):
        if i in owner or all(tensor in source.constants for tensor in node.output):
            continue
        before = [owner[p] for t in source.data_inputs(i) if (p := source.producer.get(t)) in owner]
        if before:
            owner[i] = max(before)
            claims[owner[i]].add(i)
    return claims


def _between(source: _Source, node: onnx.NodeProto, tensors: _Tensors) -> set[int]:
    reads = tensors.inputs_of(node)
    # A step that writes what it reads, in another type or layout, computes nothing.
    pending = [t for tensor in node.output if (t := tensors.alias.get(tensor)) is not None and t not in reads]
    found: set[int] = set()
    while pending:
        index = source.producer.get(pending.pop())
        if index is None or index in found:
            continue
        found.add(index)
        pending += [t for t in source.data_inputs(index) if t not in reads and t not in tensors.available]
    return found


def _main_node(nodes: Sequence[str], cost_of: Mapping[str, LayerCost]) -> str | None:
    """The node a fused step is accounted under: the one with the most MACs, else the first."""
    return max(nodes, key=lambda n: (cost_of[n].macs or 0) if n in cost_of else 0, default=None)


class _Neighbours:
    """Which steps of the optimised graph write and read which tensors."""

    def __init__(self, optimised: onnx.GraphProto) -> None:
        self._steps = optimised.node
        self._writer = {
            tensor: i for i, node in enumerate(optimised.node) for tensor in node.output if tensor
        }
        self._readers: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(optimised.node):
            for tensor in node.input:
                self._readers[tensor].append(i)

    def owner(self, index: int, owners: Sequence[str | None], *, before: bool) -> str | None:
        """The module of the step before, whose output is moved; or of the next, which the step is a part of.

        Each is the other's substitute at the network's ends.
        """
        step = self._steps[index]
        writers = [self._writer[tensor] for tensor in step.input if tensor in self._writer]
        readers = [i for tensor in step.output for i in self._readers.get(tensor, [])]
        nearest = [*writers, *readers] if before else [*readers, *writers]
        return next((owners[i] for i in nearest if owners[i] is not None), None)
