"""An ONNX file as the rest of the program sees it: checked, hashed, and without the weight of its weights."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from perframe.errors import InputError, UsageError
from perframe.export.tensor_data import check_values, strip_values, weights_as_inputs
from perframe.files import readable_file, sha256_of

# Serialised protobuf messages cannot be larger.
_LARGEST_FILE = 2**31 - 1


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model or engine.

    Attributes:
        name: As the model calls it.
        dtype: Name of the NumPy data type, such as "float32".
        shape: One entry per dimension: its size, the name of a symbolic dimension, or None where it has none.
            Empty too for an output whose number of dimensions neither the file nor inference tells.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class OnnxModel:
    """A checked ONNX model.

    Attributes:
        path: The file.
        sha256: Of the file; where weights lie in files beside it, of the hashes of all of them.
        size_bytes: Of the file and the files beside it.
        inputs: Graph inputs that are not weights.
        outputs: Graph outputs.
        opset: Version of the standard operator set.
        producer: Exporter and its version.
        metadata: The model's own metadata.
        proto: The model without the values of large tensors.
    """

    path: Path
    sha256: str
    size_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opset: int
    producer: str
    metadata: Mapping[str, str]
    proto: onnx.ModelProto = field(repr=False, compare=False)

    @property
    def graph(self) -> onnx.GraphProto:
        """The graph; tensors above 1024 elements have shape and data type but no values."""
        return self.proto.graph


class TakesInputs(Protocol):
    """A model, or an engine built from one."""

    @property
    def path(self) -> Path:
        """The file, for messages."""
        ...

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Its inputs, batch dimension first."""
        ...


def fixed_batch(model: TakesInputs) -> int | None:
    """Return the batch size `model` is fixed at, or None where it takes any."""
    leading = [info.shape[0] for info in model.inputs if info.shape]
    sizes = [size for size in leading if isinstance(size, int)]
    return sizes[0] if sizes and len(sizes) == len(leading) else None


def open_onnx(path: Path) -> OnnxModel:
    """Open and check an ONNX file.

    Weights are checked for completeness and let go of; nothing is executed, and no file outside the model's
    folder is touched.

    Raises:
        InputError: The file is missing, truncated, not ONNX, structurally wrong, an input has no shape, or
            its external data is missing, too short or outside its folder.
        UnavailableError: There is no permission to read it.
    """
    readable_file(path, "ONNX model")
    if path.stat().st_size > _LARGEST_FILE:
        raise _not_onnx(path, "a file over 2 GB, which ONNX files cannot be")
    loaded, sha256 = _parse(path)
    if not loaded.HasField("graph"):
        raise _not_onnx(path, "no graph")
    external = check_values(loaded, path)
    files = (path, *external.values())
    if external:
        digests = [sha256, *(f"{name}:{sha256_of(file)}" for name, file in sorted(external.items()))]
        sha256 = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    model = strip_values(loaded, path)
    del loaded
    if not _is_text(model):
        raise InputError(f"{path}: a name in the model is not UTF-8 text.", "Export the model again.")
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    inputs = tuple(_input_info(value, path) for value in model.graph.input if value.name not in weights)
    _check_structure(model, path)
    _complete_outputs(model)
    if not inputs:
        raise InputError(f"{path}: expected a model with inputs, found none.", "Export the model again.")
    return OnnxModel(
        path=path,
        sha256=sha256,
        size_bytes=sum(file.stat().st_size for file in set(files)),
        inputs=inputs,
        outputs=tuple(_tensor_info(value, path) for value in model.graph.output),
        opset=_opset(model, path),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        proto=model,
    )


def parse_input_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]] | tuple[int, ...] | None:
    """Parse the values of `--input`: `3x224x224`, or `name:3x224x224` once per input.

    Returns:
        Shapes without the batch dimension: by input name, or one for the only input, or None for no value.

    Raises:
        UsageError: A value is malformed, or values contradict each other.
    """
    named: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, colon, sizes = text.rpartition(":")
        parts = sizes.split("x")
        if (colon and not name) or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            raise UsageError(
                f"--input {text}: expected sizes like 3x224x224, or name:3x224x224.",
                "Give channels, height and width without the batch.",
            )
        if name in named or (named and "" in (name, *named)):
            raise UsageError(
                f"--input {text}: an input's shape is given twice.",
                "With several inputs give each once, as name:3x224x224.",
            )
        named[name] = tuple(int(part) for part in parts)
    return named.get("", named) if named else None


def resolve_input_shapes(
    model: TakesInputs,
    batch: int,
    overrides: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Return the full shape of every input at a batch size.

    A symbolic first dimension is the batch; in a model that has one, inputs with a fixed first dimension keep
    it.

    Args:
        model: The model, or an engine.
        batch: Frames per inference.
        overrides: Shapes without the batch dimension, by input name or, for a model with one input, alone.
            See `parse_input_shapes`.

    Raises:
        UsageError: The batch is below 1 or not the one the model is fixed at, or an override contradicts the
            model.
        InputError: A dimension is symbolic and no override gives it.
    """
    if batch < 1:
        raise UsageError(f"Batch {batch}: expected at least 1.", "Give -b 1 or more.")
    if (fixed := fixed_batch(model)) not in (None, batch):
        raise UsageError(
            f"{model.path}: the model's batch is fixed at {fixed}, found a request for {batch}.",
            f"Give -b {fixed}, or export the model with a dynamic batch.",
        )
    given = _overrides_by_name(model, overrides)
    return {info.name: _full_shape(model, info, batch, given.get(info.name)) for info in model.inputs}


def _parse(path: Path) -> tuple[onnx.ModelProto, str]:
    data = path.read_bytes()
    # Hashed first: once parsed, the weights are in memory twice until `data` goes.
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return onnx.ModelProto.FromString(data), sha256
    except DecodeError as error:
        raise _not_onnx(path, "something truncated or of another kind") from error


def _not_onnx(path: Path, found: str) -> InputError:
    return InputError(
        f"{path}: expected an ONNX model, found {found}.",
        "Was the copy cut off? A checkpoint goes through `perframe export` first.",
    )


def _is_text(message: Message) -> bool:
    """Whether all text in a message is UTF-8; what is not comes out as bytes, and would pass for a name."""
    for entry, value in message.ListFields():
        values = (value,) if isinstance(value, (str, bytes, Message)) else value
        if entry.type == entry.TYPE_STRING and not all(isinstance(each, str) for each in values):
            return False
        if entry.type == entry.TYPE_MESSAGE and not all(_is_text(each) for each in values):
            return False
    return True


def _check_structure(model: onnx.ModelProto, path: Path) -> None:
    if not model.graph.output:
        raise InputError(f"{path}: expected a model with outputs, found none.", "Export the model again.")
    checked = weights_as_inputs(model)
    for value in checked.graph.output:
        # ONNX Runtime does without the types of outputs; onnx's checker wants them, and names no tensor.
        if value.type.WhichOneof("value") in (None, "tensor_type"):
            tensor = value.type.tensor_type
            tensor.elem_type = tensor.elem_type or onnx.TensorProto.FLOAT
            tensor.shape.SetInParent()
    try:
        onnx.checker.check_model(checked)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{path}: not a valid ONNX model: {reason}.", "Export the model again.") from error


def _complete_outputs(model: onnx.ModelProto) -> None:
    """Give outputs without a type or shape those that inference finds, in place."""
    if all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
        return
    try:
        inferred = onnx.shape_inference.infer_shapes(weights_as_inputs(model))
    except onnx.shape_inference.InferenceError:
        return  # counting costs says which layers do not fit together
    for value, found in zip(model.graph.output, inferred.graph.output, strict=True):
        shape_is_news = not value.type.tensor_type.HasField("shape") and found.type.tensor_type.HasField(
            "shape"
        )
        if value.type.WhichOneof("value") is None:
            value.type.CopyFrom(found.type)
        elif shape_is_news:
            value.type.tensor_type.shape.CopyFrom(found.type.tensor_type.shape)


def _opset(model: onnx.ModelProto, path: Path) -> int:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return int(entry.version)
    raise InputError(f"{path}: the model names no standard operator set.", "Export the model again.")


def _input_info(value: onnx.ValueInfoProto, path: Path) -> TensorInfo:
    info = _tensor_info(value, path)
    if not value.type.tensor_type.HasField("shape"):
        raise InputError(
            f"{path}: input {value.name!r} is expected to have a shape, found none.",
            "Export the model with the shapes of its inputs; sizes that vary can be symbolic.",
        )
    return info


def _tensor_info(value: onnx.ValueInfoProto, path: Path) -> TensorInfo:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise InputError(
            f"{path}: {value.name!r} is expected to be a tensor, found {kind or 'no type'}.",
            "Export the model with tensors as inputs and outputs.",
        )
    tensor = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError as error:
        raise InputError(
            f"{path}: {value.name!r} has the unknown data type {tensor.elem_type}.", "Export the model again."
        ) from error
    # Some exporters write 0 or -1 for a dimension they do not know.
    return TensorInfo(
        name=value.name,
        dtype=dtype,
        shape=tuple(
            size.dim_value if size.dim_value > 0 else (size.dim_param or None) for size in tensor.shape.dim
        ),
    )


def _overrides_by_name(
    model: TakesInputs, overrides: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None
) -> Mapping[str, tuple[int, ...]]:
    names = [info.name for info in model.inputs]
    if overrides is None:
        return {}
    if isinstance(overrides, tuple):
        if len(names) > 1:
            flags = " ".join(_flag(model, info, _example(info)) for info in model.inputs)
            raise UsageError(
                f"{model.path}: expected a shape for one of {len(names)} inputs by name.", f"Give {flags}."
            )
        return {names[0]: overrides}
    if unknown := sorted(set(overrides) - set(names)):
        raise UsageError(f"{model.path}: has no input {unknown[0]!r}.", f"Its inputs are {', '.join(names)}.")
    return overrides


def _full_shape(
    model: TakesInputs, info: TensorInfo, batch: int, override: tuple[int, ...] | None
) -> tuple[int, ...]:
    per_frame = info.shape[1:]
    if override is not None:
        fits = len(override) == len(per_frame) and all(
            size == wanted or not isinstance(wanted, int)
            for size, wanted in zip(override, per_frame, strict=True)
        )
        if not fits:
            expected = "x".join(str(size or "?") for size in per_frame) or "no dimension besides the batch"
            found = "x".join(map(str, override))
            raise UsageError(
                f"{model.path}: input {info.name!r} expected {expected}, found {found}.",
                f"Give {_flag(model, info, _example(info))} (without the batch).",
            )
        per_frame = override
    sizes = tuple(size for size in per_frame if isinstance(size, int))
    if len(sizes) < len(per_frame):
        free = ", ".join(str(size or "?") for size in per_frame if not isinstance(size, int))
        raise InputError(
            f"{model.path}: input {info.name!r} has dimensions without a size: {free}.",
            f"Give the size you deploy with, for example {_flag(model, info, _example(info))}.",
        )
    leading = tuple(size if isinstance(size, int) else batch for size in info.shape[:1])
    return leading + sizes


def _example(info: TensorInfo) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else 224 for size in info.shape[1:])


def _flag(model: TakesInputs, info: TensorInfo, shape: tuple[int, ...]) -> str:
    prefix = f"{info.name}:" if len(model.inputs) > 1 else ""
    return f"--input {prefix}{'x'.join(map(str, shape))}"
