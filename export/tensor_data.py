"""Where a model's tensors keep their values: checking that they are there, and letting go of them.

A tensor's values stand in the file itself or in a file beside it ("external data"). The name of that file
comes from the model, so it is untrusted: it must stay inside the model's folder. What this program needs of a
model is its graph, so large values are dropped as soon as they are checked.
"""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import TensorProto

from perframe.errors import InputError

# Values up to this many elements are kept: shape inference reads the shapes, axes and scales among them.
_KEPT_ELEMENTS = 1024

_VALUE_FIELDS = (
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
)

# Types that pack several elements into a byte.
_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


def check_values(model: onnx.ModelProto, path: Path) -> dict[str, Path]:
    """Check that every tensor has as many bytes as its shape and data type need.

    Args:
        model: As parsed, external data not loaded.
        path: The file it came from; external data must lie in its folder.

    Returns:
        The external data files: location as the model writes it, to path.

    Raises:
        InputError: Values are missing, too few or too many, or external data lies outside the model's folder,
            is missing or is too short.
    """
    external: dict[str, Path] = {}
    nodes = (*model.graph.node, *(node for function in model.functions for node in function.node))
    for tensor in (*_weights(model.graph), *_attribute_tensors(nodes)):
        expected = _byte_count(tensor, path)
        if tensor.data_location == TensorProto.EXTERNAL:
            location, file, _, found = _external_slice(tensor, path)
            external[location] = file
        elif tensor.HasField("raw_data"):
            found = len(tensor.raw_data)
        elif has_values(tensor):
            continue  # typed fields: onnx's own checker counts those
        else:
            found = 0
        if expected is not None and found != expected:
            raise InputError(
                f"{path}: tensor {tensor.name!r} expected {expected} bytes of values, found {found}.",
                "Was the file cut off or edited? Export the model again.",
            )
    return external


def strip_values(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the model without the values of large tensors; shapes, data types and small tensors stay.

    `model` itself is emptied on the way. Small external tensors are read in: all values left are inside.
    """
    constants = (
        attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    )
    for tensor in (*model.graph.initializer, *constants):
        if math.prod(tensor.dims) > _KEPT_ELEMENTS:
            for field in _VALUE_FIELDS:
                tensor.ClearField(field)
        elif tensor.data_location == TensorProto.EXTERNAL:
            _, file, offset, length = _external_slice(tensor, path)
            with file.open("rb") as data:
                data.seek(offset)
                tensor.raw_data = data.read(length)
        else:
            continue
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    # A protobuf message keeps the memory of what was cleared until the message itself goes.
    fresh = onnx.ModelProto()
    fresh.ParseFromString(model.SerializeToString())
    return fresh


def has_values(tensor: TensorProto) -> bool:
    """Whether the tensor still holds its values (an empty tensor has none to lose)."""
    return math.prod(tensor.dims) == 0 or any(len(getattr(tensor, field)) for field in _VALUE_FIELDS)


def weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which tensors without values are graph inputs of known shape.

    In this form a stripped model is valid ONNX for onnx's checker and its shape inference.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    weights = {tensor.name: tensor for tensor in model.graph.initializer if not has_values(tensor)}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
    nodes = []
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None and not has_values(value):
            weights[node.output[0]] = value
        else:
            nodes.append(node)
    declared = {value.name for value in graph.input}
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
        for name, tensor in weights.items()
        if name not in declared
    )
    return copy


def _weights(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _attribute_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    """Every tensor in the attributes of nodes, and in the graphs among those attributes."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        # Reading an absent field gives an empty message, which holds no tensor data: only present ones count.
        yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
        single = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for sparse in (*single, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _weights(graph)
            yield from _attribute_tensors(graph.node)


def _byte_count(tensor: TensorProto, path: Path) -> int | None:
    """Bytes the values take in raw form; None for strings."""
    if any(size < 0 for size in tensor.dims):
        raise InputError(f"{path}: tensor {tensor.name!r} has a negative size.", "Export the model again.")
    if tensor.data_type == TensorProto.STRING:
        return None
    try:
        name = TensorProto.DataType.Name(tensor.data_type)
        itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: tensor {tensor.name!r} has the unknown data type {tensor.data_type}.",
            "Export the model again, or update the onnx package.",
        ) from error
    bits: int = math.prod(tensor.dims) * _PACKED_BITS.get(name, 8 * itemsize)
    return (bits + 7) // 8


def _external_slice(tensor: TensorProto, path: Path) -> tuple[str, Path, int, int]:
    """Location, file, offset and length in bytes of an external tensor, all checked."""
    # Text that is not UTF-8 comes out of a protobuf message as bytes.
    entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")

    def refusal(problem: str, hint: str) -> InputError:
        return InputError(
            f"{path}: the values of tensor {tensor.name!r} lie in {location!r}, which {problem}.", hint
        )

    leaves = "Do not trust this file; ask its author for one with the weights inside."
    folder = path.parent.resolve()
    # Both separators and drive letters, so that a model means the same on every system.
    parts = re.split(r"[\\/]", location)
    if parts[0] == "" or "\0" in location or re.match(r"[A-Za-z]:", location):
        raise refusal("is no relative path", leaves)
    if ".." in parts:
        raise refusal("leaves the model's folder", leaves)
    try:
        file = (folder / location).resolve()
        if not file.is_relative_to(folder):
            raise refusal("is a link that leaves the model's folder", leaves)
        if not file.is_file():
            raise refusal("is missing", "Copy it beside the model, or export with the weights inside.")
        size = file.stat().st_size
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", size - offset))
    except (OSError, RuntimeError) as error:
        raise refusal("cannot be read", "Check the data file beside the model.") from error
    except ValueError as error:
        raise refusal("has an offset or length that is no number", "Export the model again.") from error
    if offset < 0 or length < 0 or offset + length > size:
        raise refusal(
            f"has {size} bytes where byte {offset} to {offset + length} is needed",
            "Was the data file cut off, or does it belong to another model? Copy it again.",
        )
    return location, file, offset, length
