"""Estimators against a known truth: energy of a switching load on simulated GPUs.

Three ways to the joules of the same load: the mean of nvidia-smi readings times the time of one short run, the
difference of the energy counter over that run, and perframe's windows (long enough for the sensor, moved against it
at random, power integrated). The load switches as a network's kernels and gaps do, from faster than the sensor to
almost in step with it. Gain and offset of the sensor are left out: this is the relative part of the error.
"""

import dataclasses
import math
import random
from collections.abc import Callable

from perframe.engines.clock import VirtualClock
from perframe.profiler.energy import open_meter
from perframe.profiler.loop import PhaseShift, window_length_s
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.sensors.nvml import Nvml
from perframe.profiler.sensors.simulated_gpu import SimulatedGpu, Simulation
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml
from perframe.profiler.sensors.simulated_presets import PRESETS

# Seconds on and off. 52 + 52 ms is almost in step with a sensor that updates every 101 ms.
CYCLES = ((0.004, 0.002), (0.018, 0.007), (0.052, 0.052), (0.050, 0.050), (0.1, 0.1), (0.23, 0.11))
PRESET_NAMES = ("v100", "a100", "h100", "rtx3090", "rtx4090")
SETTLE_S = 5.0
SHORT_S = 2.0

Method = Callable[[SimulatedGpu, tuple[float, float], random.Random], float]
"""A GPU, a cycle and chance, to the relative error of the joules."""


def relative_part(gpu: SimulatedGpu) -> SimulatedGpu:
    """The same GPU with a sensor of unit gain and no offset, its counter included."""
    return dataclasses.replace(gpu, gain=1.0, offset_w=0.0, counter_gain=1.0)


def _opened(
    gpu: SimulatedGpu, cycle: tuple[float, float], chance: random.Random
) -> tuple[VirtualClock, Simulation, Nvml, Load]:
    clock = VirtualClock()
    gpu = dataclasses.replace(relative_part(gpu), seed=chance.randrange(2**31))
    load = Load()
    simulation = Simulation(gpu, load, clock.now_s)
    sensor = Nvml("0", None, lambda: SimulatedNvml([simulation]))
    clock.sleep(chance.random())
    _run(clock, load, cycle, SETTLE_S)
    return clock, simulation, sensor, load


def _run(clock: VirtualClock, load: Load, cycle: tuple[float, float], seconds: float) -> None:
    """Switch the load on and off, from now on and for so long."""
    on_s, off_s = cycle
    start_s = clock.now_s()
    for index in range(math.ceil(seconds / (on_s + off_s))):
        from_s = start_s + index * (on_s + off_s)
        load.add(from_s, 1.0)
        load.add(min(from_s + on_s, start_s + seconds), 0.0)
    clock.sleep(seconds)


def mean_of_nvidia_smi(gpu: SimulatedGpu, cycle: tuple[float, float], chance: random.Random) -> float:
    """One run of two seconds, polled ten times a second."""
    clock, simulation, _, load = _opened(gpu, cycle, chance)
    clock.sleep(SETTLE_S)
    start_s = clock.now_s()
    readings: list[float] = []
    with clock.every(0.1, lambda: readings.append(simulation.reading_w(clock.now_s()))):
        _run(clock, load, cycle, SHORT_S)
    energy_j = sum(readings) / len(readings) * SHORT_S
    return energy_j / simulation.true_energy_j(start_s, clock.now_s()) - 1.0


def counter_difference(gpu: SimulatedGpu, cycle: tuple[float, float], chance: random.Random) -> float:
    """The counter before and after the same two seconds; not a number where there is no counter."""
    clock, simulation, _, load = _opened(gpu, cycle, chance)
    clock.sleep(SETTLE_S)
    start_s = clock.now_s()
    before = simulation.counter_j(start_s)
    _run(clock, load, cycle, SHORT_S)
    after = simulation.counter_j(clock.now_s())
    if before is None or after is None:
        return math.nan
    return (after - before) / simulation.true_energy_j(start_s, clock.now_s()) - 1.0


def perframe_windows(gpu: SimulatedGpu, cycle: tuple[float, float], chance: random.Random) -> float:
    """The meter on the real NVML sensor's code, in ten windows sized for it."""
    clock, simulation, sensor, load = _opened(gpu, cycle, chance)
    plan = MeasurementPlan()
    measured_j = true_j = 0.0
    with open_meter(sensor, clock) as meter:
        _run(clock, load, cycle, 3.0)
        window_s = window_length_s(plan, meter.update_period_s(), 0.0, gpu.idle_w, gpu.active_w)
        shift = PhaseShift(plan.windows, chance.randrange(2**31))
        for _ in range(plan.windows):
            clock.sleep(shift.pause_s(clock.now_s(), meter.update_period_s()))
            meter.start()
            start_s = clock.now_s()
            _run(clock, load, cycle, window_s)
            measured_j += meter.stop().energy_j or math.nan
            true_j += simulation.true_energy_j(start_s, clock.now_s())
    return measured_j / true_j - 1.0


METHODS: dict[str, Method] = {
    "mean of nvidia-smi": mean_of_nvidia_smi,
    "counter difference": counter_difference,
    "perframe": perframe_windows,
}


def mean_absolute_errors(
    preset: str, trials: int, cycles: tuple[tuple[float, float], ...] = CYCLES
) -> dict[str, float]:
    """Return every method's mean absolute relative error over cycles and trials."""
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for cycle in cycles:
        for trial in range(trials):
            for name, method in METHODS.items():
                found[name].append(abs(method(PRESETS[preset], cycle, random.Random(trial))))
    return {name: sum(errors) / len(errors) for name, errors in found.items()}


def main() -> None:
    """Print the table."""
    print(f"{'mean |error|':14}" + "".join(f"{name:>22}" for name in METHODS))
    for preset in PRESET_NAMES:
        errors = mean_absolute_errors(preset, trials=3)
        print(f"{preset:14}" + "".join(f"{errors[name]:>21.2%} " for name in METHODS))
    errors = mean_absolute_errors("a100", trials=10, cycles=((0.052, 0.052),))
    print(f"{'a100, in step':14}" + "".join(f"{errors[name]:>21.2%} " for name in METHODS))


if __name__ == "__main__":
    main()
