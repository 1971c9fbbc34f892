"""fp16 and bf16, written into an ONNX file by the data types of its tensors.

Runtimes that take the precision from the file, as TensorRT 11 does, then compute in it without being told.
Inputs and outputs stay fp32, so that whoever feeds the network need not know: a Cast stands behind each input
and before each output. Whether an operator computes in the type, and which of its operands then have it, is
asked of the operator's definition in ONNX; where it does not, it stays fp32 between two Casts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from perframe.arrays import Array
from perframe.errors import BuildError, UnavailableError
from perframe.export.constants import size_arithmetic
from perframe.export.mac_ops import STANDARD_DOMAINS
from perframe.export.provenance import MODULE_KEY, module_of, write_down_modules

_FP32 = int(TensorProto.FLOAT)
_NARROW = {"fp16": int(TensorProto.FLOAT16), "bf16": int(TensorProto.BFLOAT16)}
# IEEE 754 binary16; bfloat16 is the upper half of binary32.
_LARGEST = {"fp16": 65504.0, "bf16": float.fromhex("0x1.fep127")}
# Convolutions take bf16 from this operator set on.
_BF16_OPSET = 22


@dataclass(frozen=True)
class Rounding:
    """What rounding to a narrower type did to a network.

    Attributes:
        values: How many weights were rounded.
        clamped: How many of them were beyond the largest number of the type, and became that number.
        vanished: How many of them were not zero, and became zero.
        kept_fp32: Operators that ONNX does not define for the type, and that compute in fp32.
    """

    values: int
    clamped: int
    vanished: int
    kept_fp32: tuple[str, ...]


def narrow(model: onnx.ModelProto, precision: str, source: str) -> Rounding:
    """Write a model in fp16 or bf16, in place.

    Args:
        model: What `perframe.export.precision.prepare` returned.
        precision: `fp16` or `bf16`.
        source: Which file it came from, for messages.

    Raises:
        BuildError: The model cannot be brought to the operator set that bf16 needs.
        UnavailableError: The installed onnx knows no bf16 convolution.
    """
    if precision == "bf16":
        to_opset(model, _BF16_OPSET, source)
    return _Narrowing(model, precision).apply()


def narrow_type(model: onnx.ModelProto) -> int | None:
    """Return ONNX's number of fp16 or bf16 if something in the model is of it, else None."""
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    kinds |= {
        a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"
    }
    return next((kind for kind in _NARROW.values() if kind in kinds), None)


def widen(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return what `narrow` wrote in a form for runtimes that have no kernels of its type.

    Weights and the result of every operator are still rounded to the type; operators read them as fp32 and
    sum in fp32, as tensor cores do. A model that has no such type is returned as it is.
    """
    kind = narrow_type(model)
    if kind is None:
        return model
    own = onnx.ModelProto()
    own.CopyFrom(model)
    rounded = {name for name, found in tensor_types(model).items() if found == kind}
    for tensor in own.graph.initializer:
        if tensor.name in rounded:
            rounded.remove(tensor.name)
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes = list(own.graph.node)
    del own.graph.node[:], own.graph.value_info[:]
    for node in nodes:
        results = [name for name in node.output if name in rounded]
        own.graph.node.append(node)
        # A Cast reads and writes the type itself; every other node works in fp32.
        if node.op_type != "Cast":
            node = own.graph.node[-1]
            node.input[:] = [f"{name}/read" if name in rounded else name for name in node.input]
            node.output[:] = [f"{name}/exact" if name in rounded else name for name in node.output]
            own.graph.node.extend(_cast(f"{name}/exact", name, kind, module_of(node)) for name in results)
        own.graph.node.extend(_cast(name, f"{name}/read", _FP32, module_of(node)) for name in results)
    return own


class _Narrowing:
    """Rewrites one graph in place."""

    def __init__(self, model: onnx.ModelProto, precision: str) -> None:
        self._graph = model.graph
        self._precision = precision
        self._narrow = _NARROW[precision]
        self._opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
        self._floats = {name for name, kind in tensor_types(model).items() if kind == _FP32}
        # bf16 counts in steps of one only up to 256: sizes are computed as they were.
        self._sizes = size_arithmetic(self._graph)
        self._outputs = {value.name for value in self._graph.output}
        self._nodes: list[onnx.NodeProto] = []
        # (tensor of the fp32 graph, type) -> where its values can be read in that type
        self._forms: dict[tuple[str, int], str] = {
            (value.name, _FP32): value.name for value in self._graph.input
        }
        self._makers: dict[str, onnx.NodeProto] = {}

    def apply(self) -> Rounding:
        plans = [(node, *self._types(node)) for node in self._graph.node]
        wanted = {use for node, reads, _ in plans for use in zip(node.input, reads, strict=True)}
        values, clamped, vanished = self._narrow_weights(wanted)
        kept = set()
        for node, reads, writes in plans:
            if _FP32 in reads and self._narrow not in reads and not self._sizes.issuperset(node.output):
                kept.add(node.op_type)
            for index, kind in enumerate(reads):
                if kind is not None:
                    node.input[index] = self._read(node.input[index], kind, node)
            self._nodes.append(node)
            for index, kind in enumerate(writes):
                if kind is not None:
                    self._write(node, index, kind)
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        return Rounding(values, clamped, vanished, tuple(sorted(kept)))

    def _types(self, node: onnx.NodeProto) -> tuple[list[int | None], list[int | None]]:
        """Types in which a node shall read and write its tensors; None for those that are not fp32 now."""
        variables: set[str] = set()
        reads, writes = [""] * len(node.input), [""] * len(node.output)
        domain = _domain(node.domain)
        if not self._sizes.issuperset(node.output) and onnx.defs.has(node.op_type, domain):
            schema = onnx.defs.get_schema(node.op_type, self._opsets.get(domain, 1), domain)
            reads = [_parameter(schema.inputs, index).type_str for index in range(len(node.input))]
            writes = [_parameter(schema.outputs, index).type_str for index in range(len(node.output))]
            type_name = f"tensor({'float16' if self._precision == 'fp16' else 'bfloat16'})"
            variables = {
                constraint.type_param_str
                for constraint in schema.type_constraints
                if type_name in constraint.allowed_type_strs
            }
        # The type of a result that no operand has is the operator's own choice, or that of an attribute.
        variables &= {v for v, name in zip(reads, node.input, strict=True) if name in self._floats}

        def typed(names: Sequence[str], parameters: Sequence[str]) -> list[int | None]:
            return [
                None if name not in self._floats else self._narrow if parameter in variables else _FP32
                for name, parameter in zip(names, parameters, strict=True)
            ]

        return typed(node.input, reads), typed(node.output, writes)

    def _narrow_weights(self, wanted: set[tuple[str, int | None]]) -> tuple[int, int, int]:
        """Give every weight the types it is read in; return how many values were rounded, clamped, vanished."""
        counts = np.zeros(3, np.int64)
        for tensor in [t for t in self._graph.initializer if t.name in self._floats]:
            self._forms[tensor.name, _FP32] = tensor.name
            if (tensor.name, self._narrow) in wanted:
                name = tensor.name
                narrowed, found = _narrow_tensor(tensor, self._precision)
                counts += found
                if (name, _FP32) in wanted or name in self._outputs:
                    narrowed.name = f"{name}/{self._precision}"
                    self._graph.initializer.append(narrowed)
                else:
                    tensor.CopyFrom(narrowed)
                self._forms[name, self._narrow] = narrowed.name
        values, clamped, vanished = counts.tolist()
        return values, clamped, vanished

    def _read(self, name: str, kind: int, reader: onnx.NodeProto) -> str:
        """Where to read a tensor in a type; casts it if it is not there in that type yet."""
        if (name, kind) not in self._forms:
            other = _FP32 if kind == self._narrow else self._narrow
            cast = f"{name}/{self._precision if kind == self._narrow else 'fp32'}"
            module = module_of(self._makers.get(name, reader))
            self._nodes.append(_cast(self._forms[name, other], cast, kind, module))
            self._forms[name, kind] = cast
        return self._forms[name, kind]

    def _write(self, node: onnx.NodeProto, index: int, kind: int) -> None:
        name = node.output[index]
        self._makers[name] = node
        self._forms[name, kind] = name
        if name in self._outputs and kind == self._narrow:
            # Outputs of the network keep their name and type.
            own = node.output[index] = f"{name}/{self._precision}"
            self._forms |= {(name, kind): own, (name, _FP32): name}
            self._nodes.append(_cast(own, name, _FP32, module_of(node)))


def _narrow_tensor(tensor: TensorProto, precision: str) -> tuple[TensorProto, Array]:
    """Round a tensor to the nearest, ties to even; return it, and counts of values, clamped and vanished ones."""
    values = numpy_helper.to_array(tensor)
    largest = np.float32(_LARGEST[precision])
    beyond = np.isfinite(values) & (np.abs(values) > largest)
    clamped = np.where(beyond, np.copysign(largest, values), values)
    if precision == "fp16":
        bits = clamped.astype(np.float16).view(np.uint16)
    else:
        wide = clamped.view(np.uint32)
        nearest = wide + 0x7FFF + ((wide >> 16) & 1)
        # What is no number stays none, whatever its other bits.
        bits = np.where(np.isnan(clamped), 0x7FC0, nearest >> 16).astype(np.uint16)
    vanished = (values != 0) & (bits & 0x7FFF == 0)
    narrowed = TensorProto(
        name=tensor.name,
        data_type=_NARROW[precision],
        dims=tensor.dims,
        raw_data=bits.astype("<u2").tobytes(),
    )
    return narrowed, np.array([values.size, np.count_nonzero(beyond), np.count_nonzero(vanished)])


def _domain(name: str) -> str:
    return "" if name in STANDARD_DOMAINS else name


def _parameter(
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter], index: int
) -> onnx.defs.OpSchema.FormalParameter:
    # The last one of a variadic operator stands for all that follow.
    return parameters[min(index, len(parameters) - 1)]


def _cast(source: str, target: str, kind: int, module: str | None) -> onnx.NodeProto:
    node = helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind)
    node.metadata_props.add(key=MODULE_KEY, value=module or "")
    return node


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return ONNX's number of the element type of every tensor that inference can tell it of."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def to_opset(model: onnx.ModelProto, opset: int, source: str) -> None:
    """Bring a model to at least this operator set, in place; nodes keep their names and modules.

    Args:
        model: What `perframe.export.precision.prepare` returned.
        opset: Version of the standard operator set.
        source: Which file it came from, for messages.

    Raises:
        BuildError: ONNX's converter does not know how.
        UnavailableError: The installed onnx does not know that operator set.
    """
    if max((e.version for e in model.opset_import if e.domain in STANDARD_DOMAINS), default=0) >= opset:
        return
    if onnx.defs.onnx_opset_version() < opset:
        raise UnavailableError(
            f"onnx {onnx.__version__} knows operator sets up to {onnx.defs.onnx_opset_version()};"
            f" {opset} is needed.",
            "pip install --upgrade onnx",
        )
    modules = {node.name: module_of(node) for node in model.graph.node}
    try:
        converted = onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise BuildError(
            f"{source}: cannot be brought to operator set {opset} ({reason[:200]}).",
            "bf16 needs it: export the model with that operator set, or take fp16.",
        ) from error
    # The converter drops the metadata of nodes.
    for node in converted.graph.node:
        if (module := modules.get(node.name)) is not None:
            node.metadata_props.add(key=MODULE_KEY, value=module)
    write_down_modules(converted.graph)
    model.CopyFrom(converted)
