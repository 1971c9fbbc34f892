"""A reduced-precision model with the fp32 original of every layer beside it, on the same inputs.

Errors of a whole network tell little about its layers: networks amplify roundoff by one to two orders of
magnitude, untrained ones most. The error that each layer makes by itself depends on the precision alone, so a
wrong scale, an overflow or a weight in the wrong place stands out of it.
"""

import onnx
from onnx import TensorProto, helper

from perframe.export.narrow import tensor_types, to_opset, widen

ERROR, SIZE = "/error", "/size"
"""What the outputs of a model with twins are called, behind a layer's name."""


def with_twins(reduced: onnx.ModelProto, fp32: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Put the original of every layer beside it.

    Args:
        reduced: What `narrow` or `quantise` made of `fp32`; it is not changed.
        fp32: What `perframe.export.precision.prepare` returned; it is brought to the other's operator set.

    Returns:
        The model and the names of its layers, in graph order. For each layer it puts out the sum of squares of
        the difference between its result and that of the original (`<layer>/error`), and the sum of squares of
        the latter (`<layer>/size`).
    """
    own = onnx.ModelProto()
    own.CopyFrom(widen(reduced))
    to_opset(fp32, max(entry.version for entry in reduced.opset_import if not entry.domain), "fp32")
    graph = own.graph
    made = {name for node in graph.node for name in node.output}
    types = tensor_types(fp32)
    weights = {t.name for t in fp32.graph.initializer if t.data_type == TensorProto.FLOAT}
    for tensor in fp32.graph.initializer:
        if tensor.name in weights:
            graph.initializer.append(tensor)
            graph.initializer[-1].name = f"fp32:{tensor.name}"

    def here(name: str) -> str:
        """Where the reduced model has a tensor in fp32, rounded if it rounds it."""
        return f"{name}/read" if f"{name}/read" in made else name

    del graph.output[:], graph.value_info[:]
    layers = []
    for node in fp32.graph.node:
        result = node.output[0]
        if types.get(result) != TensorProto.FLOAT or not set(node.input) - weights:
            continue
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        twin.name = f"{node.name}/twin"
        twin.input[:] = [f"fp32:{name}" if name in weights else here(name) for name in node.input]
        twin.output[:] = [f"{name}/twin" if name else "" for name in node.output]
        difference = f"{node.name}/difference"
        graph.node.extend(
            [
                twin,
                helper.make_node("Sub", [here(result), f"{result}/twin"], [difference]),
                helper.make_node("ReduceSumSquare", [difference], [node.name + ERROR], keepdims=0),
                helper.make_node("ReduceSumSquare", [f"{result}/twin"], [node.name + SIZE], keepdims=0),
            ]
        )
        for kind in (ERROR, SIZE):
            graph.output.append(helper.make_tensor_value_info(node.name + kind, TensorProto.FLOAT, []))
        layers.append(node.name)
    return own, tuple(layers)
