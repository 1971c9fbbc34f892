"""The shape of every tensor of a model, once the shapes of its inputs are known."""

from collections.abc import Iterable, Iterator, Mapping

import onnx

from perframe.errors import InputError
from perframe.export.constants import evaluate_shape_arithmetic, small_values
from perframe.export.onnx_model import OnnxModel
from perframe.export.tensor_data import weights_as_inputs

# Operators that ONNX Runtime puts into the graphs it optimises, with the shapes of a standard operator. Where
# it pads channels to whole blocks, the shapes are the padded ones.
_STANDARD_OPS = {
    ("com.microsoft", "FusedConv"): "Conv",
    ("com.microsoft", "FusedGemm"): "Gemm",
    ("com.microsoft", "QuickGelu"): "Identity",
    ("com.microsoft.nchwc", "ReorderInput"): "Identity",
    ("com.microsoft.nchwc", "ReorderOutput"): "Slice",
    ("com.microsoft.nchwc", "Conv"): "Conv",
    ("com.microsoft.nchwc", "MaxPool"): "MaxPool",
    ("com.microsoft.nchwc", "AveragePool"): "AveragePool",
    ("com.microsoft.nchwc", "GlobalMaxPool"): "GlobalMaxPool",
    ("com.microsoft.nchwc", "GlobalAveragePool"): "GlobalAveragePool",
}


def infer_shapes(model: OnnxModel, input_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Infer the shape of every tensor, weights included.

    Args:
        model: The model.
        input_shapes: Full shape of every input, see `perframe.export.onnx_model.resolve_input_shapes`.

    Returns:
        Tensor name to shape. A tensor whose shape cannot be told before running is not in it.

    Raises:
        InputError: The layers' shapes contradict each other or the input shapes.
    """
    proto = weights_as_inputs(model.proto)
    declared = _declared_shapes(proto.graph, input_shapes)
    for value in proto.graph.input:
        if value.name in input_shapes:
            _set_shape(value, input_shapes[value.name])
    # What operators compute is the truth; what the exporter wrote down may be stale or of another batch.
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    for node in proto.graph.node:
        _use_standard_op(proto.graph, node, model.opset)
    try:
        inferred = _inferred(proto)
        shapes = _Walk(inferred, model.opset).shapes({})
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        given = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in input_shapes.items())
        raise InputError(
            f"{model.path}: the layers do not fit together for input {given}: {reason}.",
            "Check --input against the size the model was made for.",
        ) from error
    missing = {name: type_ for name, type_ in declared.items() if name not in shapes}
    if not missing:
        return shapes
    try:
        return _Walk(inferred, model.opset).shapes(missing)
    except onnx.shape_inference.InferenceError:
        return shapes


class _Walk:
    """Completes an inferred graph node by node, computing the shape arithmetic on the way.

    Inference as such does not follow the arithmetic by which exporters tell a Reshape its shape. Every node
    is visited once, in order, so the time is linear in the graph however long its chains of reshapes.
    """

    def __init__(self, inferred: onnx.ModelProto, opset: int) -> None:
        self._graph = inferred.graph
        self._opset = opset
        self._types = {value.name: value.type for value in _values_of(self._graph) if _is_typed(value.type)}
        self._shapes = _known_shapes(self._graph)
        self._tensors = {tensor.name: tensor for tensor in self._graph.initializer}
        self._one_node = onnx.ModelProto(ir_version=inferred.ir_version, opset_import=inferred.opset_import)
        self._learned: set[str] = set()

    def shapes(self, declared: Mapping[str, onnx.TypeProto]) -> dict[str, tuple[int, ...]]:
        """Return all shapes that can be told, with the help of declared types where inference ends.

        Raises:
            onnx.shape_inference.InferenceError: Shapes contradict each other.
        """
        if all(name in self._shapes for node in self._graph.node for name in node.output if name):
            return self._shapes
        values = small_values(self._graph)
        for node in self._graph.node:
            self._infer(node)
            # Before any declared shape counts: what bounds the work is the shape that inference gives.
            computed = evaluate_shape_arithmetic(node, values, self._shapes, self._opset)
            values |= computed
            for name, value in computed.items():
                self._tensors[name] = onnx.numpy_helper.from_array(value, name)
            for name in node.output:
                if name in declared and name not in self._shapes:
                    self._learn(name, declared[name])
        return self._shapes

    def _infer(self, node: onnx.NodeProto) -> None:
        reads = set(_reads(node))
        known = all(name in self._shapes for name in node.output if name)
        # A node of known shape is looked at again if its inputs are news: they may contradict it.
        if known and self._learned.isdisjoint(reads):
            return
        # Behind an operator that nobody knows, types end; inference takes that for an error.
        if not all(name in self._types or name in self._tensors for name in node.input if name):
            return
        graph = self._one_node.graph
        graph.Clear()
        graph.node.append(node)
        for name in reads:
            if name in self._tensors:
                graph.initializer.append(self._tensors[name])
            elif name in self._types:
                graph.input.add(name=name, type=self._types[name])
        for value in _values_of(_inferred(self._one_node).graph):
            if value.name in node.output and _is_typed(value.type):
                self._learn(value.name, value.type)

    def _learn(self, name: str, type_: onnx.TypeProto) -> None:
        self._types[name] = type_
        shape = _shape_of(type_)
        if shape is not None and shape != self._shapes.get(name):
            self._shapes[name] = shape
            self._learned.add(name)


def _inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    # Without data propagation: that of a Range takes as much memory as the file says.
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Inputs of a node, and whatever the graphs inside it read, their own tensors included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)
            yield from (value.name for value in graph.output)


def _values_of(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from (*graph.input, *graph.value_info, *graph.output)


def _known_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in _values_of(graph):
        if (shape := _shape_of(value.type)) is not None:
            shapes[value.name] = shape
    return shapes


def _is_typed(type_: onnx.TypeProto) -> bool:
    kind = type_.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or type_.tensor_type.elem_type != 0)


def _shape_of(type_: onnx.TypeProto) -> tuple[int, ...] | None:
    """The shape of a tensor type, if it has one and all its sizes are known."""
    if not type_.tensor_type.HasField("shape"):
        return None
    sizes = type_.tensor_type.shape.dim
    known = all(size.HasField("dim_value") for size in sizes)
    return tuple(size.dim_value for size in sizes) if known else None


def _declared_shapes(
    graph: onnx.GraphProto, input_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, onnx.TypeProto]:
    """Types the file itself states, where the inputs give all their symbolic dimensions a size."""
    sizes_of = {
        size.dim_param: given
        for value in graph.input
        if value.name in input_shapes
        for size, given in zip(value.type.tensor_type.shape.dim, input_shapes[value.name], strict=True)
        if size.dim_param
    }
    produced = {name for node in graph.node for name in node.output}
    declared = {}
    for value in (*graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        shape = tuple(size.dim_value or sizes_of.get(size.dim_param, 0) for size in tensor.shape.dim)
        if value.name in produced and tensor.HasField("shape") and all(size > 0 for size in shape):
            declared[value.name] = onnx.helper.make_tensor_type_proto(tensor.elem_type, shape)
    return declared


def _set_shape(value: onnx.ValueInfoProto, shape: Iterable[int]) -> None:
    tensor = value.type.tensor_type
    tensor.ClearField("shape")
    tensor.shape.SetInParent()
    for size in shape:
        tensor.shape.dim.add().dim_value = size


def _use_standard_op(graph: onnx.GraphProto, node: onnx.NodeProto, opset: int) -> None:
    """Turn a runtime's operator into the standard one it extends, in place."""
    op_type = _STANDARD_OPS.get((node.domain, node.op_type))
    given = {attribute.name: attribute.i for attribute in node.attribute}
    if op_type is None or given.get("channels_last"):
        return
    if op_type == "Slice" and (opset < 10 or "channels" not in given):
        return  # before opset 10 a Slice takes its bounds in another form
    schema = onnx.defs.get_schema(op_type, opset)
    attributes = [attribute for attribute in node.attribute if attribute.name in schema.attributes]
    inputs = list(node.input)[: schema.max_input]
    if op_type == "Slice":
        # Cuts the padding off axis 1, the channels.
        bounds = {
            f"{node.output[0]}/{what}": [size]
            for what, size in (("starts", 0), ("ends", given["channels"]), ("axes", 1))
        }
        graph.initializer.extend(
            onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], value)
            for name, value in bounds.items()
        )
        inputs += bounds
    del node.attribute[:], node.input[:]
    node.attribute.extend(attributes)
    node.input.extend(inputs)
    node.domain, node.op_type = "", op_type
