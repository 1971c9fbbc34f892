"""A GPU whose true power is known, and the sensor through which it is seen: what estimators are judged against.

The true power follows the load linearly within `rise_time_s`. The sensor shows a new reading every
`update_period_s`: the mean true power over the last `averaging_window_s` (on an A100 a quarter of the period, so
three quarters are never seen), through gain and offset, plus noise. All of it is exact and repeats to the last
digit for a seed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from perframe.profiler.sensors.simulated_load import Load

# What NVML's average field averages over, whatever the card (GPU_Power_Benchmark: 0.9 s from 10 to 90 %).
_AVERAGE_S = 1.0

_AT_LEAST_0 = (
    "rise_time_s",
    "averaging_window_s",
    "delay_s",
    "noise_w",
    "noise_correlation_s",
    "seed",
    "counter_stuck_from_s",
    "counter_jump_at_s",
    "module_w",
    "tenant_from_s",
    "lost_from_s",
)

ThrottleReason = Literal["thermal", "power_brake", "power_cap", "sync_boost"]


@dataclass(frozen=True)
class Throttle:
    """Clocks held down for a while."""

    reason: ThrottleReason
    start_s: float
    duration_s: float


@dataclass(frozen=True)
class SimulatedGpu:
    """The parameters of a simulated GPU; times are seconds of the simulation, which starts at 0.

    Attributes:
        name: As NVML gives it.
        idle_w: True watts at rest.
        active_w: True watts under full load.
        rise_time_s: How long the power takes to follow a step of the load.
        update_period_s: How often the sensor shows a new reading.
        averaging_window_s: Over how long before a reading the power is seen; 0 for that moment only.
        delay_s: How old what is seen is when it is shown.
        phase_s: When the first reading is shown.
        gain: Reading per true watt.
        offset_w: Reading at no watt.
        noise_w: Standard deviation of the noise on a reading.
        noise_correlation_s: Time in which the noise's autocorrelation falls to 1/e; 0 for white noise.
        seed: Of the noise.
        counter_period_s: How often the energy counter counts on; None for a card without one.
        counter_gain: Joules counted per joule of power that the sensor's gain and offset let be seen, so that
            at 1 the counter agrees with the readings, as it should.
        counter_stuck_from_s: From when on it stands still; None for never.
        counter_jump_j: What it jumps by.
        counter_jump_at_s: When; None for never.
        throttles: When clocks are held down, and why.
        tenant_from_s: From when on another process uses the GPU; None for never.
        lost_from_s: From when on it no longer answers; None for never.
        module_w: What the rest of its module draws, which module readings and the counter include.
        power_limit_w: The power cap.
        mig: Whether it is cut into instances.
        virtualization: NVML's mode, 0 for none.
        uuid: As NVML gives it.
        bus: Its PCI bus.
        failures: Return code per call that fails: the name of a pynvml function, or field number and scope.
    """

    name: str = "Simulated GPU"
    idle_w: float = 50.0
    active_w: float = 250.0
    rise_time_s: float = 0.0
    update_period_s: float = 0.1
    averaging_window_s: float = 0.025
    delay_s: float = 0.0
    phase_s: float = 0.0
    gain: float = 1.0
    offset_w: float = 0.0
    noise_w: float = 0.0
    noise_correlation_s: float = 0.0
    seed: int = 0
    counter_period_s: float | None = 0.1
    counter_gain: float = 1.0
    counter_stuck_from_s: float | None = None
    counter_jump_j: float = 10_000.0
    counter_jump_at_s: float | None = None
    throttles: tuple[Throttle, ...] = ()
    tenant_from_s: float | None = None
    lost_from_s: float | None = None
    module_w: float = 0.0
    power_limit_w: float = 300.0
    mig: bool = False
    virtualization: int = 0
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    bus: int = 1
    failures: Mapping[str | tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.idle_w <= self.active_w:
            raise ValueError(f"expected 0 <= idle <= active, found {self.idle_w:g} W and {self.active_w:g} W")
        for what in ("update_period_s", "counter_period_s", "gain", "counter_gain", "power_limit_w"):
            if (value := getattr(self, what)) is not None and not value > 0:
                raise ValueError(f"expected {what} above 0, found {value:g}")
        for what in _AT_LEAST_0:
            if (value := getattr(self, what)) is not None and not value >= 0:
                raise ValueError(f"expected {what} of at least 0, found {value:g}")
        if not 0 <= self.phase_s < self.update_period_s:
            raise ValueError(f"expected a phase within the update period, found {self.phase_s:g} s")


class Simulation:
    """A simulated GPU under a load.

    Args:
        gpu: Its parameters.
        load: What it has to do.
        now_s: Gives the time of the simulation, for whoever reads it through NVML.
    """

    def __init__(self, gpu: SimulatedGpu, load: Load, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self.gpu, self.load, self.now_s = gpu, load, now_s
        self._random = np.random.default_rng(gpu.seed)
        self._noise_w: list[float] = []

    def true_power_w(self, t_s: float) -> float:
        """Watts at a moment."""
        gpu = self.gpu
        rise_s = gpu.rise_time_s
        level = (
            (self.load.busy_s(t_s) - self.load.busy_s(t_s - rise_s)) / rise_s if rise_s else self.load(t_s)
        )
        return gpu.idle_w + (gpu.active_w - gpu.idle_w) * level

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """Joules between two moments, exactly."""
        gpu = self.gpu
        busy_s = self._busy_s(end_s) - self._busy_s(start_s)
        return gpu.idle_w * (end_s - start_s) + (gpu.active_w - gpu.idle_w) * busy_s

    def reading_w(self, t_s: float) -> float:
        """What the momentary power field shows at a time."""
        return self._shown_w(t_s, self.gpu.averaging_window_s)

    def average_w(self, t_s: float) -> float:
        """What the average power field shows at a time."""
        return self._shown_w(t_s, _AVERAGE_S)

    def counter_j(self, t_s: float) -> float | None:
        """What the energy counter shows at a time; None without one."""
        gpu = self.gpu
        if gpu.counter_period_s is None:
            return None
        if gpu.counter_stuck_from_s is not None:
            t_s = min(t_s, gpu.counter_stuck_from_s)
        counted_s = math.floor(t_s / gpu.counter_period_s + 1e-9) * gpu.counter_period_s
        # The driver was loaded an hour of idling before the simulation starts.
        seen_j = gpu.gain * self.true_energy_j(0.0, counted_s) + (gpu.offset_w + gpu.module_w) * counted_s
        counted_j = 3600.0 * gpu.idle_w + gpu.counter_gain * seen_j
        jumped = gpu.counter_jump_at_s is not None and t_s >= gpu.counter_jump_at_s
        return counted_j + (gpu.counter_jump_j if jumped else 0.0)

    def limited_s(self, reason: str, t_s: float) -> float:
        """Seconds up to a time in which clocks were held down for a reason."""
        return math.fsum(
            min(max(t_s - throttle.start_s, 0.0), throttle.duration_s)
            for throttle in self.gpu.throttles
            if throttle.reason == reason
        )

    def limits(self, t_s: float) -> frozenset[str]:
        """Why clocks are held down at a time."""
        return frozenset(
            throttle.reason
            for throttle in self.gpu.throttles
            if throttle.start_s <= t_s < throttle.start_s + throttle.duration_s
        )

    def _busy_s(self, t_s: float) -> float:
        """Integral of the level that the power follows: the load, averaged over the rise time."""
        rise_s = self.gpu.rise_time_s
        if not rise_s:
            return self.load.busy_s(t_s)
        return (self.load.busy_sum_s2(t_s) - self.load.busy_sum_s2(t_s - rise_s)) / rise_s

    def _shown_w(self, t_s: float, window_s: float) -> float:
        gpu = self.gpu
        # A hair's breadth, so that a reading is not late where the division comes out just below an integer.
        update = math.floor((t_s - gpu.phase_s) / gpu.update_period_s + 1e-9)
        seen_s = gpu.phase_s + update * gpu.update_period_s - gpu.delay_s
        true_w = (
            self.true_energy_j(seen_s - window_s, seen_s) / window_s
            if window_s
            else self.true_power_w(seen_s)
        )
        return max(gpu.gain * true_w + gpu.offset_w + self._noise(update + 1), 0.0)

    def _noise(self, index: int) -> float:
        """Noise of an update, autoregressive of first order and stationary from the first one on."""
        gpu = self.gpu
        if not gpu.noise_w:
            return 0.0
        kept = math.exp(-gpu.update_period_s / gpu.noise_correlation_s) if gpu.noise_correlation_s else 0.0
        while len(self._noise_w) <= index:
            drawn = float(self._random.standard_normal()) * gpu.noise_w
            last = self._noise_w[-1] if self._noise_w else None
            self._noise_w.append(drawn if last is None else kept * last + math.sqrt(1 - kept**2) * drawn)
        return self._noise_w[index]
