"""CUDA through pycuda, for machines that have it already. It has no graphs. See `perframe.engines.cuda.Cuda`.

pycuda's `autoinit` makes a context of its own, which TensorRT would not see; here the primary context is used.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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

# CU_STREAM_NON_BLOCKING of the driver API, which pycuda does not name.
_NON_BLOCKING = 1
# When pycuda lets a primary context go it leaves it current on the thread (`context::detach` in its cuda.hpp pushes
# it, and releasing does not pop it). So one is kept per device until the process ends, as the runtime API does too.
_retained: dict[int, Any] = {}


def identify(index: int) -> DeviceIdentity:
    """See `perframe.engines.cuda.device_identity`. pycuda does not tell the UUID."""
    return _identity(_device(_driver(), index))


@contextmanager
def open_device(index: int) -> Iterator["PycudaCuda"]:
    """See `perframe.engines.cuda.open_cuda`."""
    driver = _driver()
    device = _device(driver, index)
    try:
        if index not in _retained:
            _retained[index] = device.retain_primary_context()
        _retained[index].push()
    except driver.Error as error:
        raise not_there(_told(error)) from error
    try:
        yield PycudaCuda(driver, _identity(device))
    finally:
        driver.Context.pop()


class PycudaCuda:
    """See `perframe.engines.cuda.Cuda`."""

    def __init__(self, driver: Any, device: DeviceIdentity) -> None:
        self.library = f"pycuda for CUDA {'.'.join(map(str, driver.get_version()))}"
        self.device = device
        self._driver = driver
        # pycuda gives objects: streams by their handle, events by their identity.
        self._streams: dict[int, Any] = {}
        self._events: dict[int, Any] = {}

    @contextmanager
    def memory(self, size: int) -> Iterator[Address]:
        """See `perframe.engines.cuda.Cuda.memory`."""
        with self._translated("mem_alloc"):
            allocation = self._driver.mem_alloc(size)
        try:
            yield Address(int(allocation))
        finally:
            # Giving back is not checked: after a failure it fails too, and would hide what failed first.
            self._unchecked(allocation.free)

    @contextmanager
    def pinned(self, size: int) -> Iterator[Array]:
        """See `perframe.engines.cuda.Cuda.pinned`."""
        with self._translated("pagelocked_empty"):
            array: Array = self._driver.pagelocked_empty(size, np.uint8)
        try:
            yield array
        finally:
            self._unchecked(array.base.free)  # type: ignore[union-attr]

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """See `perframe.engines.cuda.Cuda.stream`."""
        with self._translated("Stream"):
            stream = self._driver.Stream(_NON_BLOCKING)
        self._streams[stream.handle] = stream
        try:
            yield Stream(stream.handle)
        finally:
            del self._streams[stream.handle]

    @contextmanager
    def event(self) -> Iterator[Event]:
        """See `perframe.engines.cuda.Cuda.event`."""
        with self._translated("Event"):
            event = self._driver.Event()
        self._events[id(event)] = event
        try:
            yield Event(id(event))
        finally:
            del self._events[id(event)]

    def graph(self, stream: Stream, enqueue: Callable[[], None]) -> AbstractContextManager[Graph]:
        """See `perframe.engines.cuda.Cuda.graph`. Always refused."""
        raise CaptureFailedError("pycuda has no CUDA graphs; cuda-bindings has")

    def upload(self, address: Address, array: Array, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.upload`."""
        with self._translated("memcpy_htod_async"):
            self._driver.memcpy_htod_async(address, array, self._streams[stream])

    def download(self, array: Array, address: Address, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.download`."""
        with self._translated("memcpy_dtoh_async"):
            self._driver.memcpy_dtoh_async(array, address, self._streams[stream])

    def launch(self, graph: Graph, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.launch`."""
        raise AssertionError("no graph can have been captured")

    def record(self, event: Event, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.record`."""
        with self._translated("Event.record"):
            self._events[event].record(self._streams[stream])

    def wait(self, event: Event) -> None:
        """See `perframe.engines.cuda.Cuda.wait`."""
        with self._translated("Event.synchronize"):
            self._events[event].synchronize()

    def elapsed_s(self, start: Event, end: Event) -> float:
        """See `perframe.engines.cuda.Cuda.elapsed_s`."""
        with self._translated("Event.time_till"):
            return float(self._events[start].time_till(self._events[end])) * 1e-3

    def synchronize(self, stream: Stream) -> None:
        """See `perframe.engines.cuda.Cuda.synchronize`."""
        with self._translated("Stream.synchronize"):
            self._streams[stream].synchronize()

    @contextmanager
    def _translated(self, call: str) -> Iterator[None]:
        try:
            yield
        except self._driver.Error as error:
            out_of_memory = isinstance(error, self._driver.MemoryError)
            raise failed(call, _told(error), out_of_memory=out_of_memory) from error

    def _unchecked(self, give_back: Callable[[], None]) -> None:
        with suppress(self._driver.Error):
            give_back()


def _identity(device: Any) -> DeviceIdentity:
    major, minor = device.compute_capability()
    return DeviceIdentity(name=device.name(), uuid=None, compute_capability=(major, minor))


def _device(driver: Any, index: int) -> Any:
    try:
        driver.init()
        return driver.Device(index)
    except driver.Error as error:
        raise not_there(_told(error)) from error


def _told(error: Exception) -> str:
    """Only the kind of the error has a name in pycuda; its message has the driver's function and CUDA's words."""
    return f"{type(error).__name__} ({error})"


def _driver() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except ImportError as error:
        raise not_there(f"pycuda cannot be imported: {error}") from error
