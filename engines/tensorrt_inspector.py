"""What TensorRT's engine inspector says about an engine, in the forms of 8.x, 10.x and 11.x.

Up to 10.x the engine's tensors are `Bindings`, a list of names; from 11.0 they are `I/O Tensors`, with shapes. Up to
10.x a tensor has one `Format/Datatype`; from 11.0 two fields. An engine built without
`ProfilingVerbosity.DETAILED` has names of layers only. Fields that are not known are kept out of the way, and fields
that are not as expected count as not told: only the list of layers is necessary.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perframe.engines.tensorrt_json import parse_json, read_json, text_of
from perframe.errors import InputError

# TensorRT's own words for data types, and those inside its descriptions of formats.
_DTYPES = {
    **dict.fromkeys(("float", "fp32", "float32", "kfloat"), "fp32"),
    **dict.fromkeys(("half", "fp16", "float16", "khalf"), "fp16"),
    **dict.fromkeys(("bfloat16", "bf16", "kbf16"), "bf16"),
    **dict.fromkeys(("fp8", "float8", "kfp8"), "fp8"),
    **dict.fromkeys(("fp4", "kfp4"), "fp4"),
    **dict.fromkeys(("int8", "kint8"), "int8"),
    **dict.fromkeys(("int4", "kint4"), "int4"),
    **dict.fromkeys(("uint8", "kuint8"), "uint8"),
    **dict.fromkeys(("int32", "kint32"), "int32"),
    **dict.fromkeys(("int64", "kint64"), "int64"),
    **dict.fromkeys(("bool", "kbool"), "bool"),
}
_ONNX_LAYER = "[ONNX Layer: "
_SEPARATOR = re.compile(r"[\x1e\x1f]")
# TensorRT's tensors have at most eight dimensions, and no memory holds more elements.
_MOST_DIMENSIONS, _MOST = 8, 2**40
# The largest engines have some thousands.
_MOST_LAYERS = 20_000


@dataclass(frozen=True)
class InspectedTensor:
    """A tensor that a layer or the engine reads or writes.

    Attributes:
        name: TensorRT's name.
        shape: Its sizes, `None` for one that is not fixed; `None` if it is not told.
        dtype: `fp32`, `fp16`, `int8`, ...; `None` if it is not told.
        format: Layout and data type in TensorRT's words; `None` if it is not told.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str | None
    format: str | None


@dataclass(frozen=True)
class InspectedConvolution:
    """The parameters of a convolution.

    Attributes:
        kernel: Sizes of the kernel.
        stride: Per dimension of the kernel; `None` if it is not told.
        padding: Elements put around the input, before plus behind, per dimension; `None` if it is not told.
        dilation: Per dimension of the kernel.
        groups: Number of groups g; `None` if it is not told.
        out_maps: Output channels; `None` if it is not told.
        weights: Number of weights; `None` if it is not told.
        weights_dtype: Their data type.
        transposed: Whether it is a deconvolution.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...] | None
    padding: tuple[int, ...] | None
    dilation: tuple[int, ...]
    groups: int | None
    out_maps: int | None
    weights: int | None
    weights_dtype: str | None
    transposed: bool


@dataclass(frozen=True)
class InspectedLayer:
    """One layer of an engine.

    Attributes:
        name: TensorRT's name. Several layers can have the same.
        type: TensorRT's kind of layer, such as `CaskConvolution`; "" if it is not told.
        parameter_type: What it computes, such as `Convolution`; "" if it is not told.
        origin: Why it is there, such as `REFORMAT` or `QDQ`; "" if it is not told.
        inputs: Tensors it reads; weights are listed in some versions.
        outputs: Tensors it writes.
        convolution: Its parameters, if it is a convolution.
        tactic: Name of its kernel; `None` if it is not told.
        tactic_value: TensorRT's number of the kernel.
        onnx_nodes: Names of the ONNX nodes in it, from 9.x on; empty if they are not told.
        stream: Which stream it runs on, from 10.x on.
    """

    name: str
    type: str
    parameter_type: str
    origin: str
    inputs: tuple[InspectedTensor, ...]
    outputs: tuple[InspectedTensor, ...]
    convolution: InspectedConvolution | None
    tactic: str | None
    tactic_value: str | None
    onnx_nodes: tuple[str, ...]
    stream: int | None


@dataclass(frozen=True)
class Inspection:
    """An engine as its inspector shows it.

    Attributes:
        layers: Its layers, in the order of execution.
        inputs: The engine's inputs, with shapes as far as they are told.
        outputs: Its outputs.
        detailed: Whether layers were more than names.
    """

    layers: tuple[InspectedLayer, ...]
    inputs: tuple[InspectedTensor, ...]
    outputs: tuple[InspectedTensor, ...]
    detailed: bool


def read_inspection(path: Path) -> Inspection:
    """Read what `trtexec --exportLayerInfo` wrote, gzipped or not.

    Raises:
        InputError: The file is missing, cut off, or no inspector's document.
        UnavailableError: There is no permission to read it.
    """
    return _inspection(read_json(path, "file of layers (trtexec --exportLayerInfo)"), str(path))


def parse_inspection(text: str, where: str) -> Inspection:
    """Parse what `EngineInspector.get_engine_information(LayerInformationFormat.JSON)` gave.

    Args:
        text: The JSON document.
        where: Where it came from, for messages.

    Raises:
        InputError: It is no inspector's document.
    """
    return _inspection(parse_json(text, where), where)


def _inspection(document: object, where: str) -> Inspection:
    fields = _fields(document)
    raw = document if isinstance(document, list) else fields.get("layers")
    if not isinstance(raw, list) or not raw:
        found = "none" if isinstance(raw, list) else "no list of them"
        raise InputError(
            f'{where}: expected layers under "Layers", found {found}.',
            "Give the file of trtexec --exportLayerInfo, from an engine built with --profilingVerbosity=detailed.",
        )
    if len(raw) > _MOST_LAYERS:
        raise InputError(
            f"{where}: expected at most {_MOST_LAYERS} layers, found {len(raw)}.", "Was the file edited?"
        )
    layers = tuple(_layer(each, index, where) for index, each in enumerate(raw))
    inputs, outputs = _engine_tensors(fields, layers)
    return Inspection(layers, inputs, outputs, any(isinstance(each, Mapping) for each in raw))


def _layer(raw: object, index: int, where: str) -> InspectedLayer:
    if (name := text_of(raw)) is not None:
        return InspectedLayer(name, "", "", "", (), (), None, None, None, (), None)
    fields = _fields(raw)
    name = text_of(fields.get("name"))
    if name is None:
        raise InputError(
            f"{where}: layer {index}: expected a name or an object with one, found {str(raw)[:40]}.",
            "Was the file edited?",
        )
    kind, parameters = _word(fields, "layertype"), _word(fields, "parametertype")
    return InspectedLayer(
        name=name,
        type=kind,
        parameter_type=parameters,
        origin=_word(fields, "origin"),
        inputs=_tensors(fields.get("inputs")),
        outputs=_tensors(fields.get("outputs")),
        convolution=_convolution(fields, f"{kind} {parameters}"),
        tactic=text_of(fields.get("tacticname")) or None,
        tactic_value=text_of(fields.get("tacticvalue")),
        onnx_nodes=_onnx_nodes(_word(fields, "metadata")),
        stream=_count(fields.get("streamid"), least=0),
    )


def _convolution(fields: Mapping[str, Any], kinds: str) -> InspectedConvolution | None:
    # Fused with pooling, the convolution's parameters have its name before theirs.
    prefix = "" if "kernel" in fields else "conv"
    kernel = _sizes(fields.get(f"{prefix}kernel"), least=1)
    if not kernel:
        return None
    weights = _fields(fields.get(f"{prefix}weights"))
    return InspectedConvolution(
        kernel=kernel,
        stride=_sizes(fields.get(f"{prefix}stride"), least=1, length=len(kernel)),
        padding=_padding(fields, prefix, len(kernel)),
        dilation=_sizes(fields.get(f"{prefix}dilation"), least=1, length=len(kernel)) or (1,) * len(kernel),
        groups=_count(fields.get(f"{prefix}groups")),
        out_maps=_count(fields.get(f"{prefix}outmaps")),
        weights=_count(weights.get("count")),
        weights_dtype=_dtype(_word(weights, "type")),
        transposed="deconv" in kinds.lower(),
    )


def _padding(fields: Mapping[str, Any], prefix: str, length: int) -> tuple[int, ...] | None:
    if "EXPLICIT" not in _word(fields, f"{prefix}paddingmode").upper():
        return None
    before = _sizes(fields.get(f"{prefix}prepadding"), least=0, length=length)
    behind = _sizes(fields.get(f"{prefix}postpadding"), least=0, length=length)
    if before is None or behind is None:
        return None
    return tuple(sum(pair) for pair in zip(before, behind, strict=True))


def _engine_tensors(
    fields: Mapping[str, Any], layers: Iterable[InspectedLayer]
) -> tuple[tuple[InspectedTensor, ...], tuple[InspectedTensor, ...]]:
    """The engine's inputs and outputs; what is not told about one is taken from the layers around it."""
    read: dict[str, InspectedTensor] = {}
    written: dict[str, InspectedTensor] = {}
    for layer in layers:
        read.update({tensor.name: tensor for tensor in layer.inputs if tensor.name not in read})
        written.update({tensor.name: tensor for tensor in layer.outputs})
    inputs: list[InspectedTensor] = []
    outputs: list[InspectedTensor] = []
    for raw in _list(fields.get("iotensors")) or _list(fields.get("bindings")):
        told = _fields(raw)
        name = text_of(raw) or text_of(told.get("name"))
        if name is None:
            continue
        mode = _word(told, "iomode").lower()
        told_mode = mode.endswith(("input", "output"))
        is_input = mode.endswith("input") if told_mode else name in read and name not in written
        near = read.get(name) if is_input else written.get(name)
        shape = _shape(told.get("dimensions"))
        if shape is None or None in shape:
            shape = near.shape if near is not None and near.shape is not None else shape
        dtype = _dtype(_word(told, "datatype")) or (near.dtype if near else None)
        found = InspectedTensor(name, shape, dtype, near.format if near else None)
        (inputs if is_input else outputs).append(found)
    return tuple(inputs), tuple(outputs)


def _tensors(raw: object) -> tuple[InspectedTensor, ...]:
    found = []
    for each in _list(raw):
        fields = _fields(each)
        name = text_of(each) or text_of(fields.get("name"))
        if name is not None:
            words = [_word(fields, key) for key in ("formatdatatype", "format", "datatype")]
            layout = " ".join(dict.fromkeys(filter(None, words))) or None
            # A format may name another type than the data type beside it, which is the one that counts.
            dtype = _dtype(words[2]) or _dtype(words[0] or words[1])
            found.append(InspectedTensor(name, _shape(fields.get("dimensions")), dtype, layout))
    return tuple(found)


def _onnx_nodes(metadata: str) -> tuple[str, ...]:
    # Entries follow each other with or without a separator, and a name may hold brackets of its own.
    entries = [each for part in _SEPARATOR.split(metadata) for each in part.split(_ONNX_LAYER)[1:]]
    return tuple(dict.fromkeys(name for each in entries if (name := each.rpartition("]")[0])))


def _fields(raw: object) -> dict[str, Any]:
    """The fields of an object by their letters alone: versions differ in capitals, blanks and slashes."""
    if not isinstance(raw, Mapping):
        return {}
    return {re.sub(r"[^a-z0-9]", "", str(key).lower()): value for key, value in raw.items()}


def _list(raw: object) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _word(fields: Mapping[str, Any], key: str) -> str:
    return text_of(fields.get(key)) or ""


def _count(raw: object, least: int = 1) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and least <= raw < _MOST else None


def _sizes(raw: object, *, least: int, length: int | None = None) -> tuple[int, ...] | None:
    sizes = [_count(each, least) for each in _list(raw)[: _MOST_DIMENSIONS + 1]]
    known = tuple(size for size in sizes if size is not None)
    fits = len(known) == len(sizes) <= _MOST_DIMENSIONS and length in (None, len(known))
    return known if sizes and fits else None


def _shape(raw: object) -> tuple[int | None, ...] | None:
    if not isinstance(raw, list) or len(raw) > _MOST_DIMENSIONS:
        return None
    # A size that varies is -1.
    return tuple(_count(each, least=0) for each in raw)


def _dtype(words: str) -> str | None:
    return next((_DTYPES[word] for word in re.findall(r"[a-z0-9]+", words.lower()) if word in _DTYPES), None)
