"""One step of a network as a model of its own: cut out, copied side by side, or put back several times.

Nothing of the step itself is changed: its nodes keep attributes and metadata, its weights their values. What it
reads from the rest of the network becomes an input, what the rest reads from it an output. Copies have inputs and
outputs of their own, so that no optimiser can take two of them for one, or drop one that nobody reads.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from perframe.arrays import Array
from perframe.errors import InputError
from perframe.export.constants import constant_roots
from perframe.export.onnx_model import OnnxModel
from perframe.export.provenance import node_names
from perframe.export.shapes import infer_shapes
from perframe.export.tensor_data import weights_as_inputs

# They read an activation's shape: what is computed from it is known once the batch is.
_SHAPE_READERS = frozenset({"Shape", "Size"})


@dataclass(frozen=True)
class Piece:
    """A group of nodes of a graph, and what it shares with the rest.

    Attributes:
        nodes: In graph order, those that only prepare weights included.
        reads: Tensors from the rest that depend on the values of the network's input.
        settings: Tensors from the rest that depend on its shape only, such as the target of a Reshape.
        weights: Initializers.
        writes: Tensors that the rest, or the network's user, reads.
    """

    nodes: tuple[NodeProto, ...]
    reads: tuple[str, ...]
    settings: tuple[str, ...]
    weights: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def boundary(self) -> tuple[str, ...]:
        """The tensors whose values, or types and shapes, have to be known for it to run alone."""
        return (*self.reads, *self.settings, *self.writes)


@dataclass(frozen=True)
class Copies:
    """A piece several times side by side.

    Attributes:
        model: The model; it needs nothing else to run.
        feeds: Its inputs, each with memory of its own.
        count: How many copies.
        buffer_bytes: What all copies together read and write: inputs, outputs, and weights (once where shared).
    """

    model: ModelProto
    feeds: dict[str, Array]
    count: int
    buffer_bytes: int


class Cutter:
    """Cuts pieces out of a graph.

    Args:
        graph: With the values of its constants.
        where: The file it came from, for messages.
    """

    def __init__(self, graph: GraphProto, where: Path) -> None:
        self._graph, self._where = graph, where
        self._index = {key: i for i, key in enumerate(node_names(graph))}
        self._producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
        self._readers: dict[str, set[int]] = {value.name: {-1} for value in graph.output}
        for i, node in enumerate(graph.node):
            for name in filter(None, node.input):
                self._readers.setdefault(name, set()).add(i)
        self._weights = {tensor.name for tensor in graph.initializer}
        self._constant = constant_roots(graph).keys()
        self._shaped = self._shape_dependent()

    def piece(self, names: Iterable[str]) -> Piece:
        """Cut out the nodes with these keys of `perframe.export.provenance.node_names`.

        Raises:
            InputError: There is no such node, one holds a graph (If, Loop, Scan), or nothing that depends on the
                network's input flows through them.
        """
        chosen = {self._found(name) for name in names}
        inside = set(chosen)
        reads, settings, weights = dict[str, None](), dict[str, None](), dict[str, None]()
        pending = sorted(chosen, reverse=True)
        while pending:
            for name in filter(None, self._graph.node[pending.pop()].input):
                producer = self._producer.get(name)
                if name in self._weights:
                    weights[name] = None
                elif producer in inside:
                    continue
                elif name not in self._constant:
                    reads[name] = None
                elif name in self._shaped or producer is None:
                    settings[name] = None
                else:
                    inside.add(producer)
                    pending.append(producer)
        written = [name for i in sorted(chosen) for name in self._graph.node[i].output if name]
        if not reads or not written:
            raise self._refusal(sorted(names), "nothing that depends on the network's input flows through it")
        return Piece(
            nodes=tuple(self._graph.node[i] for i in sorted(inside)),
            reads=tuple(reads),
            settings=tuple(settings),
            weights=tuple(weights),
            # What nobody reads is still what the piece is there for.
            writes=tuple(n for n in written if self._readers.get(n, set()) - inside) or (written[-1],),
        )

    def _found(self, name: str) -> int:
        index = self._index.get(name)
        if index is None:
            raise self._refusal([name], "there is no such node")
        node = self._graph.node[index]
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise self._refusal([name], f"its {node.op_type} holds a graph that may read anything")
        return index

    def _refusal(self, names: Sequence[str], why: str) -> InputError:
        return InputError(
            f"{self._where}: {', '.join(names)} cannot be cut out: {why}.",
            "Its energy can only be attributed, by its share of the time.",
        )

    def _shape_dependent(self) -> set[str]:
        """Constants that follow from the shape of an activation, and so from the batch."""
        shaped: set[str] = set()
        for node in self._graph.node:
            if node.op_type in _SHAPE_READERS or not shaped.isdisjoint(node.input):
                shaped |= {name for name in node.output if name in self._constant}
        return shaped


def copies(
    model: ModelProto, piece: Piece, values: Mapping[str, Array], count: int, *, own_weights: bool
) -> Copies:
    """Put a piece side by side with itself, as a model of its own.

    Args:
        model: The network, with the values of its weights.
        piece: What to copy.
        values: The piece's boundary at one batch size. Of what it writes only type and shape count.
        count: How many.
        own_weights: Whether every copy has its own copy of the weights too.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in piece.weights}
    weights = {name: tensors[name] for name in piece.weights}
    weights |= {name: numpy_helper.from_array(values[name], name) for name in piece.settings}
    graph = GraphProto(name="copies")
    feeds: dict[str, Array] = {}
    for number in range(count):
        suffix = f"@{number}"
        renamed = dict.fromkeys(weights, suffix if own_weights else "@0")
        graph.input.extend(_value(name + suffix, values[name]) for name in piece.reads)
        graph.output.extend(_value(name + suffix, values[name]) for name in piece.writes)
        graph.node.extend(_renamed(node, suffix, renamed) for node in piece.nodes)
        if own_weights or number == 0:
            graph.initializer.extend(_called(name + suffix, tensor) for name, tensor in weights.items())
        feeds |= {name + suffix: values[name].copy() for name in piece.reads}
    copied = _like(model)
    copied.graph.CopyFrom(graph)
    moved = count * sum(values[name].nbytes for name in (*piece.reads, *piece.writes))
    held = sum(_bytes(tensor) for tensor in weights.values()) * (count if own_weights else 1)
    return Copies(copied, feeds, count, moved + held)


def footprint_bytes(model: ModelProto, piece: Piece, values: Mapping[str, Array]) -> int:
    """Return how many bytes one execution of a piece reads and writes."""
    wanted = set(piece.weights)
    held = sum(_bytes(tensor) for tensor in model.graph.initializer if tensor.name in wanted)
    return held + sum(values[name].nbytes for name in (*piece.reads, *piece.writes))


def with_copies(model: ModelProto, extra: Copies) -> ModelProto:
    """Return the network with copies of a piece executed in the same inference, beside what it computes anyway.

    Its own inputs and outputs stay; those of the copies come behind them.
    """
    joined = ModelProto()
    joined.CopyFrom(model)
    graph, added = joined.graph, extra.model.graph
    graph.node.extend(added.node)
    graph.input.extend(added.input)
    graph.output.extend(added.output)
    graph.initializer.extend(added.initializer)
    return joined


def with_outputs(
    model: OnnxModel, proto: ModelProto, names: Iterable[str], input_shapes: Mapping[str, tuple[int, ...]]
) -> ModelProto:
    """Return the network with more of its tensors as outputs; those whose type cannot be told are left out.

    Args:
        model: The network.
        proto: The same with the values of its weights.
        names: Tensors that some node computes.
        input_shapes: Full shape of every input, which the outputs' shapes are for.
    """
    shapes, types = infer_shapes(model, input_shapes), _element_types(model)
    opened = ModelProto()
    opened.CopyFrom(proto)
    there = {value.name for value in opened.graph.output}
    opened.graph.output.extend(
        helper.make_tensor_value_info(name, types[name], shapes.get(name))
        for name in dict.fromkeys(names)
        if name in types and name not in there
    )
    return opened


def _element_types(model: OnnxModel) -> dict[str, int]:
    """Data types of tensors. Behind an operator of the runtime's own, which onnx does not know, inference ends.

    Standard operators then say by their definition which input an output is of the same type as; of the runtime's it
    is taken to be the first.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(weights_as_inputs(model.proto)).graph
    except onnx.shape_inference.InferenceError:
        graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    types = {name: kind for name, kind in types.items() if kind}
    for node in graph.node:
        target = next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)
        for name, same_as in zip(node.output, _like_inputs(node, model.opset), strict=False):
            kind = target if node.op_type == "Cast" else types.get(same_as or "")
            if kind and name not in types:
                types[name] = kind
    return types


def _like_inputs(node: NodeProto, opset: int) -> list[str | None]:
    """For every output of a node, the input that it has the type of."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return [node.input[0] if node.input else None] * len(node.output)
    of_type = {formal.type_str: name for formal, name in zip(schema.inputs, node.input, strict=False) if name}
    return [of_type.get(formal.type_str) for formal in schema.outputs]


def _like(model: ModelProto) -> ModelProto:
    """Everything of a model but its graph."""
    return ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        functions=model.functions,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        metadata_props=model.metadata_props,
    )


def _renamed(node: NodeProto, suffix: str, weights: Mapping[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = (node.name or node.output[0]) + suffix
    copy.input[:] = [name and name + weights.get(name, suffix) for name in node.input]
    copy.output[:] = [name and name + suffix for name in node.output]
    return copy


def _called(name: str, tensor: TensorProto) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _value(name: str, value: Array) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _bytes(tensor: TensorProto) -> int:
    count: int = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return count
