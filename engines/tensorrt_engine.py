"""Running a TensorRT engine: TensorRT 10.x and 11.x, and TensorRT-RTX, by one code.

Inputs lie on the device before the time starts, and outputs are left there, unless transfers are asked for. One
inference is one launch of a CUDA graph where one can be captured. How this compares with trtexec's figures stands in
docs/trtexec.md.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from perframe.arrays import Array
from perframe.engines.base import EngineArtifact, EngineLayer, LayerTiming
from perframe.engines.clock import Clock, SystemClock
from perframe.engines.cuda import Event, open_cuda
from perframe.engines.device_engine import DeviceTiming, Execution
from perframe.engines.tensorrt_api import TrtModule
from perframe.engines.tensorrt_context import OpenEngine, ReadyContext, ready_context
from perframe.engines.tensorrt_layers import opened_layers
from perframe.engines.tensorrt_library import TensorRtLibrary
from perframe.engines.tensorrt_lineage import unique_names
from perframe.engines.tensorrt_load import (
    configuration_of,
    deserialized,
    device_index,
    inspect_engine,
    require_gpu,
    require_version,
)

# As trtexec does: the next inference is enqueued before the one before is waited for, so that the device has no gap.
_IN_FLIGHT = 2
# The profiling pass comes after the device was at rest: clocks rise again, and the first runs load kernels.
_PROFILE_WARM_UP_S = 0.2


@contextmanager
def open_engine(
    library: TensorRtLibrary, artifact: EngineArtifact, *, transfers: bool = False
) -> Iterator["TensorRtEngine"]:
    """Open an engine on its GPU.

    Args:
        library: TensorRT.
        artifact: The engine, whose bytes are known to be those that were built.
        transfers: Whether `run` copies inputs to the device and outputs back.

    Raises:
        InputError: The engine was built by another version or for another GPU, or is damaged.
        UnavailableError: CUDA or the GPU is not there.
        OutOfMemoryError: The engine does not fit into the GPU's memory.
    """
    require_version(library, artifact)
    with ExitStack() as held:
        cuda = held.enter_context(open_cuda(device_index(artifact)))
        require_gpu(artifact, cuda.device)
        said = held.enter_context(library.errors())
        engine = deserialized(library, artifact)
        said.clear()
        opened = OpenEngine(
            library=library,
            artifact=artifact,
            cuda=cuda,
            stream=held.enter_context(cuda.stream()),
            engine=engine,
            configuration=configuration_of(library.api, engine),
            said=said,
        )
        marks = [_Marks(*(held.enter_context(cuda.event()) for _ in range(4))) for _ in range(_IN_FLIGHT)]
        running = TensorRtEngine(opened, marks, transfers)
        held.callback(running.release)
        yield running


class TensorRtEngine:
    """See `perframe.engines.device_engine.DeviceEngine`."""

    def __init__(self, opened: OpenEngine, marks: Sequence["_Marks"], transfers: bool) -> None:
        self.clock: Clock = SystemClock()
        self._opened = opened
        self._marks = marks
        self.transfers = transfers
        self._inputs: Mapping[str, Array] = {}
        self._held = ExitStack()
        self._context: ReadyContext | None = None

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `perframe.engines.base.Engine.infer`."""
        self.release()
        with ready_context(self._opened, inputs) as context:
            context.enqueue()
            context.download()
            self._opened.cuda.synchronize(self._opened.stream)
            return context.outputs()

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """See `perframe.engines.base.Engine.bind`."""
        self.release()
        self._inputs = dict(inputs)
        self._ready()

    def execution(self) -> Execution:
        """See `perframe.engines.device_engine.DeviceEngine.execution`."""
        context = self._ready()
        return Execution(
            cuda=self._opened.cuda.library,
            device=self._opened.cuda.device,
            graph=context.graph is not None,
            no_graph=context.no_graph,
            transfers=self.transfers,
        )

    def run(self, iterations: int) -> None:
        """See `perframe.engines.base.Engine.run`."""
        context = self._ready()
        for _ in range(iterations):
            if self.transfers:
                context.upload()
            context.enqueue()
            if self.transfers:
                context.download()
        self._opened.cuda.synchronize(self._opened.stream)

    def run_timed(self, iterations: int) -> Sequence[DeviceTiming]:
        """See `perframe.engines.device_engine.DeviceEngine.run_timed`. Two inferences are in flight at a time."""
        context = self._ready()
        timings: list[DeviceTiming] = []
        in_flight: deque[tuple[_Marks, float]] = deque()
        for index in range(iterations):
            if len(in_flight) == len(self._marks):
                timings.append(self._timing(*in_flight.popleft()))
            marks = self._marks[index % len(self._marks)]
            in_flight.append((marks, self._marked(context, marks)))
        return timings + [self._timing(*each) for each in in_flight]

    def layer_timings(self, iterations: int) -> Sequence[LayerTiming]:
        """See `perframe.engines.base.Engine.layer_timings`.

        A context of its own with the profiler attached, without a CUDA graph: inside one, TensorRT-RTX tells no
        layers. Names that the engine uses twice are told apart as in `perframe.engines.tensorrt_lineage`. Empty
        where the runtime tells no times.
        """
        # Two contexts at once would hold every activation twice.
        self.release()
        recorder = _recorder(self._opened.library.api)
        seen: dict[str, list[float]] = {}
        with ready_context(self._opened, self._inputs, profiler=recorder) as context:
            start_s = self.clock.now_s()
            while self.clock.now_s() - start_s < _PROFILE_WARM_UP_S:
                self._reported(context, recorder)
            for _ in range(iterations):
                reported = self._reported(context, recorder)
                names = unique_names([name for name, _ in reported])
                for name, (_, seconds) in zip(names, reported, strict=True):
                    seen.setdefault(name, []).append(seconds)
        return [LayerTiming(name, tuple(times)) for name, times in seen.items()]

    def layers(self) -> tuple[EngineLayer, ...]:
        """See `perframe.engines.device_engine.DeviceEngine.layers`. TensorRT-RTX knows them only here."""
        opened = self._opened
        return opened_layers(
            opened.artifact, inspect_engine(opened.library, opened.engine, self._ready().context)
        )

    def release(self) -> None:
        """Give back the context and its memory; what needs them makes them again."""
        self._context = None
        self._held.close()

    def _ready(self) -> ReadyContext:
        if self._context is None:
            self._context = self._held.enter_context(ready_context(self._opened, self._inputs, graph=True))
        return self._context

    def _marked(self, context: ReadyContext, marks: "_Marks") -> float:
        """Put one inference between its events into the stream; return the seconds that its own part took."""
        cuda, stream = self._opened.cuda, self._opened.stream
        if self.transfers:
            cuda.record(marks.upload, stream)
            context.upload()
        cuda.record(marks.start, stream)
        start_s = self.clock.now_s()
        context.enqueue()
        enqueue_s = self.clock.now_s() - start_s
        cuda.record(marks.end, stream)
        if self.transfers:
            context.download()
            cuda.record(marks.download, stream)
        return enqueue_s

    def _timing(self, marks: "_Marks", enqueue_s: float) -> DeviceTiming:
        """Wait for one inference and read its events."""
        cuda = self._opened.cuda
        cuda.wait(marks.download if self.transfers else marks.end)
        return DeviceTiming(
            compute_s=cuda.elapsed_s(marks.start, marks.end),
            enqueue_s=enqueue_s,
            upload_s=cuda.elapsed_s(marks.upload, marks.start) if self.transfers else None,
            download_s=cuda.elapsed_s(marks.end, marks.download) if self.transfers else None,
        )

    def _reported(self, context: ReadyContext, recorder: Any) -> list[tuple[str, float]]:
        """Run once; return the layers' names and seconds, in the order of execution."""
        recorder.reported = []
        context.enqueue()
        self._opened.cuda.synchronize(self._opened.stream)
        context.context.report_to_profiler()
        reported: list[tuple[str, float]] = recorder.reported
        return reported


@dataclass(frozen=True)
class _Marks:
    """The events of one inference."""

    upload: Event
    start: Event
    end: Event
    download: Event


def _recorder(api: TrtModule) -> Any:
    class Recorder(api.IProfiler):  # type: ignore[name-defined, misc]
        """Keeps what the runtime reports: a layer's name and seconds."""

        def __init__(self) -> None:
            api.IProfiler.__init__(self)
            self.reported: list[tuple[str, float]] = []

        def report_layer_time(self, name: str, milliseconds: float) -> None:
            self.reported.append((name, milliseconds * 1e-3))

    return Recorder()
