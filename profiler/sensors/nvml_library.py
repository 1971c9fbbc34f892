"""The seam to NVML: which of pynvml's functions are used, under pynvml's own names and with its semantics.

Everything that asks an NVIDIA GPU something goes through `NvmlLibrary`: the module `pynvml` (package nvidia-ml-py),
or the simulated GPU, so that the same sensor code runs on both. Numbers are NVML's own, from nvml.h (NVML 13).
"""

# ruff: noqa: D102, N802 - the names are pynvml's, and documented by NVIDIA: https://docs.nvidia.com/deploy/nvml-api

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Protocol, cast

from perframe.errors import UnavailableError

POWER_AVERAGE = 185
POWER_INSTANT = 186

SCOPE_GPU = 0
SCOPE_MODULE = 1

CLOCK_SM = 1
CLOCK_ID_APP_CLOCK_TARGET = 1
TEMPERATURE_GPU = 0

MIG_ENABLE = 1


class ThrottleField(IntEnum):
    """Fields that count nanoseconds in which clocks were held down, as nvml.h names their causes."""

    SW_POWER_CAP = 74
    SYNC_BOOST = 76
    SW_THERM_SLOWDOWN = 269
    HW_THERM_SLOWDOWN = 270
    HW_POWER_BRAKE_SLOWDOWN = 271


class EventReason(IntEnum):
    """Bits that say what holds clocks down at this moment; being idle or set by the user is none of them."""

    SwPowerCap = 0x4
    HwSlowdown = 0x8
    SyncBoost = 0x10
    SwThermalSlowdown = 0x20
    HwThermalSlowdown = 0x40
    HwPowerBrakeSlowdown = 0x80
    DisplayClockSetting = 0x100


class Virtualization(IntEnum):
    """How a GPU is shared between machines."""

    NONE = 0
    PASSTHROUGH = 1
    VGPU = 2
    HOST_VGPU = 3
    HOST_VSGA = 4


class ErrorCode(IntEnum):
    """NVML's return codes."""

    UNINITIALIZED = 1
    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    INSUFFICIENT_POWER = 8
    DRIVER_NOT_LOADED = 9
    TIMEOUT = 10
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    OPERATING_SYSTEM = 17
    LIB_RM_VERSION_MISMATCH = 18
    NO_DATA = 21
    VGPU_ECC_NOT_SUPPORTED = 22
    ARGUMENT_VERSION_MISMATCH = 25
    DEPRECATED = 26
    NOT_READY = 27
    GPU_NOT_FOUND = 28
    UNKNOWN = 999


class FieldValue(Protocol):
    """One answer of `nvmlDeviceGetFieldValues`; `value` is a union that `valueType` says how to read."""

    @property
    def nvmlReturn(self) -> int:
        """Return code of this field alone."""
        ...

    @property
    def valueType(self) -> int:
        """Index into `VALUE_MEMBERS`."""
        ...

    @property
    def value(self) -> object:
        """The union."""
        ...


VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of the union `FieldValue.value`, in the order of NVML's value types."""


class PciInfo(Protocol):
    """Where a GPU sits."""

    @property
    def domain(self) -> int: ...
    @property
    def bus(self) -> int: ...
    @property
    def device(self) -> int: ...


class ProcessInfo(Protocol):
    """A process that uses a GPU."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...


class NvmlUtilization(Protocol):
    """What `nvmlDeviceGetUtilizationRates` returns."""

    @property
    def gpu(self) -> int:
        """Per cent of the last sample period in which a kernel was running."""
        ...


class NvmlLibrary(Protocol):
    """The functions of pynvml that are used. Each raises `NVMLError`, whose `value` is the return code."""

    @property
    def NVMLError(self) -> type[Exception]: ...

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlSystemGetProcessName(self, pid: int, /) -> str: ...

    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> object: ...
    def nvmlDeviceGetName(self, handle: object, /) -> str: ...
    def nvmlDeviceGetUUID(self, handle: object, /) -> str: ...
    def nvmlDeviceGetPciInfo(self, handle: object, /) -> PciInfo: ...

    def nvmlDeviceGetFieldValues(
        self, handle: object, fields: Sequence[tuple[int, int]], /
    ) -> Sequence[FieldValue]: ...
    def nvmlDeviceGetPowerUsage(self, handle: object, /) -> int: ...
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, /) -> int: ...
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: object, /) -> int: ...

    def nvmlDeviceGetClockInfo(self, handle: object, clock: int, /) -> int: ...
    def nvmlDeviceGetClock(self, handle: object, clock: int, which: int, /) -> int: ...
    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object, /) -> int: ...
    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object, /) -> int: ...
    def nvmlDeviceGetTemperatureV(self, handle: object, sensor: int, /) -> int: ...
    def nvmlDeviceGetTemperature(self, handle: object, sensor: int, /) -> int: ...
    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> NvmlUtilization: ...

    def nvmlDeviceGetEccMode(self, handle: object, /) -> Sequence[int]: ...
    def nvmlDeviceGetPersistenceMode(self, handle: object, /) -> int: ...
    def nvmlDeviceGetMigMode(self, handle: object, /) -> Sequence[int]: ...
    def nvmlDeviceGetVirtualizationMode(self, handle: object, /) -> int: ...

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: object, /) -> Sequence[ProcessInfo]: ...
    def nvmlDeviceGetComputeRunningProcesses_v2(self, handle: object, /) -> Sequence[ProcessInfo]: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: object, /) -> Sequence[ProcessInfo]: ...
    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: object, /) -> Sequence[ProcessInfo]: ...
    def nvmlDeviceGetGraphicsRunningProcesses_v2(self, handle: object, /) -> Sequence[ProcessInfo]: ...
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object, /) -> Sequence[ProcessInfo]: ...


def load_pynvml() -> NvmlLibrary:
    """Import pynvml.

    Raises:
        UnavailableError: nvidia-ml-py is not installed.
    """
    try:
        import pynvml
    except ImportError as error:
        raise UnavailableError(
            f"NVML: the Python package nvidia-ml-py cannot be imported: {error}.",
            "Run: pip install nvidia-ml-py",
        ) from error
    return cast(NvmlLibrary, pynvml)


_NOT_HERE = {
    ErrorCode.LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 was not found, so no NVIDIA driver is installed here",
        "Install the NVIDIA driver; start a container with --gpus all.",
    ),
    ErrorCode.DRIVER_NOT_LOADED: (
        "the NVIDIA driver is installed but not loaded",
        "Run: sudo modprobe nvidia; start a container with --gpus all.",
    ),
    ErrorCode.LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA library and the loaded kernel module are of different versions",
        "Reboot, so that the updated driver is loaded.",
    ),
    ErrorCode.NO_PERMISSION: (
        "no permission to open the NVIDIA devices",
        "Give this user access to /dev/nvidia*, or run as a user who has it.",
    ),
}


@contextmanager
def initialised(library: NvmlLibrary) -> Iterator[None]:
    """Keep NVML initialised while the context is open; NVML counts, so contexts may nest.

    Raises:
        UnavailableError: There is no driver to talk to; the hint says what would mend that.
    """
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        code = getattr(error, "value", ErrorCode.UNKNOWN)
        what, hint = _NOT_HERE.get(code, (f"initialising failed: {error}", "Check that nvidia-smi works."))
        raise UnavailableError(f"NVML: {what}.", hint) from error
    try:
        yield
    finally:
        # A GPU that was lost meanwhile may refuse, and there is nothing left to lose.
        with suppress(library.NVMLError):
            library.nvmlShutdown()
