"""An ONNX file run on the CPU for what it computes, not for how fast: parity, accuracy and calibration."""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from perframe.arrays import Array
from perframe.engines.base import BuildSpec, Engine
from perframe.engines.registry import backend_named
from perframe.errors import UsageError
from perframe.export.narrow import narrow_type, widen
from perframe.export.onnx_model import OnnxModel, fixed_batch, open_onnx, resolve_input_shapes

InputShapes = Mapping[str, tuple[int, ...]] | tuple[int, ...] | None
"""Shapes without the batch: by input name, or of the only input, or none where the model says them."""

# Images at a time: enough to be fast, few enough for every activation of a large network to be held at once.
_BATCH = 4


class Runner:
    """A network that is ready to run.

    Attributes:
        model: Its model, as it is run.
    """

    def __init__(self, model: OnnxModel, engine: Engine) -> None:
        self.model = model
        self._engine = engine

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name, and the inner tensors that were asked for."""
        return self._engine.infer(inputs)

    def output(self, inputs: Mapping[str, Array]) -> Array:
        """Return the first output; of any number of images where they are the only input."""
        name = self.model.outputs[0].name
        if len(inputs) > 1:
            return self.run(inputs)[name]
        return np.concatenate([part[name] for part in self.over(next(iter(inputs.values())))])

    def over(self, images: Array) -> Iterator[dict[str, Array]]:
        """Run on images, some at a time; yield each part by its input's name, with what `run` gives for it.

        Args:
            images: The model's only input, (n, channels, height, width).
        """
        name, fixed = self.model.inputs[0].name, fixed_batch(self.model)
        size = fixed or _BATCH
        for start in range(0, len(images), size):
            part = images[start : start + size]
            if fixed is None:
                yield {name: part} | self.run({name: part})
            else:
                # The last part is filled up with repetitions, and what they give is cut off.
                filled = self.run({name: np.resize(part, (size, *part.shape[1:]))})
                yield {name: part} | {key: array[: len(part)] for key, array in filled.items()}


@contextmanager
def running(path: Path, input_shapes: InputShapes = None, *, show: Collection[str] = ()) -> Iterator[Runner]:
    """Open an ONNX file to run it with ONNX Runtime on the CPU, optimised as it is deployed.

    A file in fp16 or bf16 is run in its form of `perframe.export.narrow.widen`: the CPU has no kernels for bf16, and
    computes fp16 without rounding what lies between two layers.

    Args:
        path: The file.
        input_shapes: Sizes of dimensions that are symbolic.
        show: Names of inner tensors of an fp32 file whose values are wanted beside the outputs.

    Raises:
        UnavailableError: ONNX Runtime is not installed.
        BuildError: ONNX Runtime refuses the model.
    """
    model = open_onnx(path)
    if not show and narrow_type(model.proto) is None:
        with _opened(model, input_shapes) as runner:
            yield runner
        return
    proto = widen(onnx.load(str(path)))
    given = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    inner = onnx.shape_inference.infer_shapes(proto).graph.value_info
    proto.graph.output.extend(value for value in inner if value.name in show and value.name not in given)
    with running_model(proto, input_shapes) as runner:
        yield runner


@contextmanager
def running_model(proto: onnx.ModelProto, input_shapes: InputShapes = None) -> Iterator[Runner]:
    """Open a model that is no file to run it as it is; see `running`."""
    with tempfile.TemporaryDirectory(prefix="perframe-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(proto, str(path))
        with _opened(open_onnx(path), input_shapes) as runner:
            yield runner


@contextmanager
def _opened(model: OnnxModel, input_shapes: InputShapes) -> Iterator[Runner]:
    backend = backend_named("onnxruntime")
    spec = BuildSpec(input_shapes=resolve_input_shapes(model, fixed_batch(model) or 1, input_shapes))
    with tempfile.TemporaryDirectory(prefix="perframe-") as folder:
        artifact = backend.build(model, spec, Path(folder) / "engine.onnx")
        with backend.open(artifact) as engine:
            yield Runner(model, engine)


def image_shape(model: OnnxModel, input_shapes: InputShapes) -> tuple[int, ...]:
    """Return channels, height and width that a model with one input takes.

    Raises:
        UsageError: It has several inputs.
    """
    if len(model.inputs) != 1:
        raise UsageError(
            f"{model.path}: images were given, but it has {len(model.inputs)} inputs.",
            "Images go to networks with one input.",
        )
    shapes = resolve_input_shapes(model, fixed_batch(model) or 1, input_shapes)
    return shapes[model.inputs[0].name][1:]
