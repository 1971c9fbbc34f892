"""Which tensors of a graph are weights or shape arithmetic, and the values of the latter."""

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from perframe.arrays import Array
from perframe.export.mac_ops import STANDARD_DOMAINS

# They read an activation's shape, not its values.
_SHAPE_READERS = frozenset({"Shape", "Size"})

# Shape arithmetic works on a few sizes, axes and indices. The bound keeps hostile graphs cheap.
_MOST_ELEMENTS = 256

_NUMBERS = frozenset(
    {TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE}
)

# What exporters compute shapes with. All of them need memory and time in proportion to their operands and
# results, so bounding those bounds the work.
_SHAPE_ARITHMETIC = frozenset(
    {
        *("Constant", "ConstantOfShape", "Range", "Identity", "Cast"),
        *("Gather", "Slice", "Split", "Concat", "Where", "Expand"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
        *(
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Mod",
            "Pow",
            "Neg",
            "Abs",
            "Sqrt",
            "Floor",
            "Ceil",
            "Round",
            "Min",
            "Max",
        ),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not"),
        *("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "CumSum"),
    }
)


def constant_roots(graph: onnx.GraphProto) -> dict[str, str]:
    """Return every tensor that does not depend on the values of the network's input, and where it comes from.

    Returns:
        Tensor name to the name of its root: an initializer, a Constant's output or a shape. A weight that
        passes through DequantizeLinear, Cast, Identity, Transpose and the like stays its own root.
    """
    roots = {tensor.name: tensor.name for tensor in graph.initializer}
    roots |= {sparse.values.name: sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Constant" or node.op_type in _SHAPE_READERS:
            roots |= {name: name for name in node.output if name}
        # A node with a subgraph may read activations that are not among its inputs.
        elif inputs and all(name in roots for name in inputs) and not _has_subgraph(node):
            roots |= dict.fromkeys((name for name in node.output if name), roots[inputs[0]])
    return roots


def size_arithmetic(graph: onnx.GraphProto) -> set[str]:
    """Return every tensor that is computed from the shapes of others, and from weights at most."""
    roots = constant_roots(graph)
    sizes: set[str] = set()
    for node in graph.node:
        if node.op_type in _SHAPE_READERS or not sizes.isdisjoint(node.input):
            sizes.update(name for name in node.output if name in roots)
    return sizes


def small_values(graph: onnx.GraphProto) -> dict[str, Array]:
    """Return the values of the initializers small enough to take part in shape arithmetic.

    Args:
        graph: Of an opened model: the values of small tensors are inside.
    """
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type in _NUMBERS and math.prod(tensor.dims) <= _MOST_ELEMENTS
    }


def evaluate_shape_arithmetic(
    node: onnx.NodeProto,
    values: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    opset: int,
) -> dict[str, Array]:
    """Compute what a node of shape arithmetic puts out.

    Args:
        node: Any node.
        values: Tensors whose values are known.
        shapes: Tensors whose shapes are known, outputs of the node included.
        opset: Version of the standard operator set.

    Returns:
        Output name to value; empty for a node that is no shape arithmetic, reads what is not known, or has
        large outputs.
    """
    names = [name for name in node.output if name]
    small = all(name in shapes and math.prod(shapes[name]) <= _MOST_ELEMENTS for name in names)
    if node.domain not in STANDARD_DOMAINS or not names or not small:
        return {}
    if node.op_type in _SHAPE_READERS:
        return _read_shape(node, shapes)
    operands = {name: values[name] for name in node.input if name in values}
    if node.op_type not in _SHAPE_ARITHMETIC or not all(name in operands for name in node.input if name):
        return {}
    # The evaluator would read a file that an attribute names.
    if any(a.t.data_location == TensorProto.EXTERNAL or a.HasField("sparse_tensor") for a in node.attribute):
        return {}
    if node.op_type == "Range" and not _range_is_small([operands[name] for name in node.input if name]):
        return {}
    found = _run(node, operands, opset)
    # A value that contradicts its own shape, or is text, is no basis for other shapes.
    fits = all(value.dtype.kind in "biuf" and value.shape == shapes[name] for name, value in found.items())
    return found if fits else {}


def _range_is_small(operands: Sequence[Array]) -> bool:
    """Whether a Range is as short as its inferred shape says: with ends near 2^63 that may have wrapped round."""
    if [value.size for value in operands] != [1, 1, 1]:
        return False
    start, limit, delta = (value.item() for value in operands)
    return bool(abs(limit - start) <= _MOST_ELEMENTS * abs(delta))


def _read_shape(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    shape = shapes.get(node.input[0])
    if shape is None:
        return {}
    if node.op_type == "Size":
        # More elements than an int64 counts cannot be told here either.
        return {node.output[0]: np.array(math.prod(shape))} if math.prod(shape) < 2**63 else {}
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return {node.output[0]: np.array(shape[bounds.get("start") : bounds.get("end")], np.int64)}


def _run(node: onnx.NodeProto, operands: Mapping[str, Array], opset: int) -> dict[str, Array]:
    # Loaded here because few models need it.
    from onnx.reference import ReferenceEvaluator

    names = [name for name in node.output if name]
    graph = onnx.GraphProto(node=[node], output=[onnx.ValueInfoProto(name=name) for name in names])
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            outputs = ReferenceEvaluator(graph, opsets={"": opset}).run(None, dict(operands))
    except Exception:
        # The evaluator raises anything on operands that do not fit; then the value simply is not known.
        return {}
    assert isinstance(outputs, list)
    return {name: np.asarray(value) for name, value in zip(names, outputs, strict=True)}


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
