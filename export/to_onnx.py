"""A network of torch modules exported to ONNX, every node named after the module it comes from.

torch's TorchScript-based exporter is used: it folds BatchNorm into the convolution before it, keeps the
module path of every operation, needs no further library, and takes a tenth of the time of the newer one.
"""

import io
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx

from perframe import __version__
from perframe.errors import BuildError
from perframe.export.onnx_names import rename_after_modules
from perframe.export.pytorch import nn, torch
from perframe.export.write_onnx import INLINE_LIMIT_BYTES, write_onnx

OPSET = 20
_INPUT, _OUTPUT, _BATCH = "input", "logits", "batch"
# Two frames, so that no dimension of size one is mistaken for one to broadcast.
_TRACED_FRAMES = 2
# node metadata came with this version of the format
_IR_VERSION = 10


def export_onnx(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    inline_limit_bytes: int = INLINE_LIMIT_BYTES,
) -> None:
    """Write a network as ONNX with a free batch axis.

    The graph has one input `input` (batch, channels, height, width) and one output `logits` (batch, classes);
    several outputs are called `output_0`, `output_1`, ... Nodes are named after their modules, and each
    carries its module's path as metadata `perframe.module`.

    Args:
        module: The network; it is not changed.
        input_shape: (channels, height, width).
        path: The file to write; it is replaced whole or not at all.
        metadata: Further entries for the model's metadata, such as `perframe.family`.
        inline_limit_bytes: Weights of more bytes go to one file `<path>.data` beside it.

    Raises:
        BuildError: The network does not take this input, returns something other than tensors, or uses an
            operation that ONNX does not know; the message names it.
        UnavailableError: The file cannot be written.
    """
    training = {part: part.training for part in module.modules()}
    try:
        module.eval()
        frames = torch.zeros(_TRACED_FRAMES, *input_shape)
        outputs = _output_names(module, frames)
        model = _trace(module, frames, outputs)
    finally:
        for part, flag in training.items():
            part.training = flag
    rename_after_modules(model.graph, [name for name, _ in module.named_modules()])
    model.ir_version = max(model.ir_version, _IR_VERSION)
    model.producer_name, model.producer_version = "perframe", __version__
    onnx.helper.set_model_props(model, dict(metadata or {}))
    write_onnx(model, path, inline_limit_bytes=inline_limit_bytes)


def _output_names(module: nn.Module, frames: torch.Tensor) -> list[str]:
    """Run the network once to name its outputs, and to say in clear words where it cannot run."""
    shape = "x".join(map(str, frames.shape[1:]))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = module(frames)
    # The network may be anybody's code.
    except Exception as error:
        raise BuildError(
            f"The network does not run on {_TRACED_FRAMES} frames of {shape} ({_reason(error)}).",
            "Give the input it was made for: --input CxHxW.",
        ) from error
    if isinstance(outputs, torch.Tensor):
        return [_OUTPUT]
    if isinstance(outputs, list | tuple) and outputs and all(isinstance(o, torch.Tensor) for o in outputs):
        return [f"output_{index}" for index in range(len(outputs))]
    raise BuildError(
        f"The network returns a {type(outputs).__name__}, expected a tensor or a list of tensors.",
        "Let the factory wrap it in a module that returns the logits.",
    )


def _trace(module: nn.Module, frames: torch.Tensor, outputs: list[str]) -> onnx.ModelProto:
    weight_bytes = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    options = {
        "opset_version": OPSET,
        "dynamo": False,
        "input_names": [_INPUT],
        "output_names": outputs,
        "dynamic_axes": {name: {0: _BATCH} for name in [_INPUT, *outputs]},
    }
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if weight_bytes < INLINE_LIMIT_BYTES:
                buffer = io.BytesIO()
                torch.onnx.export(module, (frames,), buffer, **options)
                return onnx.load_model_from_string(buffer.getvalue())
            # Above the limit torch writes one file per tensor, and only to a folder.
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder, "model.onnx")
                torch.onnx.export(module, (frames,), str(target), **options)
                return onnx.load(target)
    # The exporter raises whatever its passes or the network's own code raise.
    except Exception as error:
        raise BuildError(
            f"The network cannot be expressed in ONNX opset {OPSET} ({_reason(error)}).",
            "Replace that operation in the network, or export it yourself and give the .onnx.",
        ) from error


def _reason(error: Exception) -> str:
    """The first sentence of a foreign error; exporters append pages of advice."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"{type(error).__name__}: {text[:200]}"
