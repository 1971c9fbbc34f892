"""CUDA through cuda-python: the runtime API of `cuda.bindings`. See `perframe.engines.cuda.Cuda`."""

import ctypes
import importlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from perframe.arrays import Array
from perframe.engines.cuda import (
    Address,
    CaptureFailedError,
    DeviceIdentity,
    Event,
    Graph,
    Stream,
    failed,
    not_there,
)
from perframe.errors import PerframeError

_OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


def identify(index: int) -> DeviceIdentity:
    """See `perframe.engines.cuda.device_identity`."""
    _, runtime = _bindings()
    properties = _opening(runtime, "cudaGetDeviceProperties", index)
    return DeviceIdentity(
        name=properties.name.decode(errors="replace"),
        uuid=f"GPU-{uuid.UUID(bytes=bytes(properties.uuid.bytes))}",
        compute_capability=(properties.major, properties.minor),
    )


@contextmanager
def open_device(index: int) -> Iterator["BindingsCuda"]:
    """See `perframe.engines.cuda.open_cuda`."""
    version, runtime = _bindings()
    identity = identify(index)
    # The runtime API keeps to the device's primary context by itself.
    _opening(runtime, "cudaSetDevice", index)
    yield BindingsCuda(f"cuda-bindings {version}", identity, runtime)


class BindingsCuda:
    """See `perframe.engines.cuda.Cuda`."""

    def __init__(self, library: str, device: DeviceIdentity, runtime: Any) -> None:
        self.library, self.device = library, device
        self._runtime = runtime

    @contextmanager
    def memory(self, size: int) -> Iterator[Address]:
        """See `perframe.engines.cuda.Cuda.memory`."""
        address = int(self._call("cudaMalloc", size))
        try:
            yield Address(address)
        finally:
            # Giving back is not checked: after a failure it fails too, and would hide what failed first.
            self._runtime.cudaFree(address)

    @contextmanager
    def pinned(self, size: int) -> Iterator[Array]:
        """See `perframe.engines.cuda.Cuda.pinned`."""
        address = int(self._call("cudaMallocHost", size))
        try:
            yield np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        finally:
            self._runtime.cudaFreeHost(address)

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """See `perframe.engines.cuda.Cuda.stream`."""
        stream = int(self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking))
        try:
            yield Stream(stream)
        finally:
            self._runtime.cudaStreamDestroy(stream)

    @contextmanager
    def event(self) -> Iterator[Event]:
        """See `perframe.engines.cuda.Cuda.event`."""
        event = int(self._call("cudaEventCreateWithFlags", self._runtime.cudaEventDefault))
        try:
            yield Event(event)
        finally:
            self._runtime.cudaEventDestroy(event)

    @contextmanager
    def graph(self, stream: Stream, enqueue: Callable[[], None]) -> Iterator[Graph]:
        """See `perframe.engines.cuda.Cuda.graph`."""
        try:
            executable = self._captured(stream, enqueue)
        except PerframeError as error:
            # CUDA would report the same error again at the next call.
            self._runtime.cudaGetLastError()
            raise CaptureFailedError(error.message) from error
        try:
            yield Graph(executable)
        finally:
            self._runtime.cudaGraphExecDestroy(executable)

    def upload(self, address: Address, array: Array, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.upload`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: Array, address: Address, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.download`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, stream)

    def launch(self, graph: Graph, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.launch`."""
        self._call("cudaGraphLaunch", graph, stream)

    def record(self, event: Event, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.record`."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, event: Event) -> None:
        """See `perframe.engines.cuda.Cuda.wait`."""
        self._call("cudaEventSynchronize", event)

    def elapsed_s(self, start: Event, end: Event) -> float:
        """See `perframe.engines.cuda.Cuda.elapsed_s`."""
        return float(self._call("cudaEventElapsedTime", start, end)) * 1e-3

    def synchronize(self, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.synchronize`."""
        self._call("cudaStreamSynchronize", stream)

    def _captured(self, stream: Stream, enqueue: Callable[[], None]) -> int:
        # Thread-local: what other threads of the process do meanwhile is not our capture's business.
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            # Else the stream would stay in capture for good.
            self._runtime.cudaStreamEndCapture(stream)
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", graph, 0))
        finally:
            self._runtime.cudaGraphDestroy(graph)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *results = getattr(self._runtime, name)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            raise failed(name, _told(self._runtime, status), out_of_memory=status.name == _OUT_OF_MEMORY)
        return results[0] if results else None


def _opening(runtime: Any, name: str, *arguments: Any) -> Any:
    """Call a function whose failure means that the device is not there."""
    status, *results = getattr(runtime, name)(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        raise not_there(f"{name}: {_told(runtime, status)}")
    return results[0] if results else None


def _told(runtime: Any, status: Any) -> str:
    _, text = runtime.cudaGetErrorString(status)
    return f"{status.name} ({text.decode()})"


def _bindings() -> tuple[str, Any]:
    """The version, and the runtime API."""
    try:
        return importlib.import_module("cuda.bindings").__version__, importlib.import_module(
            "cuda.bindings.runtime"
        )
    except ImportError as error:
        raise not_there(f"cuda-bindings cannot be imported: {error}") from error
