"""From the steps of an engine back to the nodes of the ONNX graph it was built from: what all runtimes share.

Runtimes fuse, rename and reorder. What is left to go by are names of nodes and names of tensors, and each
runtime keeps other ones; what follows from a step's nodes is the same for all.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import onnx

from perframe.engines.base import EngineLayer
from perframe.export.constants import constant_roots
from perframe.export.cost import LayerCost, sum_or_none
from perframe.export.provenance import node_names


class SourceGraph:
    """The graph as exported, indexed by tensor.

    Attributes:
        graph: The graph.
        names: Key of every node, see `perframe.export.provenance.node_names`.
        producer: The node that writes a tensor, by the tensor's name.
        tensors: Names of all tensors that depend on the network's input.
        constants: Names of weights and shape arithmetic, which are folded away before anything runs.
        consumers: The nodes that read a tensor.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.names = node_names(graph)
        self.producer = {tensor: i for i, node in enumerate(graph.node) for tensor in node.output if tensor}
        self.tensors = set(self.producer) | {value.name for value in graph.input}
        self.constants = constant_roots(graph).keys()
        self.consumers: dict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(graph.node):
            for tensor in node.input:
                self.consumers[tensor].append(i)

    def data_inputs(self, index: int) -> list[str]:
        """Inputs of a node that depend on the network's input."""
        return [tensor for tensor in self.graph.node[index].input if tensor and tensor not in self.constants]

    def between(
        self, reads: Collection[str], writes: Iterable[str], available: Collection[str] = ()
    ) -> set[int]:
        """Return the nodes that compute `writes` from `reads`.

        Args:
            reads: Tensors a step reads.
            writes: Tensors it writes. One that it also reads is only moved.
            available: Tensors that other steps write; the search does not go past them.
        """
        pending = [tensor for tensor in writes if tensor not in reads]
        found: set[int] = set()
        while pending:
            index = self.producer.get(pending.pop())
            if index is None or index in found:
                continue
            found.add(index)
            pending += [t for t in self.data_inputs(index) if t not in reads and t not in available]
        return found

    def adopt(self, claims: Sequence[set[int]]) -> None:
        """Give every node that no step claims to the step that computes the last of its inputs, in place.

        Args:
            claims: Per step, in the order of execution, the nodes that it computes.
        """
        owner = {index: step for step, claimed in enumerate(claims) for index in claimed}
        for index, node in enumerate(self.graph.node):
            if index in owner or all(tensor in self.constants for tensor in node.output):
                continue
            producers = [self.producer.get(tensor) for tensor in self.data_inputs(index)]
            before = [owner[p] for p in producers if p in owner]
            if before:
                owner[index] = max(before)
                claims[owner[index]].add(index)


class Neighbours:
    """Which steps of an engine write and read which tensors.

    Args:
        reads: Names of the tensors that each step reads, in the order of execution.
        writes: Names of those that each step writes.
    """

    def __init__(self, reads: Sequence[Sequence[str]], writes: Sequence[Sequence[str]]) -> None:
        self._reads, self._writes = reads, writes
        self._writer = {tensor: step for step, tensors in enumerate(writes) for tensor in tensors if tensor}
        self._readers: dict[str, list[int]] = defaultdict(list)
        for step, tensors in enumerate(reads):
            for tensor in filter(None, tensors):
                self._readers[tensor].append(step)

    def owner(self, step: int, owners: Sequence[str | None], *, before: bool) -> str | None:
        """The module of the step before, whose output is moved; or of the next, which the step is a part of.

        Each is the other's substitute at the network's ends.

        Args:
            step: Index of a step without a module of its own.
            owners: The module of each step, as far as it is known.
            before: Which of the two.
        """
        writers = [self._writer[tensor] for tensor in self._reads[step] if tensor in self._writer]
        readers = [i for tensor in self._writes[step] for i in self._readers.get(tensor, [])]
        nearest = [*writers, *readers] if before else [*readers, *writers]
        return next((owners[i] for i in nearest if owners[i] is not None), None)


def main_node(nodes: Sequence[str], cost_of: Mapping[str, LayerCost]) -> str | None:
    """Return the node a fused step is accounted under: the one with the most MACs, else the first."""
    return max(nodes, key=lambda n: (cost_of[n].macs or 0) if n in cost_of else 0, default=None)


def fused_layer(
    name: str,
    op: str,
    nodes: Sequence[str],
    cost_of: Mapping[str, LayerCost],
    *,
    module: str | None,
    overhead: bool,
    counted: Collection[str] | None = None,
) -> EngineLayer:
    """Describe a step by the nodes that were fused into it.

    Args:
        name: The runtime's name of the step.
        op: The runtime's operator.
        nodes: Keys of the nodes.
        cost_of: What each node costs; nodes that were folded away are not in it.
        module: The step's source module.
        overhead: Whether the runtime added the step.
        counted: Those of the nodes that are counted here, where a node is spread over several steps; all by default.
    """
    main = cost_of.get(main_node(nodes, cost_of) or "")
    known = [cost_of[n] for n in nodes if n in cost_of and (counted is None or n in counted)]
    return EngineLayer(
        name=name,
        op=op,
        module=module,
        onnx_nodes=tuple(nodes),
        overhead=overhead,
        macs=sum_or_none(each.macs for each in known),
        params=sum_or_none(each.params for each in known),
        input_activations=main.input_activations if main else None,
        output_activations=main.output_activations if main else None,
        groups=main.groups if main else None,
        group_size=main.group_size if main else None,
    )
