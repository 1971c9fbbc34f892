"""Which tensors of a graph are weights or shape arithmetic, and which are activations."""

import onnx

# They read an activation's shape, not its values.
_SHAPE_READERS = frozenset({"Shape", "Size"})


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


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
