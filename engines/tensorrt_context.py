"""One TensorRT execution context made ready: profile, shapes, buffers, addresses and a CUDA graph, all set once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

import numpy as np

from perframe.arrays import Array
from perframe.engines.base import EngineArtifact
from perframe.engines.cuda import Address, CaptureFailedError, Cuda, Graph, Stream
from perframe.engines.tensorrt_api import TrtICudaEngine, TrtIExecutionContext, TrtIProfiler
from perframe.engines.tensorrt_library import TensorRtLibrary, feature
from perframe.engines.tensorrt_load import Configuration, is_out_of_memory
from perframe.errors import InputError, MeasurementError, OutOfMemoryError, PerframeError, UsageError

# TensorRT's data types that NumPy has too.
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class OpenEngine:
    """An engine on its device, and all that running it takes.

    Attributes:
        library: TensorRT.
        artifact: The engine's description.
        cuda: The device.
        stream: Where it runs; not the default stream, at which TensorRT would wait for the whole device.
        engine: The engine.
        configuration: How contexts are made; `None` where there is nothing to configure.
        said: The errors that TensorRT logged.
    """

    library: TensorRtLibrary
    artifact: EngineArtifact
    cuda: Cuda
    stream: Stream
    engine: TrtICudaEngine
    configuration: Configuration | None
    said: list[str]

    def failed(self, what: str) -> PerframeError:
        """Return the error for something that TensorRT answered with None or False."""
        told = self.said[0] if self.said else "it logged no reason"
        out_of_memory = is_out_of_memory(self.said)
        self.said.clear()
        message = f"{self.artifact.path}: {self.library.title} {what}: {told}"
        if out_of_memory:
            return OutOfMemoryError(message, "Give a smaller batch, or free the GPU's memory.")
        return MeasurementError(
            message, "Build the engine again; --debug and the log perframe.tensorrt tell more."
        )


@dataclass(frozen=True)
class _Tensor:
    """An input or output: its memory on the device, and in the host's pinned memory as an array."""

    name: str
    address: Address
    host: Array


@dataclass(frozen=True)
class ReadyContext:
    """An execution context whose inputs lie on the device.

    Attributes:
        context: TensorRT's context.
        graph: The inference as a CUDA graph; `None` if there is none.
        no_graph: Why there is none, if one was wanted.
    """

    context: TrtIExecutionContext
    graph: Graph | None
    no_graph: str | None
    _opened: OpenEngine
    _inputs: Sequence[_Tensor]
    _outputs: Sequence[_Tensor]

    def enqueue(self) -> None:
        """Put one inference into the stream."""
        if self.graph is not None:
            self._opened.cuda.launch(self.graph, self._opened.stream)
        else:
            _execute(self._opened, self.context)

    def upload(self) -> None:
        """Put a copy of the inputs to the device into the stream."""
        for tensor in self._inputs:
            self._opened.cuda.upload(tensor.address, tensor.host, self._opened.stream)

    def download(self) -> None:
        """Put a copy of the outputs to the host into the stream."""
        for tensor in self._outputs:
            self._opened.cuda.download(tensor.host, tensor.address, self._opened.stream)

    def outputs(self) -> dict[str, Array]:
        """Return what was downloaded last, by name; the stream must be done."""
        return {tensor.name: tensor.host.copy() for tensor in self._outputs}


@contextmanager
def ready_context(
    opened: OpenEngine,
    inputs: Mapping[str, Array],
    *,
    profiler: TrtIProfiler | None = None,
    graph: bool = False,
) -> Iterator[ReadyContext]:
    """Make a context ready for inputs, and run it once.

    Args:
        opened: The engine.
        inputs: Every input by name; they are copied.
        profiler: Told the layers' times by `report_to_profiler`.
        graph: Whether to capture the inference as a CUDA graph, where that can be.

    Raises:
        UsageError: The engine was not built for these shapes.
        InputError: The engine is not the one that its sidecar describes, or takes or gives what NumPy has not.
        OutOfMemoryError: The device's memory does not suffice.
        MeasurementError: TensorRT or CUDA fails.
    """
    cuda, stream, engine = opened.cuda, opened.stream, opened.engine
    input_names, output_names = _names(opened, inputs)
    profile = _profile_for(opened, inputs)
    with ExitStack() as held:
        settings = () if opened.configuration is None else (opened.configuration.settings,)
        context = engine.create_execution_context(*settings)
        if context is None:
            raise opened.failed("makes no execution context")
        if profiler is not None:
            context.profiler = profiler
            # Else every launch would wait for the device.
            context.enqueue_emits_profile = False
        _check(opened, context.set_optimization_profile_async(profile, stream), f"refuses profile {profile}")
        cuda.synchronize(stream)
        given = []
        for name in input_names:
            _check(
                opened, context.set_input_shape(name, inputs[name].shape), f"refuses the shape of {name!r}"
            )
            given.append(_placed(opened, context, held, name, inputs[name].shape))
            np.copyto(given[-1].host, inputs[name])
        _infer_shapes(opened, context)
        made = [
            _placed(opened, context, held, name, tuple(context.get_tensor_shape(name)))
            for name in output_names
        ]
        for tensor in given:
            cuda.upload(tensor.address, tensor.host, stream)
        # The first run allocates and loads kernels, which may not happen inside a capture.
        _execute(opened, context)
        cuda.synchronize(stream)
        captured, no_graph = _capture(opened, context, held) if graph else (None, None)
        yield ReadyContext(context, captured, no_graph, opened, given, made)


def _names(opened: OpenEngine, inputs: Mapping[str, Array]) -> tuple[list[str], list[str]]:
    """Inputs and outputs of the engine, in its order."""
    engine, mode = opened.engine, opened.library.api.TensorIOMode
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    takes = [name for name in names if engine.get_tensor_mode(name) == mode.INPUT]
    if set(takes) != set(inputs):
        raise InputError(
            f"{opened.artifact.path}: expected an engine with inputs {sorted(inputs)}, found {sorted(takes)}.",
            "The sidecar describes another engine: build it again.",
        )
    return takes, [name for name in names if name not in takes]


def _profile_for(opened: OpenEngine, inputs: Mapping[str, Array]) -> int:
    """The optimization profile that takes these shapes; of several, the one that is tuned for them."""
    engine = opened.engine
    fitting, bounds = [], []
    for index in range(engine.num_optimization_profiles):
        limits = {name: _limits(engine, name, index) for name in inputs}
        if all(_within(array.shape, limits[name]) for name, array in inputs.items()):
            tuned = all(array.shape == limits[name][1] for name, array in inputs.items())
            fitting.append((not tuned, index))
        bounds += [f"{_shown(least)} to {_shown(most)}" for least, _, most in limits.values()]
    if not fitting:
        found = ", ".join(_shown(array.shape) for array in inputs.values())
        raise UsageError(
            f"{opened.artifact.path}: the engine was built for inputs of {', '.join(bounds)}, found {found}.",
            "Give a batch size inside that, or build the engine for this one.",
        )
    return min(fitting)[1]


def _limits(engine: TrtICudaEngine, name: str, profile: int) -> list[tuple[int, ...]]:
    """Least, usual and greatest shape."""
    fixed = tuple(engine.get_tensor_shape(name))
    if -1 not in fixed:
        return [fixed] * 3
    return [tuple(shape) for shape in engine.get_tensor_profile_shape(name, profile)]


def _within(shape: Sequence[int], limits: Sequence[Sequence[int]]) -> bool:
    least, _, most = limits
    return len(shape) == len(least) and all(
        low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
    )


def _shown(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _placed(
    opened: OpenEngine, context: TrtIExecutionContext, held: ExitStack, name: str, shape: tuple[int, ...]
) -> _Tensor:
    """Give a tensor its memory, and tell the context where that is."""
    told, location = opened.engine.get_tensor_dtype(name).name, opened.engine.get_tensor_location(name).name
    if told not in _DTYPES or location != "DEVICE" or any(size < 0 for size in shape):
        raise InputError(
            f"{opened.artifact.path}: expected tensor {name!r} on the device, of a fixed shape and a type that NumPy"
            f" has, found {told}, {location}, {_shown(shape)}.",
            "Export the network with float inputs and outputs whose shapes follow from the batch.",
        )
    dtype = np.dtype(_DTYPES[told])
    size = prod(shape) * dtype.itemsize
    tensor = _Tensor(
        name,
        held.enter_context(opened.cuda.memory(size)),
        held.enter_context(opened.cuda.pinned(size)).view(dtype).reshape(shape),
    )
    _check(opened, context.set_tensor_address(name, tensor.address), f"refuses the address of {name!r}")
    return tensor


def _infer_shapes(opened: OpenEngine, context: TrtIExecutionContext) -> None:
    try:
        missing = context.infer_shapes()
    except RuntimeError as error:
        opened.said.append(str(error))
        raise opened.failed("cannot infer the shapes") from error
    if missing:
        raise opened.failed(f"misses the shapes of {', '.join(missing)}")


def _execute(opened: OpenEngine, context: TrtIExecutionContext) -> None:
    if not context.execute_async_v3(opened.stream):
        raise opened.failed("does not run the engine")


def _capture(
    opened: OpenEngine, context: TrtIExecutionContext, held: ExitStack
) -> tuple[Graph | None, str | None]:
    """The inference as a graph, or why it is not one."""
    capturable: Callable[[int], bool] | None = feature(context, "is_stream_capturable")
    if capturable is not None and not capturable(opened.stream):
        return None, f"{opened.library.title} says that this engine cannot be captured"
    try:
        graph = opened.cuda.graph(opened.stream, lambda: _execute(opened, context))
        return held.enter_context(graph), None
    except CaptureFailedError as error:
        return None, str(error)


def _check(opened: OpenEngine, done: bool, what: str) -> None:
    if not done:
        raise opened.failed(what)
