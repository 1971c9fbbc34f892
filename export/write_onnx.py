"""An ONNX model written to disk: valid, whole or not at all, with weights beside it where they do not fit inside."""

from pathlib import Path

import onnx

from perframe.errors import BuildError
from perframe.files import atomic_path

INLINE_LIMIT_BYTES = 2 * 10**9
"""Protocol buffers end at 2 GiB; the margin is for everything that is not weights."""

# Smaller tensors stay in the model file: scales, shapes and biases are worth reading there.
_EXTERNAL_FROM_BYTES = 1024


def write_onnx(model: onnx.ModelProto, path: Path, *, inline_limit_bytes: int = INLINE_LIMIT_BYTES) -> None:
    """Write `model` to `path` after onnx's full check, shapes included.

    Args:
        model: Its weights are inside; large ones are moved out of it where they are written beside the file.
        path: The file; it is replaced whole or not at all.
        inline_limit_bytes: Weights of more bytes go to one file `<path>.data` beside it.

    Raises:
        BuildError: The model is not valid ONNX.
        UnavailableError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > inline_limit_bytes:
            # First the weights: a reader that finds the new model must find its weights.
            data = path.with_name(f"{path.name}.data")
            with atomic_path(data) as temporary_data:
                _move_weights(model, temporary_data, data.name)
        onnx.save_model(model, temporary)
        try:
            onnx.checker.check_model(str(temporary), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            reason = next(
                (line.strip() for line in str(error).splitlines() if line.strip()), "no reason given"
            )
            raise BuildError(
                f"{path}: the exported graph is not valid ONNX ({type(error).__name__}: {reason[:200]}).",
                "Export the network yourself and give the .onnx.",
            ) from error


def _move_weights(model: onnx.ModelProto, target: Path, location: str) -> None:
    """Write the large weights to `target` and refer to them as the file `location` beside the model."""
    with target.open("wb") as file:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < _EXTERNAL_FROM_BYTES:
                continue
            offset = file.tell()
            file.write(tensor.raw_data)
            onnx.external_data_helper.set_external_data(
                tensor, location, offset=offset, length=len(tensor.raw_data)
            )
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.ClearField("raw_data")
