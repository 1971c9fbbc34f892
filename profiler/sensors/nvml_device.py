"""One GPU as NVML shows it: every question it is asked, in SI units, each answered with a value or a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from perframe.profiler.sensors.nvml_answers import (
    Answer,
    Status,
    answer,
    ask,
    field_number,
    number,
    positive,
    watts,
)
from perframe.profiler.sensors.nvml_library import (
    CLOCK_ID_APP_CLOCK_TARGET,
    CLOCK_SM,
    MIG_ENABLE,
    POWER_AVERAGE,
    POWER_INSTANT,
    SCOPE_GPU,
    TEMPERATURE_GPU,
    EventReason,
    NvmlLibrary,
    ThrottleField,
    Virtualization,
)

# Both thermal counters may run at once, so their sum bounds the time; only whether it is 0 matters.
_LIMITED_BY: Mapping[str, tuple[ThrottleField, ...]] = {
    "thermal": (ThrottleField.SW_THERM_SLOWDOWN, ThrottleField.HW_THERM_SLOWDOWN),
    "power_brake": (ThrottleField.HW_POWER_BRAKE_SLOWDOWN,),
    "power_cap": (ThrottleField.SW_POWER_CAP,),
    "sync_boost": (ThrottleField.SYNC_BOOST,),
}

_LIMITS: Mapping[EventReason, str] = {
    EventReason.SwThermalSlowdown: "thermal",
    EventReason.HwThermalSlowdown: "thermal",
    EventReason.HwPowerBrakeSlowdown: "power_brake",
    EventReason.SwPowerCap: "power_cap",
    EventReason.SyncBoost: "sync_boost",
    EventReason.DisplayClockSetting: "display_clock",
}


@dataclass(frozen=True)
class PowerSource:
    """Where watts are read.

    Attributes:
        field: `instant` (field 186), `average` (field 185, over about a second) or `legacy`
            (nvmlDeviceGetPowerUsage: a momentary value on GA100 and older, and the average on newer chips).
        scope: NVML's scope of a field: 0 the GPU, 1 the module it sits on.
    """

    field: Literal["instant", "average", "legacy"]
    scope: int = SCOPE_GPU


@dataclass(frozen=True)
class Process:
    """A process that uses the GPU."""

    pid: int
    name: str


class NvmlDevice:
    """A GPU that can be asked; it is valid while NVML stays initialised.

    Args:
        library: The seam.
        handle: NVML's handle of the GPU.
    """

    def __init__(self, library: NvmlLibrary, handle: object) -> None:
        self._library, self._handle = library, handle

    def power_w(self, source: PowerSource) -> Answer[float]:
        """Watts now."""
        if source.field == "legacy":
            return ask(self._library, lambda: self._library.nvmlDeviceGetPowerUsage(self._handle)).then(watts)
        field = POWER_INSTANT if source.field == "instant" else POWER_AVERAGE
        return self._fields([(field, source.scope)])[0].then(watts)

    def counter_j(self) -> Answer[float]:
        """Joules since the driver was loaded."""
        millijoules = ask(
            self._library, lambda: self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        )
        return millijoules.then(positive).then(lambda value: answer(value * 1e-3))

    def limited_s(self) -> Mapping[str, Answer[float]]:
        """Seconds so far in which clocks were held down, by reason: what `Conditions.limited_s` holds."""
        fields = list(ThrottleField)
        values = dict(zip(fields, self._fields([(field, SCOPE_GPU) for field in fields]), strict=True))
        return {reason: _sum_s([values[field] for field in causes]) for reason, causes in _LIMITED_BY.items()}

    def limits(self) -> Answer[tuple[str, ...]]:
        """What holds clocks down at this moment, under the same names, and `hw_slowdown` and `display_clock`."""
        mask = ask(
            self._library,
            lambda: self._library.nvmlDeviceGetCurrentClocksEventReasons(self._handle),
            lambda: self._library.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle),
        )
        return mask.then(lambda bits: answer(_limits(bits)))

    def clock_hz(self) -> Answer[float]:
        """Clock of the streaming multiprocessors."""
        megahertz = ask(self._library, lambda: self._library.nvmlDeviceGetClockInfo(self._handle, CLOCK_SM))
        return megahertz.then(positive).then(lambda value: answer(value * 1e6))

    def application_clock_hz(self) -> Answer[float]:
        """The clock that applications are set to ask for; newer drivers have none."""
        megahertz = ask(
            self._library,
            lambda: self._library.nvmlDeviceGetClock(self._handle, CLOCK_SM, CLOCK_ID_APP_CLOCK_TARGET),
        )
        return megahertz.then(positive).then(lambda value: answer(value * 1e6))

    def temperature_c(self) -> Answer[float]:
        """Temperature of the chip."""
        return ask(
            self._library,
            lambda: self._library.nvmlDeviceGetTemperatureV(self._handle, TEMPERATURE_GPU),
            lambda: self._library.nvmlDeviceGetTemperature(self._handle, TEMPERATURE_GPU),
        ).then(positive)

    def busy_share(self) -> Answer[float]:
        """Share of the last sample period (a sixth to one second) in which a kernel was running."""
        return (
            ask(self._library, lambda: self._library.nvmlDeviceGetUtilizationRates(self._handle))
            .then(lambda rates: number(rates.gpu))
            .then(lambda percent: answer(percent / 100.0))
        )

    def power_limit_w(self) -> Answer[float]:
        """The power cap that is in force."""
        return ask(self._library, lambda: self._library.nvmlDeviceGetEnforcedPowerLimit(self._handle)).then(
            watts
        )

    def ecc(self) -> Answer[str]:
        """`on` or `off`: whether the memory corrects errors, which costs bandwidth."""
        modes = ask(self._library, lambda: self._library.nvmlDeviceGetEccMode(self._handle))
        return modes.then(lambda both: answer(_on(both[0])))

    def persistence(self) -> Answer[str]:
        """`on` or `off`: whether the driver stays loaded between programs."""
        mode = ask(self._library, lambda: self._library.nvmlDeviceGetPersistenceMode(self._handle))
        return mode.then(lambda value: answer(_on(value)))

    def mig(self) -> Answer[str]:
        """`on` or `off`: whether the GPU is cut into instances, which share its power readings."""
        modes = ask(self._library, lambda: self._library.nvmlDeviceGetMigMode(self._handle))
        return modes.then(lambda both: answer(_on(both[0] == MIG_ENABLE)))

    def virtualization(self) -> Answer[str]:
        """How the GPU is shared between machines, in NVML's words."""
        mode = ask(self._library, lambda: self._library.nvmlDeviceGetVirtualizationMode(self._handle))
        known = {mode.value for mode in Virtualization}
        return mode.then(
            lambda value: (
                answer(Virtualization(value).name)
                if value in known
                else Answer(Status.ERROR, None, f"answered the unknown mode {value}")
            )
        )

    def processes(self) -> Answer[tuple[Process, ...]]:
        """Processes that compute or draw on the GPU, this one included."""
        library, handle = self._library, self._handle
        compute = ask(
            library,
            lambda: library.nvmlDeviceGetComputeRunningProcesses_v3(handle),
            lambda: library.nvmlDeviceGetComputeRunningProcesses_v2(handle),
            lambda: library.nvmlDeviceGetComputeRunningProcesses(handle),
        )
        graphics = ask(
            library,
            lambda: library.nvmlDeviceGetGraphicsRunningProcesses_v3(handle),
            lambda: library.nvmlDeviceGetGraphicsRunningProcesses_v2(handle),
            lambda: library.nvmlDeviceGetGraphicsRunningProcesses(handle),
        )
        # Boards without a display engine do not list graphics; what computes is what matters.
        if compute.value is None:
            return Answer(compute.status, None, compute.reason)
        pids = sorted({process.pid for process in (*compute.value, *(graphics.value or ()))})
        return answer(tuple(Process(pid, self._process_name(pid)) for pid in pids))

    def _process_name(self, pid: int) -> str:
        named = ask(self._library, lambda: self._library.nvmlSystemGetProcessName(pid))
        return f"{named.value} (pid {pid})" if named.value else f"pid {pid}"

    def _fields(self, fields: Sequence[tuple[int, int]]) -> list[Answer[float]]:
        values = ask(self._library, lambda: self._library.nvmlDeviceGetFieldValues(self._handle, fields))
        if values.value is None:
            return [Answer(values.status, None, values.reason) for _ in fields]
        return [field_number(value) for value in values.value]


def _on(value: object) -> str:
    return "on" if value else "off"


def _sum_s(nanoseconds: Sequence[Answer[float]]) -> Answer[float]:
    """Sum counters; the first refusal where one does not answer, since part of a sum would pass for all of it."""
    known = [counter.value for counter in nanoseconds if counter.value is not None]
    if len(known) < len(nanoseconds):
        return next(counter for counter in nanoseconds if counter.value is None)
    return answer(sum(known) * 1e-9)


def _limits(bits: int) -> tuple[str, ...]:
    named = dict.fromkeys(name for bit, name in _LIMITS.items() if bits & bit)
    # The hardware's bit accompanies the two hardware causes; alone it says that it does not know which.
    if bits & EventReason.HwSlowdown and not bits & (
        EventReason.HwThermalSlowdown | EventReason.HwPowerBrakeSlowdown
    ):
        named["hw_slowdown"] = None
    return tuple(named)
