"""How engines are run, held against TensorRT's contract: which calls, in which order, with which addresses.

No TensorRT ran here. `HostCuda` is a CUDA of host memory whose streams do nothing until somebody waits for them, so
that a missing wait gives wrong values; `Context` and its neighbours stand in for TensorRT's objects, have the names
of one version each (which are held against the recorded listings) and refuse what TensorRT refuses. What only a
device can show is in test_tensorrt_gpu.py.
"""

import ctypes
import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from perframe.arrays import Array
from perframe.engines import tensorrt_engine
from perframe.engines.base import EngineArtifact, EngineLayer, ModelInfo, TensorRtOptions
from perframe.engines.cuda import (
    Address,
    CaptureFailedError,
    Cuda,
    DeviceIdentity,
    Event,
    Graph,
    Stream,
    failed,
)
from perframe.engines.device_engine import DeviceEngine
from perframe.engines.tensorrt_engine import open_engine
from perframe.engines.tensorrt_library import TensorRtLibrary
from perframe.errors import (
    InputError,
    MeasurementError,
    OutOfMemoryError,
    PerframeError,
    UnavailableError,
    UsageError,
)
from perframe.export.onnx_model import TensorInfo

VERSIONS = {"10.3": "10.3.0", "10.16": "10.16.1", "11.4": "11.4.1", "rtx-1.7": "1.7.1.116"}
GPU = DeviceIdentity("NVIDIA Test", "GPU-0", (8, 9))
# Device seconds of the inference's two layers, and of a copy of one byte.
LAYERS_S = {"conv": 3e-3, "relu": 1e-3}
BYTE_S = 1e-9


class HostCuda:
    """A CUDA whose device is the host's memory and whose time is what its work is said to take."""

    library = "host memory"
    device = GPU

    def __init__(self, capacity: int = 1 << 20, graphs: str | None = None) -> None:
        self.capacity = capacity
        self.no_graphs = graphs
        self.device_s = 0.0
        self.held: list[str] = []
        self.queue: deque[Callable[[], None]] = deque()
        self.capturing: list[Callable[[], None]] | None = None
        self.arrays: dict[int, Array] = {}
        self.graphs: list[list[Callable[[], None]]] = []
        self.passed: dict[int, float] = {}
        self.launches = 0

    @contextmanager
    def hold(self, what: str) -> Iterator[None]:
        self.held.append(what)
        try:
            yield
        finally:
            self.held.remove(what)

    @contextmanager
    def memory(self, size: int) -> Iterator[Address]:
        if size > self.capacity:
            raise failed("cudaMalloc", "cudaErrorMemoryAllocation", out_of_memory=True)
        array = np.full(size, 255, np.uint8)
        self.capacity -= size
        self.arrays[array.ctypes.data] = array
        try:
            with self.hold("memory"):
                yield Address(array.ctypes.data)
        finally:
            del self.arrays[array.ctypes.data]
            self.capacity += size

    @contextmanager
    def pinned(self, size: int) -> Iterator[Array]:
        with self.hold("pinned"):
            yield np.full(size, 255, np.uint8)

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        with self.hold("stream"):
            yield Stream(5)

    @contextmanager
    def event(self) -> Iterator[Event]:
        with self.hold("event"):
            yield Event(len(self.held))

    @contextmanager
    def graph(self, stream: Stream, enqueue: Callable[[], None]) -> Iterator[Graph]:
        assert not self.queue, "a capture begins on a stream that is done"
        if self.no_graphs is not None:
            raise CaptureFailedError(self.no_graphs)
        self.capturing = []
        try:
            enqueue()
        except PerframeError as error:
            raise CaptureFailedError(error.message) from error
        finally:
            captured, self.capturing = self.capturing, None
        self.graphs.append(captured)
        with self.hold("graph"):
            yield Graph(len(self.graphs) - 1)

    def put(self, work: Callable[[], None]) -> None:
        if self.capturing is not None:
            self.capturing.append(work)
        else:
            self.queue.append(work)

    def upload(self, address: Address, array: Array, stream: Stream) -> None:
        self.put(lambda: self.copy(address, array.ctypes.data, array.nbytes))

    def download(self, array: Array, address: Address, stream: Stream) -> None:
        self.put(lambda: self.copy(array.ctypes.data, address, array.nbytes))

    def copy(self, to: int, source: int, size: int) -> None:
        ctypes.memmove(to, source, size)
        self.device_s += size * BYTE_S

    def launch(self, graph: Graph, stream: Stream) -> None:
        self.launches += 1
        self.queue.extend(self.graphs[graph])

    def record(self, event: Event, stream: Stream) -> None:
        self.passed.pop(event, None)
        self.put(lambda: self.passed.update({event: self.device_s}))

    def wait(self, event: Event) -> None:
        while event not in self.passed:
            self.queue.popleft()()

    def elapsed_s(self, start: Event, end: Event) -> float:
        return self.passed[end] - self.passed[start]

    def synchronize(self, stream: Stream) -> None:
        assert self.capturing is None, "nothing may be waited for inside a capture"
        while self.queue:
            self.queue.popleft()()


class Member(SimpleNamespace):
    """A member of one of TensorRT's enumerations."""

    def __init__(self, name: str, value: int = 0) -> None:
        super().__init__(name=name, value=value)

    def __int__(self) -> int:
        return int(self.value)


class IExecutionContext:
    """Adds up the input per frame, in two layers: y[n] = (sum(x[n]), 2 * sum(x[n]))."""

    __slots__ = (
        "_addresses",
        "_engine",
        "_profile",
        "_reports",
        "_shapes",
        "enqueue_emits_profile",
        "profiler",
    )

    def __init__(self, engine: "ICudaEngine") -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._reports: list[tuple[str, float]] = []
        self._profile = 0
        self.profiler: Any = None
        self.enqueue_emits_profile = True

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        assert stream != 0, "not on the default stream"
        self._profile = index
        self._shapes.clear()
        return True

    def set_input_shape(self, tensor: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(tensor, self._profile)
        if not all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True)):
            self._engine._say("IExecutionContext::setInputShape: Error Code 3: API Usage Error")
            return False
        self._shapes[tensor] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        return [] if "x" in self._shapes else ["x"]

    def get_tensor_shape(self, tensor: str) -> tuple[int, ...]:
        assert tensor in self._shapes or self._shapes, "shapes of outputs follow from those of inputs"
        return (self._shapes["x"][0], 2) if tensor == "y" else self._shapes[tensor]

    def set_tensor_address(self, tensor: str, memory: int) -> bool:
        self._addresses[tensor] = memory
        return True

    def execute_async_v3(self, stream: int) -> bool:
        cuda = self._engine._cuda
        assert stream == 5, "not on the default stream"
        if set(self._addresses) != {"x", "y"}:
            return False
        if cuda.capturing is not None and self._engine._uncapturable:
            self._engine._say("Error Code 1: Cuda Runtime (operation not permitted when stream is capturing)")
            return False
        if self._engine._fails_to_run is not None:
            self._engine._say(self._engine._fails_to_run)
            return False
        addresses, frames = dict(self._addresses), self._shapes["x"]
        profiled = self.profiler is not None

        def work() -> None:
            size = int(np.prod(frames))
            x = np.ctypeslib.as_array((ctypes.c_float * size).from_address(addresses["x"]))
            y = np.ctypeslib.as_array((ctypes.c_float * (2 * frames[0])).from_address(addresses["y"]))
            sums = x.reshape(frames[0], -1).sum(axis=1)
            y.reshape(-1, 2)[:] = np.stack([sums, 2 * sums], axis=1)
            cuda.device_s += sum(LAYERS_S.values())
            if profiled:
                self._reports = [(name, seconds * 1e3) for name, seconds in self._engine._layers]

        cuda.put(work)
        assert not (profiled and self.enqueue_emits_profile), "the launch would wait for the device"
        return True

    def report_to_profiler(self) -> bool:
        reports, self._reports = self._reports, []
        for name, milliseconds in reports:
            self.profiler.report_layer_time(name, milliseconds)
        return bool(reports)


class RtxContext(IExecutionContext):
    __slots__ = ()

    def is_stream_capturable(self, stream: int) -> bool:
        return not self._engine._uncapturable


class EngineInspector:
    __slots__ = ("execution_context",)
    execution_context: IExecutionContext

    def get_engine_information(self, form: Member) -> str:
        assert form.name == "JSON"
        shape = self.execution_context.get_tensor_shape("x")
        tensor = {"Name": "x", "Dimensions": list(shape), "Format/Datatype": "Row major linear FP32"}
        made = {"Name": "y", "Dimensions": [shape[0], 2], "Format/Datatype": "Row major linear FP32"}
        layers = [
            {
                "Name": "sum",
                "LayerType": "kgen",
                "Inputs": [tensor],
                "Outputs": [made],
                "Metadata": "[ONNX Layer: sum]",
            }
        ]
        return json.dumps({"Layers": layers, "Bindings": ["x", "y"]})


class ICudaEngine:
    """An engine with one dynamic input x and one output y."""

    def __init__(self, cuda: HostCuda, say: Callable[[str], None]) -> None:
        self._cuda, self._say = cuda, say
        self._profiles: list[list[tuple[int, ...]]] = [[(1, 3, 2, 2), (4, 3, 2, 2), (8, 3, 2, 2)]]
        self._dtype = "FLOAT"
        self._location = "DEVICE"
        self._uncapturable = False
        self._fails_to_run: str | None = None
        self._no_context: str | None = None
        self._layers = list(LAYERS_S.items())
        self._contexts: list[IExecutionContext] = []
        self._context_type: type[IExecutionContext] = IExecutionContext
        self._configurations: list[Any] = []

    num_io_tensors = 2

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def get_tensor_name(self, index: int) -> str:
        return ("x", "y")[index]

    def get_tensor_mode(self, tensor: str) -> Member:
        return Member("INPUT" if tensor == "x" else "OUTPUT")

    def get_tensor_dtype(self, tensor: str) -> Member:
        return Member(self._dtype)

    def get_tensor_location(self, tensor: str) -> Member:
        return Member(self._location)

    def get_tensor_shape(self, tensor: str) -> tuple[int, ...]:
        return (-1, 3, 2, 2) if tensor == "x" else (-1, 2)

    def get_tensor_profile_shape(self, tensor: str, profile: int) -> list[tuple[int, ...]]:
        return self._profiles[profile]

    def create_execution_context(self, *configuration: object) -> IExecutionContext | None:
        if self._no_context is not None:
            self._say(self._no_context)
            return None
        self._configurations += configuration
        self._contexts.append(self._context_type(self))
        return self._contexts[-1]

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()


class IRuntimeConfig:
    __slots__ = ("_caches", "cuda_graph_strategy", "dynamic_shapes_kernel_specialization_strategy")

    def __init__(self) -> None:
        self._caches: list[object] = []

    def create_runtime_cache(self) -> object:
        return object()

    def set_runtime_cache(self, cache: object) -> bool:
        self._caches.append(cache)
        return True


class NewerEngine(ICudaEngine):
    def create_runtime_config(self) -> object:
        return object()


class RtxEngine(NewerEngine):
    def __init__(self, cuda: HostCuda, say: Callable[[str], None]) -> None:
        super().__init__(cuda, say)
        self._context_type = RtxContext

    def create_runtime_config(self) -> object:
        return IRuntimeConfig()


class Runtime:
    __slots__ = ("DLA_core", "_box", "engine_host_code_allowed")
    DLA_core: int
    engine_host_code_allowed: bool

    def __init__(self, box: "Box") -> None:
        self._box = box

    def deserialize_cuda_engine(self, engine: bytes) -> ICudaEngine | None:
        self._box.runtimes.append(self)
        for text in self._box.refusal:
            self._box.say(text)
        return None if self._box.refusal else self._box.engine


class RtxRuntime(Runtime):
    __slots__ = ()

    def get_engine_validity(self, engine: bytes) -> tuple[Member, int]:
        return Member("INVALID", 2), self._box.diagnoses


class IProfiler:
    def report_layer_time(self, name: str, milliseconds: float) -> None: ...


class TensorIOMode:
    INPUT = Member("INPUT")


class LayerInformationFormat:
    JSON = Member("JSON")


class CudaGraphStrategy:
    DISABLED = Member("DISABLED")


class DynamicShapesKernelSpecializationStrategy:
    EAGER = Member("EAGER")


class EngineInvalidityDiagnostics:
    VERSION_MISMATCH = Member("VERSION_MISMATCH", 1)
    UNSUPPORTED_CC = Member("UNSUPPORTED_CC", 2)
    CUDA_ERROR = Member("CUDA_ERROR", 64)


# As TensorRT's bindings list the members of an enumeration.
EngineInvalidityDiagnostics.__members__ = {  # type: ignore[attr-defined]
    name: member for name, member in vars(EngineInvalidityDiagnostics).items() if isinstance(member, Member)
}


class Box:
    """One version of TensorRT on one device, with an engine in it."""

    def __init__(self, version: str, cuda: HostCuda | None = None) -> None:
        self.version = VERSIONS[version]
        self.cuda = cuda or HostCuda()
        self.listeners: list[list[str]] = []
        self.refusal: list[str] = []
        self.diagnoses = 0
        self.runtimes: list[Runtime] = []
        rtx = version.startswith("rtx")
        kinds: dict[str, type[ICudaEngine]] = {"10.3": ICudaEngine, "rtx-1.7": RtxEngine}
        self.engine = kinds.get(version, NewerEngine)(self.cuda, self.say)
        runtime = RtxRuntime if rtx else Runtime
        common = (IProfiler, TensorIOMode, LayerInformationFormat)
        own = (CudaGraphStrategy, DynamicShapesKernelSpecializationStrategy, EngineInvalidityDiagnostics)
        self.classes: dict[str, type] = {each.__name__: each for each in (*common, *(own if rtx else ()))}
        api = SimpleNamespace(**self.classes, Runtime=lambda logger: runtime(self))
        self.library = TensorRtLibrary(
            "tensorrt-rtx" if rtx else "tensorrt",
            "TensorRT-RTX" if rtx else "TensorRT",
            cast(Any, api),
            self.version,
            cast(Any, None),
            self.listeners,
        )
        self.classes |= {
            "ICudaEngine": type(self.engine),
            "Runtime": runtime,
            "EngineInspector": EngineInspector,
        }
        self.classes |= {"IExecutionContext": self.engine._context_type}
        if rtx:
            self.classes |= {"IRuntimeConfig": IRuntimeConfig}

    def say(self, text: str) -> None:
        for said in self.listeners:
            said.append(text)

    @property
    def context(self) -> IExecutionContext:
        return self.engine._contexts[-1]


@pytest.fixture(params=VERSIONS)
def box(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Box:
    return put_in_place(Box(request.param), monkeypatch)


def put_in_place(box: Box, monkeypatch: pytest.MonkeyPatch) -> Box:
    @contextmanager
    def opened(index: int) -> Iterator[Cuda]:
        yield box.cuda

    monkeypatch.setattr(tensorrt_engine, "open_cuda", opened)
    monkeypatch.setattr(tensorrt_engine, "_PROFILE_WARM_UP_S", 0.001)
    return box


@pytest.fixture
def artifact(tmp_path: Path, box: Box) -> EngineArtifact:
    return artifact_of(tmp_path, box)


def artifact_of(folder: Path, box: Box) -> EngineArtifact:
    path = folder / "an.engine"
    path.write_bytes(b"an engine")
    layer = EngineLayer("sum", "kgen", "", ("sum",), False, 1, 0, 1, 1, None, None)
    return EngineArtifact(
        path=path,
        backend=box.library.name,
        version=box.version,
        device="cuda:0",
        provider="gpu",
        threads=None,
        sha256="",
        build_s=0.0,
        model=ModelInfo("sum", "other", "other", None, None, "fp32", (3, 2, 2), "", 0, 0, 0),
        inputs=(TensorInfo("x", "float32", ("n", 3, 2, 2)),),
        outputs=(TensorInfo("y", "float32", ("n", 2)),),
        input_shapes={"x": (1, 3, 2, 2)},
        layers=(layer,),
        batches=(1,),
        tensorrt=TensorRtOptions(),
        gpu=GPU,
    )


def frames(count: int) -> dict[str, Array]:
    return {"x": np.arange(count * 12, dtype=np.float32).reshape(count, 3, 2, 2)}


def sums(inputs: dict[str, Array]) -> Array:
    each = inputs["x"].reshape(len(inputs["x"]), -1).sum(axis=1)
    return np.stack([each, 2 * each], axis=1)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stand_ins_have_no_name_that_the_version_lacks(version: str, data_folder: Path) -> None:
    listing_file = data_folder.parent / "reference/tensorrt_python_api" / f"{version}.json"
    if not listing_file.is_file():
        pytest.skip(f"recorded listing not found: {listing_file}")
    listing = json.loads(listing_file.read_text(encoding="utf-8"))
    for name, stand_in in Box(version).classes.items():
        used = {each for each in dir(stand_in) if not each.startswith("_")}
        assert used <= set(listing[name]), name


def test_the_engine_computes_on_what_it_is_given(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact) as engine:
        for count in (1, 5, 2):
            found = engine.infer(frames(count))
            np.testing.assert_array_equal(found["y"], sums(frames(count)))
    assert not box.cuda.held, "everything was given back"


def test_an_inference_between_leaves_what_is_bound(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(2))
        engine.infer(frames(3))
        engine.run(1)
        assert box.context._shapes["x"] == (2, 3, 2, 2)
        assert engine.execution().graph


def test_an_inference_is_one_launch_of_a_graph(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact) as engine:
        assert isinstance(engine, DeviceEngine)
        engine.bind(frames(4))
        before_s = box.cuda.device_s
        engine.run(3)
        assert not box.cuda.queue, "run returns when the device is done"
        assert box.cuda.launches == 3
        assert box.cuda.device_s - before_s == pytest.approx(3 * sum(LAYERS_S.values()))
        execution = engine.execution()
        assert (execution.graph, execution.no_graph, execution.transfers) == (True, None, False)
        assert (execution.cuda, execution.device) == ("host memory", GPU)
        assert len(box.engine._contexts) == 1, "shapes and addresses are set once"


def test_an_engine_that_cannot_be_captured_runs_as_it_is(box: Box, artifact: EngineArtifact) -> None:
    box.engine._uncapturable = True
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(1))
        engine.run(2)
        execution = engine.execution()
        assert not execution.graph
        assert execution.no_graph is not None
        assert "captur" in execution.no_graph
        assert box.cuda.launches == 0
        # The failed capture's error is not taken for that of what comes next.
        box.engine._fails_to_run = "Error Code 1: something else"
        with pytest.raises(MeasurementError, match="something else"):
            engine.run(1)


def test_a_library_without_graphs_says_so(box: Box, artifact: EngineArtifact) -> None:
    box.cuda.no_graphs = "pycuda has no CUDA graphs"
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(1))
        engine.run(1)
        assert engine.execution().no_graph == "pycuda has no CUDA graphs"


def test_device_times_are_those_of_the_inference_alone(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(2))
        for iterations in (0, 1, 2, 7):
            timings = engine.run_timed(iterations)
            assert len(timings) == iterations
            assert not box.cuda.queue
            for timing in timings:
                assert timing.compute_s == pytest.approx(sum(LAYERS_S.values()))
                assert timing.enqueue_s > 0
                assert timing.upload_s is None
                assert timing.download_s is None


def test_transfers_are_part_of_a_run_where_they_are_asked_for(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact, transfers=True) as engine:
        engine.bind(frames(2))
        assert engine.execution().transfers
        before_s = box.cuda.device_s
        engine.run(1)
        assert box.cuda.device_s - before_s > sum(LAYERS_S.values())
        (timing,) = engine.run_timed(1)
    assert timing.compute_s == pytest.approx(sum(LAYERS_S.values()))
    assert timing.upload_s == pytest.approx(2 * 12 * 4 * BYTE_S)
    assert timing.download_s == pytest.approx(2 * 2 * 4 * BYTE_S)


def test_layers_are_timed_in_a_context_of_their_own(box: Box, artifact: EngineArtifact) -> None:
    box.engine._layers = [("conv", 3e-3), ("relu", 1e-3), ("conv", 2e-3)]
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(2))
        measured = box.context
        timings = engine.layer_timings(5)
        profiled = box.context
        assert profiled is not measured
        assert measured.profiler is None
        assert profiled.enqueue_emits_profile is False
        assert box.cuda.launches == 0
        engine.run(1)
        assert box.context.profiler is None, "the timed path is never profiled"
    assert [timing.name for timing in timings] == ["conv", "relu", "conv (2)"]
    for timing, seconds in zip(timings, (3e-3, 1e-3, 2e-3), strict=True):
        assert timing.latencies_s == pytest.approx([seconds] * 5)


def test_a_runtime_that_tells_no_layers_gives_none(box: Box, artifact: EngineArtifact) -> None:
    box.engine._layers = []
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(1))
        assert engine.layer_timings(3) == []


def test_an_open_engine_tells_its_layers(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(2))
        assert engine.layers() == artifact.layers


def test_of_several_profiles_the_one_tuned_for_the_shape_is_taken(box: Box, artifact: EngineArtifact) -> None:
    box.engine._profiles = [
        [(low, 3, 2, 2), (usual, 3, 2, 2), (8, 3, 2, 2)] for low, usual in ((1, 8), (1, 4), (4, 5))
    ]
    with open_engine(box.library, artifact) as engine:
        for count, profile in ((4, 1), (5, 2), (3, 0), (8, 0)):
            engine.bind(frames(count))
            assert box.context._profile == profile


def test_a_batch_that_the_engine_was_not_built_for(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact) as engine:
        with pytest.raises(UsageError, match="1x3x2x2 to 8x3x2x2, found 9x3x2x2"):
            engine.bind(frames(9))
        engine.bind(frames(8))
        engine.run(1)


def test_when_memory_runs_out_a_smaller_batch_goes_on(box: Box, artifact: EngineArtifact) -> None:
    box.cuda.capacity = 300
    with open_engine(box.library, artifact) as engine:
        engine.bind(frames(2))
        with pytest.raises(OutOfMemoryError, match="cudaErrorMemoryAllocation"):
            engine.bind(frames(8))
        engine.bind(frames(4))
        engine.run(1)
        box.engine._no_context = "Error Code 2: OutOfMemory (Requested size was 5 bytes.)"
        with pytest.raises(OutOfMemoryError, match="OutOfMemory"):
            engine.layer_timings(1)
        box.engine._no_context = None
        engine.bind(frames(1))
        engine.run(1)
    assert not box.cuda.held


def test_a_launch_that_fails_is_no_measurement(box: Box, artifact: EngineArtifact) -> None:
    box.engine._fails_to_run = "IExecutionContext::enqueueV3: Error Code 1: Cask"
    with open_engine(box.library, artifact) as engine, pytest.raises(MeasurementError, match="Cask"):
        engine.bind(frames(1))
    assert not box.cuda.held


@pytest.mark.parametrize(("dtype", "location"), [("FP8", "DEVICE"), ("FLOAT", "HOST")])
def test_a_tensor_that_cannot_be_given(box: Box, artifact: EngineArtifact, dtype: str, location: str) -> None:
    box.engine._dtype, box.engine._location = dtype, location
    with open_engine(box.library, artifact) as engine, pytest.raises(InputError, match="'x'"):
        engine.bind(frames(1))


def test_a_sidecar_of_another_engine(box: Box, artifact: EngineArtifact) -> None:
    with (
        open_engine(box.library, artifact) as engine,
        pytest.raises(InputError, match=r"\['image'\], found \['x'\]"),
    ):
        engine.bind({"image": frames(1)["x"]})


FOREIGN: list[tuple[dict[str, Any], str]] = [
    ({"version": "0.6.1"}, r"built by TensorRT(-RTX)? 0\.6\.1, found version"),
    ({"version": "99.0", "tensorrt": TensorRtOptions(version_compatible=True)}, "built by"),
    ({"gpu": replace(GPU, name="NVIDIA Other")}, "built for NVIDIA Other .*, found NVIDIA Test"),
    ({"gpu": replace(GPU, compute_capability=(8, 6))}, r"compute capability 8\.6.*compute capability 8\.9"),
    ({"tensorrt": TensorRtOptions(targets=("7.5", "8.6"))}, r"compiled for compute capability 7\.5, 8\.6"),
    ({"device": "cpu"}, "expected an engine for a GPU"),
]


@pytest.mark.parametrize(("changed", "message"), FOREIGN)
def test_an_engine_of_another_version_or_gpu_is_refused(
    box: Box, artifact: EngineArtifact, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message), open_engine(box.library, replace(artifact, **changed)):
        pass
    assert not box.runtimes, "nothing of it was loaded"
    assert not box.cuda.held


NATIVE: list[dict[str, Any]] = [
    {"gpu": replace(GPU, uuid="GPU-1")},
    {"gpu": None},
    {"gpu": replace(GPU, name="NVIDIA Other"), "tensorrt": TensorRtOptions(hardware_compatible=True)},
    {"tensorrt": TensorRtOptions(targets=("8.6", "8.9"))},
]


@pytest.mark.parametrize("changed", NATIVE)
def test_an_engine_that_was_built_for_this_gpu_too_is_taken(
    box: Box, artifact: EngineArtifact, changed: dict[str, Any]
) -> None:
    with open_engine(box.library, replace(artifact, **changed)) as engine:
        engine.bind(frames(1))
        engine.run(1)


def test_a_version_compatible_engine_may_bring_its_code(box: Box, artifact: EngineArtifact) -> None:
    options = TensorRtOptions(version_compatible=True, dla_core=1)
    with open_engine(box.library, replace(artifact, version="1.0.0", tensorrt=options)):
        assert box.runtimes[0].engine_host_code_allowed is True
        assert box.runtimes[0].DLA_core == 1


def test_other_engines_may_not(box: Box, artifact: EngineArtifact) -> None:
    with open_engine(box.library, artifact):
        assert not hasattr(box.runtimes[0], "engine_host_code_allowed")


REFUSALS: list[tuple[str, type[PerframeError]]] = [
    ("Error Code 1: Serialization (Version tag does not match. Note: Current Version: 240)", InputError),
    (
        "The engine plan file is generated on an incompatible device, expecting compute 8.9 got 8.6",
        InputError,
    ),
    ("Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is insufficient)", UnavailableError),
    ("Error Code 2: OutOfMemory (Requested size was 99 bytes.)", OutOfMemoryError),
]


@pytest.mark.parametrize(("said", "error"), REFUSALS)
def test_an_engine_that_is_not_loaded(
    box: Box, artifact: EngineArtifact, said: str, error: type[PerframeError]
) -> None:
    box.refusal = [said, "a consequence"]
    with pytest.raises(error) as caught, open_engine(box.library, artifact):
        pass
    assert type(caught.value) is error
    assert said in caught.value.message
    assert "consequence" not in caught.value.message
    assert not box.cuda.held


def test_rtx_compiles_ahead_and_leaves_the_graph_to_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = put_in_place(Box("rtx-1.7"), monkeypatch)
    with open_engine(box.library, artifact_of(tmp_path, box)) as engine:
        engine.bind(frames(1))
        engine.layer_timings(1)
    first, second = box.engine._configurations
    assert first is second
    assert first.cuda_graph_strategy.name == "DISABLED"
    assert first.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
    assert len(first._caches) == 1


def test_rtx_names_why_an_engine_is_not_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = put_in_place(Box("rtx-1.7"), monkeypatch)
    box.refusal, box.diagnoses = ["refused"], 3
    with pytest.raises(InputError, match="VERSION_MISMATCH; UNSUPPORTED_CC; refused"):
        open_engine(box.library, artifact_of(tmp_path, box)).__enter__()
