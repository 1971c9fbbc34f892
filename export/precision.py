"""The precisions a network can be exported in, and what an ONNX model must be for its own to be changed."""

import onnx
from onnx import TensorProto

from perframe.errors import BuildError, InputError
from perframe.export.provenance import write_down_modules

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""What a network can be exported in."""

# The first version of the format with node metadata.
_IR_VERSION = 10


def require_fp32(model: onnx.ModelProto, source: str) -> None:
    """Refuse a model of another precision: what was rounded once must not be rounded again.

    Args:
        model: With or without the values of its weights.
        source: Which file it came from, for messages.

    Raises:
        InputError: It has weights of another floating point type, or quantised ones.
    """
    kinds = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16", TensorProto.DOUBLE: "fp64"}
    found = next((kinds[t.data_type] for t in model.graph.initializer if t.data_type in kinds), None)
    if any(op in node.op_type for node in model.graph.node for op in ("QuantizeLinear", "QLinear")):
        found = "a quantised one"
    if found is not None:
        raise InputError(
            f"{source}: expected an fp32 model, found {found}.",
            "Start from the checkpoint or from the fp32 model.",
        )


def prepare(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Return a copy of an fp32 model that can be written in another precision.

    Its nodes have unique names and carry their modules, and all its weights are initializers.

    Args:
        model: With its weights.
        source: Which file it came from, for messages.

    Raises:
        InputError: See `require_fp32`.
        BuildError: A node has a graph inside (If, Loop, Scan).
    """
    require_fp32(model, source)
    control = next((n.op_type for n in model.graph.node for a in n.attribute if a.HasField("g")), None)
    if control is not None:
        raise BuildError(
            f"{source}: the precision of the graph inside a node ({control}) cannot be changed.",
            "Export the network in that precision from its framework.",
        )
    own = onnx.ModelProto()
    own.CopyFrom(model)
    _constants_to_weights(own.graph)
    write_down_modules(own.graph)
    own.ir_version = max(own.ir_version, _IR_VERSION)
    return own


def _constants_to_weights(graph: onnx.GraphProto) -> None:
    """Turn fp32 tensors that nodes hold into weights, and weights that are inputs too into weights only."""
    nodes = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None and value.data_type == TensorProto.FLOAT:
            graph.initializer.append(value)
            graph.initializer[-1].name = node.output[0]
        else:
            nodes.append(node)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
