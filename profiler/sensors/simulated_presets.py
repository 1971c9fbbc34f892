"""Simulated GPUs by name: what was measured of real sensors, and what each answers through NVML.

Update periods, averaging windows and gains are those of GPU_Power_Benchmark (arXiv 2312.02741; drivers 525 to 535);
gain and offset of the A100 and RTX 4090 follow from its step runs at idle and under load. Watts are
typical of the cards. Which calls answer follows nvml.h and reports from such machines.
"""

from collections.abc import Mapping

from perframe.profiler.sensors.nvml_library import (
    POWER_AVERAGE,
    POWER_INSTANT,
    SCOPE_GPU,
    SCOPE_MODULE,
    ErrorCode,
    ThrottleField,
)
from perframe.profiler.sensors.simulated_gpu import SimulatedGpu

Failures = Mapping[str | tuple[int, int], int]

_NO = int(ErrorCode.NOT_SUPPORTED)

# Only boards with a CPU beside the GPU have a module to measure.
_NO_MODULE: Failures = {(POWER_INSTANT, SCOPE_MODULE): _NO}
_NO_AVERAGE: Failures = {(POWER_AVERAGE, SCOPE_GPU): _NO}
_NO_THERMAL_COUNTERS: Failures = {
    (field, SCOPE_GPU): _NO
    for field in (
        ThrottleField.SW_THERM_SLOWDOWN,
        ThrottleField.HW_THERM_SLOWDOWN,
        ThrottleField.HW_POWER_BRAKE_SLOWDOWN,
    )
}
_NO_ECC: Failures = {"nvmlDeviceGetEccMode": _NO}
_NO_MIG: Failures = {"nvmlDeviceGetMigMode": _NO}
_NO_APPLICATION_CLOCK: Failures = {"nvmlDeviceGetClock": _NO}

_PASCAL: Failures = {
    **_NO_MODULE,
    **_NO_AVERAGE,
    **_NO_THERMAL_COUNTERS,
    **_NO_MIG,
    "nvmlDeviceGetTotalEnergyConsumption": _NO,
}
_VOLTA: Failures = {**_NO_MODULE, **_NO_AVERAGE, **_NO_THERMAL_COUNTERS, **_NO_MIG}
_CONSUMER: Failures = {**_NO_MODULE, **_NO_ECC, **_NO_MIG, **_NO_APPLICATION_CLOCK}

# JetPack 7 on Orin: NVML starts and counts one GPU, and then has nothing to say.
_ORIN: Failures = {
    **{
        (field, scope): _NO
        for field in (POWER_INSTANT, POWER_AVERAGE, *ThrottleField)
        for scope in (SCOPE_GPU, SCOPE_MODULE)
    },
    **dict.fromkeys(
        (
            "nvmlDeviceGetPciInfo",
            "nvmlDeviceGetPowerUsage",
            "nvmlDeviceGetTotalEnergyConsumption",
            "nvmlDeviceGetEnforcedPowerLimit",
            "nvmlDeviceGetClockInfo",
            "nvmlDeviceGetClock",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetTemperature",
            "nvmlDeviceGetEccMode",
            "nvmlDeviceGetPersistenceMode",
            "nvmlDeviceGetMigMode",
            "nvmlDeviceGetVirtualizationMode",
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetComputeRunningProcesses_v2",
            "nvmlDeviceGetComputeRunningProcesses",
        ),
        _NO,
    ),
}


PRESETS: Mapping[str, SimulatedGpu] = {
    "p100": SimulatedGpu(
        name="Tesla P100-PCIE-16GB (simulated)",
        idle_w=30,
        active_w=200,
        update_period_s=0.02,
        averaging_window_s=0.01,
        gain=1.007,
        noise_w=1.0,
        noise_correlation_s=0.1,
        counter_period_s=None,
        power_limit_w=250,
        failures=_PASCAL,
    ),
    # A P4000 is expected to answer as a GTX 1080 does.
    "gtx1080": SimulatedGpu(
        name="NVIDIA GeForce GTX 1080 (simulated)",
        idle_w=10,
        active_w=170,
        update_period_s=0.02,
        averaging_window_s=0.01,
        gain=1.004,
        noise_w=1.0,
        noise_correlation_s=0.1,
        counter_period_s=None,
        power_limit_w=180,
        failures={**_PASCAL, **_NO_ECC, **_NO_APPLICATION_CLOCK, (POWER_INSTANT, SCOPE_GPU): _NO},
    ),
    "v100": SimulatedGpu(
        name="Tesla V100-SXM2-16GB (simulated)",
        idle_w=42,
        active_w=280,
        update_period_s=0.02,
        averaging_window_s=0.01,
        noise_w=1.0,
        noise_correlation_s=0.1,
        counter_period_s=0.02,
        power_limit_w=300,
        failures=_VOLTA,
    ),
    "rtx2080ti": SimulatedGpu(
        name="NVIDIA GeForce RTX 2080 Ti (simulated)",
        idle_w=15,
        active_w=250,
        update_period_s=0.101,
        averaging_window_s=0.102,
        gain=0.921,
        noise_w=1.0,
        noise_correlation_s=0.2,
        power_limit_w=250,
        failures={**_VOLTA, **_NO_ECC, **_NO_APPLICATION_CLOCK},
    ),
    "a100": SimulatedGpu(
        name="NVIDIA A100-PCIE-40GB (simulated)",
        idle_w=42,
        active_w=240,
        update_period_s=0.101,
        averaging_window_s=0.025,
        # Idle reads 7.5 % low, the load 5.2 % low.
        gain=0.9529,
        offset_w=-1.17,
        noise_w=1.0,
        noise_correlation_s=0.2,
        power_limit_w=250,
        failures={**_NO_MODULE, **_NO_AVERAGE},
    ),
    "rtx3090": SimulatedGpu(
        name="NVIDIA GeForce RTX 3090 (simulated)",
        idle_w=25,
        active_w=340,
        update_period_s=0.1,
        averaging_window_s=0.1,
        rise_time_s=0.25,
        gain=0.95,
        noise_w=1.5,
        noise_correlation_s=0.2,
        power_limit_w=350,
        failures=_CONSUMER,
    ),
    "rtx4090": SimulatedGpu(
        name="NVIDIA GeForce RTX 4090 (simulated)",
        idle_w=25,
        active_w=400,
        update_period_s=0.1,
        averaging_window_s=0.109,
        rise_time_s=0.25,
        # Idle reads 26 % low, the load 1 % low.
        gain=1.0067,
        offset_w=-6.67,
        noise_w=1.5,
        noise_correlation_s=0.2,
        power_limit_w=450,
        failures=_CONSUMER,
    ),
    "h100": SimulatedGpu(
        name="NVIDIA H100 PCIe (simulated)",
        idle_w=50,
        active_w=310,
        update_period_s=0.1,
        averaging_window_s=0.025,
        noise_w=1.5,
        noise_correlation_s=0.2,
        power_limit_w=350,
        failures=_NO_MODULE,
    ),
    "gh200": SimulatedGpu(
        name="NVIDIA GH200 480GB (simulated)",
        idle_w=80,
        active_w=600,
        update_period_s=0.1,
        averaging_window_s=0.025,
        noise_w=2.0,
        noise_correlation_s=0.2,
        module_w=120,
        power_limit_w=900,
    ),
    "orin": SimulatedGpu(
        name="Orin (nvgpu) (simulated)", idle_w=7, active_w=23, counter_period_s=None, failures=_ORIN
    ),
}
"""Parameters by preset."""
