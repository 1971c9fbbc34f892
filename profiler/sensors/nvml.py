"""NVIDIA GPUs: power, energy counter and the state that spoils measurements, through NVML."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeVar

from perframe.engines.clock import Clock
from perframe.errors import MeasurementError, UnavailableError, UsageError
from perframe.profiler.sensors.base import (
    Accuracy,
    Conditions,
    Domain,
    EnergySample,
    Kind,
    PowerSample,
    SensorRequest,
)
from perframe.profiler.sensors.nvml_answers import Answer, Status, ask
from perframe.profiler.sensors.nvml_device import NvmlDevice, PowerSource
from perframe.profiler.sensors.nvml_library import NvmlLibrary, initialised, load_pynvml
from perframe.profiler.sensors.nvml_match import (
    Gpu,
    check_name,
    gpu_named,
    gpu_of_cuda,
    list_gpus,
    uuid_of_cuda,
)
from perframe.profiler.sensors.nvml_probe import Probe, probe

T = TypeVar("T")


@dataclass(frozen=True)
class Nvml:
    """A GPU's own power sensor, with its energy counter beside it.

    What it can do is asked of the GPU once, when first needed; opening asks again only for what it reads.

    Attributes:
        argument: Index (as nvidia-smi counts), UUID or PCI address; empty for the GPU the engine runs on.
        device: Where the engine runs, such as "cuda:0"; None if that is not to be held against `argument`.
        library: Gives the seam to NVML.
        cuda_uuid: Asks CUDA for the UUID of the GPU that it counts under a number; None where it cannot be asked.
    """

    argument: str = ""
    device: str | None = "cuda:0"
    library: Callable[[], NvmlLibrary] = load_pynvml
    cuda_uuid: Callable[[int], str | None] = uuid_of_cuda

    name: ClassVar[str] = "nvml"
    kind: ClassVar[Kind] = "measured"
    update_period_s: ClassVar[None] = None
    max_window_s: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.argument:
            check_name(self.argument)
        if self.device is None and self.argument:
            return
        kind, _, ordinal = (self.device or "").partition(":")
        if kind != "cuda" or not (ordinal or "0").isdecimal():
            raise UsageError(
                f"--sensor nvml: it watches an NVIDIA GPU, but the engine runs on {self.device or 'no device'}.",
                "Give --device cuda:0, or another sensor.",
            )

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Nvml":
        """See `perframe.profiler.sensors.base.SensorFactory`."""
        return cls(request.argument, request.device)

    @property
    def domain(self) -> Domain:
        """`gpu`, or `module` where only the module's power can be read.

        Raises:
            UnavailableError: There is no such GPU, or it gives no watts; so do the other properties.
        """
        return self._found.probe.domain(self._found.source)

    @property
    def poll_interval_s(self) -> float:
        """See `Probe.poll_interval_s`."""
        return self._found.probe.poll_interval_s()

    @property
    def averaging_window_s(self) -> float | None:
        """See `Probe.averaging_window_s`."""
        return self._found.probe.averaging_window_s(self._found.source)

    @property
    def accuracy(self) -> Accuracy:
        """See `Probe.accuracy`."""
        return self._found.probe.accuracy(self._found.source)

    @property
    def details(self) -> Mapping[str, str | float]:
        """Which GPU, under which driver and settings, and which of its readings."""
        gpu = self._found.gpu
        return {
            "gpu": gpu.name,
            "uuid": gpu.uuid or "not told",
            "driver": self._found.driver,
            **self._found.probe.details(self._found.source),
        }

    def unavailable(self) -> str | None:
        """See `perframe.profiler.sensors.base.Sensor.unavailable`."""
        try:
            self._found  # noqa: B018 - looking is what fails
        except UnavailableError as error:
            return str(error)
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator["NvmlReader"]:
        """See `perframe.profiler.sensors.base.Sensor.open`."""
        found, library = self._found, self.library()
        with initialised(library):
            device = _device(library, found.gpu)
            has_counter = found.probe.counter(found.source).status is Status.OK
            yield NvmlReader(clock, device, found.gpu, found.source, has_counter)

    @cached_property
    def _found(self) -> "_Found":
        library = self.library()
        with initialised(library):
            gpu = self._gpu(list_gpus(library))
            probed = _probed(library, gpu)
            if (refused := probed.refused()) is not None:
                message, _, hint = refused.partition("\n")
                raise UnavailableError(message, hint)
            return _Found(gpu, _driver(library), probed, probed.source())

    def _gpu(self, gpus: list[Gpu]) -> Gpu:
        if self.device is None:
            return gpu_named(gpus, self.argument)
        if not self.argument:
            return self._gpu_of_engine(gpus)
        named = gpu_named(gpus, self.argument)
        try:
            engines = self._gpu_of_engine(gpus)
        except UnavailableError:
            return named  # it was named because CUDA's count cannot be told
        if engines != named:
            raise UnavailableError(
                f"--sensor nvml:{self.argument} is {named}, but the engine on {self.device} runs on {engines}.",
                "Leave the name out: --sensor nvml watches the GPU of the engine.",
            )
        return named

    def _gpu_of_engine(self, gpus: list[Gpu]) -> Gpu:
        # CUDA's own word, where it can be asked, is better than what follows from the environment.
        uuid = self.cuda_uuid(self._ordinal)
        told = [gpu for gpu in gpus if uuid is not None and gpu.uuid == uuid]
        return told[0] if told else gpu_of_cuda(gpus, self._ordinal, os.environ)

    @property
    def _ordinal(self) -> int:
        return int((self.device or "").partition(":")[2] or "0")


@dataclass(frozen=True)
class _Found:
    gpu: Gpu
    driver: str
    probe: Probe
    source: PowerSource


class NvmlReader:
    """See `perframe.profiler.sensors.base.Monitor`."""

    def __init__(
        self, clock: Clock, device: NvmlDevice, gpu: Gpu, source: PowerSource, has_counter: bool
    ) -> None:
        self._clock, self._device, self._gpu = clock, device, gpu
        self._source, self._has_counter = source, has_counter

    def read(self) -> PowerSample:
        """See `perframe.profiler.sensors.base.Reader.read`."""
        t_s, power_w = self._timed(lambda: self._device.power_w(self._source), "power")
        return PowerSample(t_s, power_w)

    def counter(self) -> EnergySample | None:
        """See `perframe.profiler.sensors.base.Monitor.counter`."""
        if not self._has_counter:
            return None
        t_s, energy_j = self._timed(self._device.counter_j, "energy counter")
        return EnergySample(t_s, energy_j)

    def conditions(self) -> Conditions:
        """See `perframe.profiler.sensors.base.Monitor.conditions`."""
        t_s = self._clock.now_s()
        limited = {reason: self._here(told).value for reason, told in self._device.limited_s().items()}
        own = os.getpid()
        processes = self._here(self._device.processes()).value
        return Conditions(
            t_s=t_s,
            temperature_c=self._here(self._device.temperature_c()).value,
            clock_hz=self._here(self._device.clock_hz()).value,
            busy_share=self._here(self._device.busy_share()).value,
            limited_s={reason: value for reason, value in limited.items() if value is not None},
            limits=self._here(self._device.limits()).value,
            other_processes=None
            if processes is None
            else tuple(process.name for process in processes if process.pid != own),
        )

    def _timed(self, question: Callable[[], Answer[float]], what: str) -> tuple[float, float]:
        """Ask for what the probe has seen answered, and when the answer was given."""
        before_s = self._clock.now_s()
        told = self._here(question())
        t_s = (before_s + self._clock.now_s()) / 2
        if told.value is None:
            raise MeasurementError(
                f"{self._gpu}: its {what} could be read at first, and now cannot: {told}.", "Run it again."
            )
        return t_s, told.value

    def _here(self, told: Answer[T]) -> Answer[T]:
        if told.status in (Status.LOST, Status.NO_DRIVER):
            raise MeasurementError(
                f"{self._gpu}: it has stopped answering: {told}.",
                "Look into dmesg for Xid errors; what was measured before stands.",
            )
        return told


@dataclass(frozen=True)
class GpuCapabilities:
    """What one GPU of this machine can tell.

    Attributes:
        gpu: Which one.
        driver: Version of its driver.
        unavailable: Why it cannot be measured, two lines; None if it can.
        answers: Every capability, with what it said or why it did not.
    """

    gpu: Gpu
    driver: str
    unavailable: str | None
    answers: Mapping[str, Answer[str | float]]


def capabilities(library: Callable[[], NvmlLibrary] = load_pynvml) -> tuple[GpuCapabilities, ...]:
    """Ask every GPU of this machine everything.

    Raises:
        UnavailableError: There is no NVML or no GPU.
    """
    seam = library()
    with initialised(seam):
        return tuple(_capabilities(seam, gpu) for gpu in list_gpus(seam))


def _capabilities(library: NvmlLibrary, gpu: Gpu) -> GpuCapabilities:
    probed = _probed(library, gpu)
    unavailable = probed.refused()
    if unavailable is None:
        try:
            probed.source()
        except UnavailableError as error:
            unavailable = str(error)
    return GpuCapabilities(gpu, _driver(library), unavailable, dict(probed.items()))


def _probed(library: NvmlLibrary, gpu: Gpu) -> Probe:
    return probe(_device(library, gpu), str(gpu))


def _device(library: NvmlLibrary, gpu: Gpu) -> NvmlDevice:
    handle = ask(library, lambda: library.nvmlDeviceGetHandleByIndex(gpu.index))
    if handle.status is not Status.OK:
        raise UnavailableError(
            f"{gpu}: it was there and is gone: {handle}.", "Look into dmesg for Xid errors, and reboot."
        )
    return NvmlDevice(library, handle.value)


def _driver(library: NvmlLibrary) -> str:
    told = ask(library, library.nvmlSystemGetDriverVersion)
    return told.value or str(told)
