"""The steps of a TensorRT engine, when it has been built or when it is opened.

TensorRT knows them as soon as there is an engine. TensorRT-RTX compiles an engine for the GPU that it is opened on,
which may be another machine: the model goes along without its weights, so that the steps can be led back there.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from perframe.engines.base import EngineArtifact, EngineLayer
from perframe.engines.tensorrt_inspector import parse_inspection
from perframe.engines.tensorrt_lineage import engine_layers
from perframe.errors import InputError
from perframe.export.onnx_model import OnnxModel, resolve_input_shapes

# Weightless graphs are some 100 kB; what unpacks to more than this is no such graph.
_MOST_BYTES = 64 << 20


def built_layers(
    inspection: str, model: OnnxModel, input_shapes: Mapping[str, tuple[int, ...]], batch: int
) -> tuple[EngineLayer, ...]:
    """Describe the steps of an engine that has just been built.

    Args:
        inspection: What the engine's inspector says, as JSON.
        model: The model it was built from.
        input_shapes: Shape of every input without regard to the batch, see `perframe.engines.base.BuildSpec`.
        batch: Frames per inference that it was tuned for.
    """
    overrides = {name: shape[1:] for name, shape in input_shapes.items()}
    shapes = resolve_input_shapes(model, batch, overrides)
    return engine_layers(
        parse_inspection(inspection, f"{model.path}'s engine"), model, batch=batch, input_shapes=shapes
    )


def opened_layers(artifact: EngineArtifact, inspection: str) -> tuple[EngineLayer, ...]:
    """Describe the steps of an engine that is open: those of its sidecar, or by the model in it.

    Args:
        artifact: The engine.
        inspection: What the engine's inspector says, as JSON.

    Raises:
        InputError: The sidecar's model is damaged.
    """
    if artifact.source is None:
        return artifact.layers
    model = OnnxModel(
        path=artifact.path,
        sha256=artifact.model.sha256 or "",
        size_bytes=0,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        opset=0,
        producer="",
        metadata={},
        proto=_unpacked(artifact),
    )
    return built_layers(inspection, model, artifact.input_shapes, max(artifact.batches))


def packed_source(model: OnnxModel) -> str:
    """Return the model without its weights as text for a sidecar."""
    return base64.b64encode(zlib.compress(model.proto.SerializeToString(), 9)).decode("ascii")


def _unpacked(artifact: EngineArtifact) -> onnx.ModelProto:
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(artifact.source or "", validate=True), _MOST_BYTES)
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
        return model
    except (binascii.Error, zlib.error, DecodeError) as error:
        raise InputError(
            f"{artifact.path}: the model in the engine's sidecar is damaged: {error}.",
            "Build the engine again.",
        ) from error
