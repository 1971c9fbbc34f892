"""NVML of simulated GPUs: what plugs into the NVML sensor's seam in place of pynvml."""

# ruff: noqa: N802, N815, D102 - the names are pynvml's, and documented there

from collections.abc import Sequence
from dataclasses import dataclass

from perframe.profiler.sensors.nvml_library import (
    POWER_AVERAGE,
    POWER_INSTANT,
    SCOPE_MODULE,
    VALUE_MEMBERS,
    ErrorCode,
    EventReason,
    ThrottleField,
)
from perframe.profiler.sensors.simulated_gpu import Simulation

DRIVER = "simulated"
TENANT_PID = 4_194_305
"""The other process on a simulated GPU; above the largest number that Linux gives a process."""

_BUSY_MHZ, _IDLE_MHZ, _HELD_DOWN_MHZ = 1410, 210, 1005
# A process that only waits and polls costs some CPU time too.
# The sample period of the utilisation.
_UTILIZATION_S = 0.5
_IDLE_BELOW = 0.1
_UNSIGNED_INT, _UNSIGNED_LONG_LONG = VALUE_MEMBERS.index("uiVal"), VALUE_MEMBERS.index("ullVal")

_FIELDS = {
    ThrottleField.SW_POWER_CAP: "power_cap",
    ThrottleField.SYNC_BOOST: "sync_boost",
    ThrottleField.SW_THERM_SLOWDOWN: "thermal",
    ThrottleField.HW_POWER_BRAKE_SLOWDOWN: "power_brake",
}
_BITS = {
    "power_cap": EventReason.SwPowerCap,
    "sync_boost": EventReason.SyncBoost,
    "thermal": EventReason.SwThermalSlowdown,
    "power_brake": EventReason.HwPowerBrakeSlowdown | EventReason.HwSlowdown,
}
_GPU_IDLE = 0x1


class SimulatedNvmlError(Exception):
    """What pynvml's NVMLError is: an exception with a return code."""

    def __init__(self, value: int) -> None:
        super().__init__(f"simulated NVML error {value}")
        self.value = value


@dataclass(frozen=True)
class _Value:
    uiVal: int = 0
    ullVal: int = 0


@dataclass(frozen=True)
class _Field:
    nvmlReturn: int
    valueType: int
    value: _Value


@dataclass(frozen=True)
class _Pci:
    domain: int
    bus: int
    device: int


@dataclass(frozen=True)
class _Utilization:
    gpu: int


@dataclass(frozen=True)
class _Process:
    pid: int


class SimulatedNvml:
    """Answers as pynvml would on a machine with these GPUs; see `NvmlLibrary`.

    Args:
        gpus: One simulation per GPU, in NVML's order.
        failure: Return code of `nvmlInit`; 0 for a machine with a driver.
    """

    NVMLError = SimulatedNvmlError

    def __init__(self, gpus: Sequence[Simulation], failure: int = 0) -> None:
        self._gpus, self._failure = gpus, failure

    def nvmlInit(self) -> None:
        if self._failure:
            raise SimulatedNvmlError(self._failure)

    def nvmlShutdown(self) -> None:
        pass

    def nvmlSystemGetDriverVersion(self) -> str:
        return DRIVER

    def nvmlSystemGetProcessName(self, pid: int, /) -> str:
        if pid != TENANT_PID:
            raise SimulatedNvmlError(ErrorCode.NOT_FOUND)
        return "other-job"

    def nvmlDeviceGetCount(self) -> int:
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Simulation:
        if not 0 <= index < len(self._gpus):
            raise SimulatedNvmlError(ErrorCode.INVALID_ARGUMENT)
        _asked(self._gpus[index], "nvmlDeviceGetHandleByIndex")
        return self._gpus[index]

    def nvmlDeviceGetName(self, handle: object, /) -> str:
        return _asked(handle, "nvmlDeviceGetName")[0].gpu.name

    def nvmlDeviceGetUUID(self, handle: object, /) -> str:
        return _asked(handle, "nvmlDeviceGetUUID")[0].gpu.uuid

    def nvmlDeviceGetPciInfo(self, handle: object, /) -> _Pci:
        return _Pci(0, _asked(handle, "nvmlDeviceGetPciInfo")[0].gpu.bus, 0)

    def nvmlDeviceGetFieldValues(
        self, handle: object, fields: Sequence[tuple[int, int]], /
    ) -> Sequence[_Field]:
        simulation, t_s = _asked(handle, "nvmlDeviceGetFieldValues")
        return [_field(simulation, t_s, field, scope) for field, scope in fields]

    def nvmlDeviceGetPowerUsage(self, handle: object, /) -> int:
        simulation, t_s = _asked(handle, "nvmlDeviceGetPowerUsage")
        averaged = (POWER_AVERAGE, 0) not in simulation.gpu.failures
        return round(1e3 * (simulation.average_w(t_s) if averaged else simulation.reading_w(t_s)))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, /) -> int:
        simulation, t_s = _asked(handle, "nvmlDeviceGetTotalEnergyConsumption")
        energy_j = simulation.counter_j(t_s)
        if energy_j is None:
            raise SimulatedNvmlError(ErrorCode.NOT_SUPPORTED)
        return round(1e3 * energy_j)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: object, /) -> int:
        return round(1e3 * _asked(handle, "nvmlDeviceGetEnforcedPowerLimit")[0].gpu.power_limit_w)

    def nvmlDeviceGetClockInfo(self, handle: object, clock: int, /) -> int:
        simulation, t_s = _asked(handle, "nvmlDeviceGetClockInfo")
        if simulation.limits(t_s):
            return _HELD_DOWN_MHZ
        return _IDLE_MHZ if _idle(simulation, t_s) else _BUSY_MHZ

    def nvmlDeviceGetClock(self, handle: object, clock: int, which: int, /) -> int:
        _asked(handle, "nvmlDeviceGetClock")
        return _BUSY_MHZ

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object, /) -> int:
        return _bits(*_asked(handle, "nvmlDeviceGetCurrentClocksEventReasons"))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object, /) -> int:
        return _bits(*_asked(handle, "nvmlDeviceGetCurrentClocksThrottleReasons"))

    def nvmlDeviceGetTemperatureV(self, handle: object, sensor: int, /) -> int:
        return _temperature_c(*_asked(handle, "nvmlDeviceGetTemperatureV"))

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int, /) -> int:
        return _temperature_c(*_asked(handle, "nvmlDeviceGetTemperature"))

    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> _Utilization:
        return _utilization(*_asked(handle, "nvmlDeviceGetUtilizationRates"))

    def nvmlDeviceGetEccMode(self, handle: object, /) -> Sequence[int]:
        _asked(handle, "nvmlDeviceGetEccMode")
        return [1, 1]

    def nvmlDeviceGetPersistenceMode(self, handle: object, /) -> int:
        _asked(handle, "nvmlDeviceGetPersistenceMode")
        return 1

    def nvmlDeviceGetMigMode(self, handle: object, /) -> Sequence[int]:
        mode = int(_asked(handle, "nvmlDeviceGetMigMode")[0].gpu.mig)
        return [mode, mode]

    def nvmlDeviceGetVirtualizationMode(self, handle: object, /) -> int:
        return _asked(handle, "nvmlDeviceGetVirtualizationMode")[0].gpu.virtualization

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: object, /) -> Sequence[_Process]:
        return _processes(*_asked(handle, "nvmlDeviceGetComputeRunningProcesses_v3"))

    def nvmlDeviceGetComputeRunningProcesses_v2(self, handle: object, /) -> Sequence[_Process]:
        return _processes(*_asked(handle, "nvmlDeviceGetComputeRunningProcesses_v2"))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object, /) -> Sequence[_Process]:
        return _processes(*_asked(handle, "nvmlDeviceGetComputeRunningProcesses"))

    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: object, /) -> Sequence[_Process]:
        _asked(handle, "nvmlDeviceGetGraphicsRunningProcesses_v3")
        return []

    def nvmlDeviceGetGraphicsRunningProcesses_v2(self, handle: object, /) -> Sequence[_Process]:
        _asked(handle, "nvmlDeviceGetGraphicsRunningProcesses_v2")
        return []

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object, /) -> Sequence[_Process]:
        _asked(handle, "nvmlDeviceGetGraphicsRunningProcesses")
        return []


def _asked(handle: object, call: str) -> tuple[Simulation, float]:
    """The simulation behind a handle and its time, if the call answers now."""
    assert isinstance(handle, Simulation), "a handle is what nvmlDeviceGetHandleByIndex gave"
    t_s, gpu = handle.now_s(), handle.gpu
    if gpu.lost_from_s is not None and t_s >= gpu.lost_from_s:
        raise SimulatedNvmlError(ErrorCode.GPU_IS_LOST)
    if call in gpu.failures:
        raise SimulatedNvmlError(gpu.failures[call])
    return handle, t_s


def _field(simulation: Simulation, t_s: float, field: int, scope: int) -> _Field:
    refused = simulation.gpu.failures.get((field, scope), 0)
    if refused:
        return _Field(refused, _UNSIGNED_INT, _Value())
    if field == POWER_INSTANT:
        module_w = simulation.gpu.module_w if scope == SCOPE_MODULE else 0.0
        return _milliwatts(simulation.reading_w(t_s) + module_w)
    if field == POWER_AVERAGE:
        return _milliwatts(simulation.average_w(t_s))
    reason = next((reason for known, reason in _FIELDS.items() if known == field), "")
    return _Field(
        0, _UNSIGNED_LONG_LONG, _Value(ullVal=round(1e9 * simulation.limited_s(reason, t_s)) if reason else 0)
    )


def _milliwatts(power_w: float) -> _Field:
    return _Field(0, _UNSIGNED_INT, _Value(uiVal=round(1e3 * power_w)))


def _bits(simulation: Simulation, t_s: float) -> int:
    held = sum(_BITS[reason] for reason in simulation.limits(t_s))
    return held or (_GPU_IDLE if _idle(simulation, t_s) else 0)


def _idle(simulation: Simulation, t_s: float) -> bool:
    return simulation.load(t_s) < _IDLE_BELOW


def _utilization(simulation: Simulation, t_s: float) -> _Utilization:
    busy_s = simulation.load.busy_s(t_s) - simulation.load.busy_s(t_s - _UTILIZATION_S)
    return _Utilization(round(100.0 * busy_s / _UTILIZATION_S))


def _temperature_c(simulation: Simulation, t_s: float) -> int:
    return round(30 + 0.15 * simulation.true_power_w(t_s))


def _processes(simulation: Simulation, t_s: float) -> Sequence[_Process]:
    tenant_s = simulation.gpu.tenant_from_s
    return [_Process(TENANT_PID)] if tenant_s is not None and t_s >= tenant_s else []
