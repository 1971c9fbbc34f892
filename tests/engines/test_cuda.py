"""The border to CUDA: for real where there is a driver and where there is none, and pycuda's part by its contract."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perframe.engines import cuda_bindings, cuda_pycuda
from perframe.engines.cuda import (
    CaptureFailedError,
    Cuda,
    DeviceIdentity,
    cuda_unavailable,
    device_identity,
    open_cuda,
)
from perframe.errors import MeasurementError, OutOfMemoryError, UnavailableError

runtime: Any = pytest.importorskip("cuda.bindings.runtime")

NOWHERE = DeviceIdentity("no GPU", None, (0, 0))


def no_gpu() -> None:
    if cuda_unavailable() is None:
        pytest.skip("there is a GPU")


def a_gpu() -> None:
    if (reason := cuda_unavailable()) is not None:
        pytest.skip(reason.replace("\n", " "))


def bindings(**answers: object) -> cuda_bindings.BindingsCuda:
    """The real library, of which some functions answer as told."""
    answering = SimpleNamespace(**{name: getattr(runtime, name) for name in dir(runtime)} | answers)
    return cuda_bindings.BindingsCuda("cuda-bindings", NOWHERE, answering)


def test_a_machine_without_a_driver_is_told_in_two_lines() -> None:
    no_gpu()
    told = cuda_unavailable()
    assert told is not None
    what, remedy = told.splitlines()
    assert "cudaError" in what
    assert "NVIDIA driver" in remedy
    for call in (device_identity, lambda index: open_cuda(index).__enter__()):
        with pytest.raises(UnavailableError, match=r"cudaError(InsufficientDriver|NoDevice)"):
            call(0)


def test_every_call_that_fails_is_told_by_cudas_own_name() -> None:
    no_gpu()
    cuda = bindings()
    name = device_error()
    array = np.zeros(4, np.uint8)
    stream, event, address, graph = 1, 2, 4096, 3
    calls: list[Any] = [
        lambda: cuda.memory(16).__enter__(),
        lambda: cuda.pinned(16).__enter__(),
        lambda: cuda.stream().__enter__(),
        lambda: cuda.event().__enter__(),
        lambda: cuda.upload(address, array, stream),  # type: ignore[arg-type]
        lambda: cuda.download(array, address, stream),  # type: ignore[arg-type]
        lambda: cuda.launch(graph, stream),  # type: ignore[arg-type]
        lambda: cuda.record(event, stream),  # type: ignore[arg-type]
        lambda: cuda.wait(event),  # type: ignore[arg-type]
        lambda: cuda.elapsed_s(event, event),  # type: ignore[arg-type]
        lambda: cuda.synchronize(stream),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(MeasurementError, match=name):
            call()


def test_what_may_not_be_captured_says_why() -> None:
    no_gpu()
    with pytest.raises(CaptureFailedError, match=device_error()):
        bindings().graph(1, lambda: None).__enter__()  # type: ignore[arg-type]


def device_error() -> str:
    status, _ = runtime.cudaGetDeviceCount()
    return str(status.name)


def test_out_of_memory_is_an_error_of_its_own() -> None:
    full = (runtime.cudaError_t.cudaErrorMemoryAllocation, None)
    cuda = bindings(cudaMalloc=lambda size: full, cudaMallocHost=lambda size: full)
    for hold in (cuda.memory, cuda.pinned):
        with pytest.raises(OutOfMemoryError, match="cudaErrorMemoryAllocation") as caught:
            hold(1 << 60).__enter__()
        assert "smaller batch" in caught.value.hint
        assert caught.value.exit_code == 6


def test_a_capture_that_fails_is_ended_and_its_error_taken() -> None:
    done = (runtime.cudaError_t.cudaSuccess, None)
    ended: list[str] = []

    def ends(what: str) -> Callable[..., tuple[object, None]]:
        def answer(*_: object) -> tuple[object, None]:
            ended.append(what)
            return done

        return answer

    cuda = bindings(
        cudaStreamBeginCapture=lambda stream, mode: done[:1],
        cudaStreamEndCapture=ends("capture"),
        cudaGetLastError=ends("error"),
    )

    def enqueue() -> None:
        raise MeasurementError("an operation that no graph takes", "Run it as it is.")

    with pytest.raises(CaptureFailedError, match="no graph takes"):
        cuda.graph(1, enqueue).__enter__()  # type: ignore[arg-type]
    assert ended == ["capture", "error"]


def test_no_library_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("cuda", "cuda.bindings", "pycuda"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnavailableError, match="Neither cuda-bindings nor pycuda") as caught:
        device_identity(0)
    assert "pip install cuda-bindings" in caught.value.hint


def test_pycuda_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(UnavailableError, match="pycuda cannot be imported"):
        cuda_pycuda.identify(0)


class Driver(ModuleType):
    """The names of `pycuda.driver` that are used, as pycuda 2026.1 has them (src/wrapper/wrap_cudadrv.cpp).

    It keeps the stack of contexts and what is allocated. This checks the contract: pycuda itself ran nowhere.
    """

    Error = type("Error", (Exception,), {})
    MemoryError = type("MemoryError", (Error,), {})
    LogicError = type("LogicError", (Error,), {})

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.stack: list[object] = []
        self.held: list[str] = []
        self.said: list[str] = []
        self.retained = 0
        self.Context = SimpleNamespace(pop=self.stack.pop)
        self.Stream = lambda flags: SimpleNamespace(
            handle=77, flags=flags, synchronize=lambda: self.said.append(f"synchronize with flags {flags}")
        )
        self.Event = lambda: Event(self)

    def init(self) -> None:
        pass

    def get_version(self) -> tuple[int, int, int]:
        return 13, 0, 0

    def Device(self, index: int) -> object:
        if index > 0:
            raise self.LogicError("cuDeviceGet failed: invalid device ordinal")
        return SimpleNamespace(
            name=lambda: "Some GPU",
            compute_capability=lambda: (8, 7),
            retain_primary_context=self.retain_primary_context,
        )

    def retain_primary_context(self) -> object:
        self.retained += 1
        context = SimpleNamespace()
        context.push = lambda: self.stack.append(context)
        return context

    def mem_alloc(self, size: int) -> object:
        assert self.stack, "pycuda allocates in the current context"
        if size > 1 << 40:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        return Allocation(self)

    def pagelocked_empty(self, shape: int, dtype: type) -> Any:
        self.held.append("pinned")
        array = np.zeros(shape, dtype).view(Pinned)
        array.owner = SimpleNamespace(free=lambda: self.held.remove("pinned"))
        return array

    def memcpy_htod_async(self, dest: int, src: Any, stream: Any) -> None:
        self.said.append(f"{src.nbytes} bytes to {dest} in {stream.handle}")

    def memcpy_dtoh_async(self, dest: Any, src: int, stream: Any) -> None:
        raise self.LogicError("cuMemcpyDtoHAsync failed: invalid argument")


class Pinned(np.ndarray[Any, Any]):
    """An array whose memory belongs to what `base` names."""

    owner: Any

    @property
    def base(self) -> Any:
        return self.owner


class Allocation:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        driver.held.append("memory")

    def __int__(self) -> int:
        return 4096

    def free(self) -> None:
        self.driver.held.remove("memory")


class Event:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def record(self, stream: Any) -> None:
        self.driver.said.append(f"event in {stream.handle}")

    def synchronize(self) -> None:
        self.driver.said.append("wait")

    def time_till(self, other: "Event") -> float:
        return 2.5


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    package = ModuleType("pycuda")
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setattr(cuda_pycuda, "_retained", {})
    return driver


def test_pycuda_shares_the_primary_context_and_leaves_it(driver: Driver) -> None:
    for _ in range(2):
        with cuda_pycuda.open_device(0) as cuda:
            assert len(driver.stack) == 1
            assert cuda.device == DeviceIdentity("Some GPU", None, (8, 7))
            assert cuda.library == "pycuda for CUDA 13.0.0"
        assert not driver.stack
    assert driver.retained == 1
    assert "pycuda.autoinit" not in sys.modules


def test_pycuda_does_what_is_asked_in_the_stream_that_is_named(driver: Driver) -> None:
    with (
        cuda_pycuda.open_device(0) as cuda,
        cuda.stream() as stream,
        cuda.event() as start,
        cuda.event() as end,
    ):
        with cuda.memory(16) as address, cuda.pinned(16) as host:
            assert driver.held == ["memory", "pinned"]
            cuda.record(start, stream)
            cuda.upload(address, host, stream)
            cuda.record(end, stream)
            cuda.wait(end)
            cuda.synchronize(stream)
        assert cuda.elapsed_s(start, end) == pytest.approx(2.5e-3)
        with pytest.raises(CaptureFailedError, match="no CUDA graphs"):
            cuda.graph(stream, lambda: None)
    assert driver.said == [
        "event in 77",
        "16 bytes to 4096 in 77",
        "event in 77",
        "wait",
        "synchronize with flags 1",
    ]
    assert not driver.held


def test_pycudas_errors_are_translated(driver: Driver) -> None:
    with pytest.raises(UnavailableError, match="cuDeviceGet failed: invalid device ordinal"):
        cuda_pycuda.identify(1)
    with cuda_pycuda.open_device(0) as cuda, cuda.stream() as stream:
        with pytest.raises(OutOfMemoryError, match="out of memory"):
            cuda.memory(1 << 50).__enter__()
        with cuda.memory(16) as address, pytest.raises(MeasurementError, match="LogicError"):
            cuda.download(np.zeros(4, np.uint8), address, stream)
    assert not driver.stack


@contextmanager
def opened(library: ModuleType) -> Iterator[Cuda]:
    a_gpu()
    if library is cuda_pycuda:
        pytest.importorskip("pycuda")
    with library.open_device(0) as cuda:
        yield cuda


# pycuda is one of two: where a GPU is required, a machine without pycuda is still whole.
LIBRARIES = pytest.mark.parametrize(
    "library", [pytest.param(cuda_bindings, marks=pytest.mark.gpu), cuda_pycuda], ids=["bindings", "pycuda"]
)


@LIBRARIES
def test_what_is_uploaded_comes_back(library: ModuleType) -> None:
    size = 1024
    with (
        opened(library) as cuda,
        cuda.stream() as stream,
        cuda.memory(size) as address,
        cuda.pinned(size) as sent,
        cuda.pinned(size) as received,
    ):
        sent[:] = np.arange(size) % 251
        received[:] = 0
        cuda.upload(address, sent, stream)
        cuda.download(received, address, stream)
        cuda.synchronize(stream)
        assert (received == sent).all()


@LIBRARIES
def test_events_take_the_time_of_a_copy(library: ModuleType) -> None:
    size = 1 << 24
    with (
        opened(library) as cuda,
        cuda.stream() as stream,
        cuda.event() as start,
        cuda.event() as end,
        cuda.memory(size) as address,
        cuda.pinned(size) as host,
    ):
        cuda.record(start, stream)
        cuda.upload(address, host, stream)
        cuda.record(end, stream)
        cuda.wait(end)
        assert cuda.elapsed_s(start, end) > 0.0


@LIBRARIES
def test_more_than_there_is_is_out_of_memory(library: ModuleType) -> None:
    with opened(library) as cuda:
        with pytest.raises(OutOfMemoryError):
            cuda.memory(1 << 50).__enter__()
        # And the GPU is still good for what fits.
        with cuda.memory(1 << 20):
            pass


@pytest.mark.gpu
def test_a_graph_does_again_what_was_captured() -> None:
    with (
        opened(cuda_bindings) as cuda,
        cuda.stream() as stream,
        cuda.memory(16) as address,
        cuda.pinned(16) as host,
        cuda.pinned(16) as received,
    ):
        host[:], received[:] = 1, 0

        def work() -> None:
            cuda.upload(address, host, stream)
            cuda.download(received, address, stream)

        with cuda.graph(stream, work) as graph:
            cuda.synchronize(stream)
            assert not received.any(), "a capture runs nothing"
            for value in (1, 2):
                host[:] = value
                cuda.launch(graph, stream)
                cuda.synchronize(stream)
                assert (received == value).all()


@pytest.mark.gpu
def test_the_gpu_says_which_it_is() -> None:
    a_gpu()
    identity = device_identity(0)
    assert identity.name
    assert identity.uuid is None or identity.uuid.startswith("GPU-")
    assert identity.compute_capability >= (5, 0)
