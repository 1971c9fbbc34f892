"""Which source nodes each step of an ONNX Runtime graph came from, at the optimisation level one deploys with.

At level ALL the runtime fuses nodes, renames them, drops their metadata and moves convolutions into a blocked
layout (NCHWc) with reorder steps around them: of MobileNet-V1's 57 profiled names only 16 are ONNX nodes. What
survives is the names of tensors. So both graphs are laid over each other by their tensors: the source nodes
between a step's inputs and its output are what the step computes.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import onnx

from perframe.engines.base import EngineLayer
from perframe.export.constants import constant_roots
from perframe.export.cost import LayerCost
from perframe.export.mac_ops import operands_of
from perframe.export.provenance import node_names

# Steps that only move data: between layouts on the CPU, between host and device elsewhere.
_MOVERS = frozenset({"ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost"})
# The layout transformer names a convolution after the source tensor it computes, plus this.
_NCHWC = "_nchwc"


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

    layers: list[EngineLayer] = []
    written_by: dict[str, str | None] = {}
    for index, name in enumerate(node_names(optimised)):
        node = optimised.node[index]
        nodes = tuple(origin.names[i] for i in sorted(claims[index]))
        main = _main_node(nodes, cost_of)
        cost = cost_of.get(main) if main else None
        module = modules.get(main) if main else _module_moved(node, written_by, origin, modules)
        written_by |= dict.fromkeys(node.output, module)
        known = [cost_of[each] for each in nodes if each in cost_of]
        layers.append(
            EngineLayer(
                name=name,
                op=node.op_type,
                module=module,
                onnx_nodes=nodes,
                overhead=not nodes,
                macs=_sum(each.macs for each in known),
                params=_sum(each.params for each in known),
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
        self.alias: dict[str, str] = {value.name: value.name for value in optimised.input}
        self.alias |= {t: t for node in optimised.node for t in node.output if t in source.tensors}
        node_names_there = {node.name for node in optimised.node}
        # Source tensors that some step of the optimised graph is named for, so that no other step computes them.
        self._named = set(self.alias) | {
            n.removesuffix(_NCHWC) for n in node_names_there if n.endswith(_NCHWC)
        }
        self._named |= {
            tensor
            for i, name in enumerate(source.names)
            if name in node_names_there
            for tensor in source.graph.node[i].output
        }
        restored = {n.input[0]: n.output[0] for n in optimised.node if n.op_type == "ReorderOutput"}
        for node in optimised.node:
            for tensor in node.output:
                if tensor and tensor not in self.alias:
                    self._name_made_up(node, tensor, restored.get(tensor, ""))
        self.available = set(self.alias.values())

    def inputs_of(self, node: onnx.NodeProto) -> set[str]:
        """Source tensors that an optimised node reads."""
        return {self.alias[tensor] for tensor in node.input if tensor in self.alias}

    def _name_made_up(self, node: onnx.NodeProto, tensor: str, restored: str) -> None:
        if restored in self._source.tensors:
            self.alias[tensor] = restored
        elif node.name.endswith(_NCHWC) and node.name.removesuffix(_NCHWC) in self._source.tensors:
            self.alias[tensor] = self._fused_on(node, node.name.removesuffix(_NCHWC))
        elif len(node.input) >= 1 and node.input[0] in self.alias and node.op_type in _MOVERS:
            self.alias[tensor] = self.alias[node.input[0]]

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
    pending = [tensors.alias[tensor] for tensor in node.output if tensor in tensors.alias]
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


def _module_moved(
    node: onnx.NodeProto, written_by: Mapping[str, str | None], source: _Source, modules: Mapping[str, str]
) -> str | None:
    """The module whose step wrote what `node` moves; for the network's own input, the first that reads it."""
    for tensor in node.input:
        if tensor in written_by:
            return written_by[tensor]
        for index in source.consumers.get(tensor, []):
            return modules.get(source.names[index])
    return None


def _sum(values: Iterator[int | None]) -> int | None:
    known = list(values)
    return None if any(value is None for value in known) else sum(value or 0 for value in known)
