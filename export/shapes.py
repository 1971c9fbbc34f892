"""The shape of every tensor of a model, once the shapes of its inputs are known."""

from collections.abc import Iterable, Mapping

import onnx

from perframe.errors import InputError
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
        shapes = _infer(proto)
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        given = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in input_shapes.items())
        raise InputError(
            f"{model.path}: the layers do not fit together for input {given}: {reason}.",
            "Check --input against the size the model was made for.",
        ) from error

    missing = {name: shape for name, shape in declared.items() if name not in shapes}
    if missing:
        outputs = {value.name: value for value in proto.graph.output}
        for name, (data_type, shape) in missing.items():
            if name in outputs:
                _set_shape(outputs[name], shape)
            else:
                proto.graph.value_info.append(onnx.helper.make_tensor_value_info(name, data_type, shape))
        try:
            return _infer(proto)
        except onnx.shape_inference.InferenceError:
            return shapes
    return shapes


def _infer(proto: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            sizes = value.type.tensor_type.shape.dim
            if all(size.HasField("dim_value") for size in sizes):
                shapes[value.name] = tuple(size.dim_value for size in sizes)
    return shapes


def _declared_shapes(
    graph: onnx.GraphProto, input_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Data types and shapes the file itself states, where the inputs give its symbolic dimensions a size."""
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
            declared[value.name] = (tensor.elem_type, shape)
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
