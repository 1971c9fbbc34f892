"""The simulated GPU against its own truth: exact energy, and a sensor with the defects it is told to have."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perframe.profiler.sensors.simulated_gpu import SimulatedGpu, Simulation
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_presets import PRESETS

STEPS = st.lists(st.tuples(st.floats(0.01, 0.5), st.floats(0.0, 1.0)), min_size=1, max_size=8)


def load_of(steps: list[tuple[float, float]]) -> Load:
    times = itertools.accumulate(duration for duration, _ in steps)
    return Load(zip(times, (level for _, level in steps), strict=True))


def integral(function: Callable[[float], float], start_s: float, end_s: float, parts: int = 4000) -> float:
    step_s = (end_s - start_s) / parts
    return math.fsum(function(start_s + (part + 0.5) * step_s) for part in range(parts)) * step_s


@given(STEPS, st.floats(0.0, 4.0))
def test_integrals_of_a_load_are_exact(steps: list[tuple[float, float]], end_s: float) -> None:
    load = load_of(steps)
    assert load.busy_s(end_s) == pytest.approx(integral(load, 0.0, end_s), abs=0.01)
    assert load.busy_sum_s2(end_s) == pytest.approx(integral(load.busy_s, 0.0, end_s), abs=0.001)


@settings(max_examples=20)
@given(STEPS, st.floats(0.0, 0.5), st.floats(0.0, 3.0), st.floats(0.1, 3.0))
def test_true_energy_is_the_integral_of_true_power(
    steps: list[tuple[float, float]], rise_s: float, start_s: float, duration_s: float
) -> None:
    gpu = SimulatedGpu(idle_w=40.0, active_w=240.0, rise_time_s=rise_s if rise_s > 0.01 else 0.0)
    simulation = Simulation(gpu, load_of(steps))
    end_s = start_s + duration_s
    summed = integral(simulation.true_power_w, start_s, end_s)
    assert simulation.true_energy_j(start_s, end_s) == pytest.approx(summed, abs=0.1 * duration_s + 0.2)


def test_power_rises_linearly_within_the_rise_time() -> None:
    gpu = SimulatedGpu(idle_w=50.0, active_w=250.0, rise_time_s=0.2)
    simulation = Simulation(gpu, Load([(1.0, 1.0), (2.0, 0.0)]))
    powers = [simulation.true_power_w(t_s) for t_s in (0.9, 1.0, 1.1, 1.2, 1.9, 2.1, 2.2)]
    assert powers == pytest.approx([50, 50, 150, 250, 250, 150, 50])
    # Late, but all of it.
    assert simulation.true_energy_j(0.0, 3.0) == pytest.approx(50 * 3 + 200)


def test_a_load_takes_steps_in_order_and_between_0_and_1() -> None:
    load = Load([(1.0, 0.5)])
    load.add(1.0, 1.0)
    assert [load(t_s) for t_s in (0.9, 1.0, 5.0)] == [0.0, 1.0, 1.0]
    for from_s, level in ((0.5, 1.0), (2.0, 1.1), (2.0, math.nan)):
        with pytest.raises(ValueError, match=r"order of time|between 0 and 1"):
            load.add(from_s, level)


def test_a_square_load_is_on_and_off_and_ends() -> None:
    load = Load.square(0.1, 0.3, start_s=1.0, end_s=2.05, level=0.5)
    assert [load(t_s) for t_s in (0.9, 1.05, 1.2, 1.45, 2.0, 2.1)] == [0, 0.5, 0, 0.5, 0, 0]
    assert load.busy_s(3.0) == pytest.approx(3 * 0.1 * 0.5)


@pytest.mark.parametrize("period_s", [0.02, 0.101])
def test_readings_change_once_per_update_period(period_s: float) -> None:
    gpu = SimulatedGpu(update_period_s=period_s, noise_w=1.0, phase_s=0.004)
    simulation = Simulation(gpu, Load([(0.0, 1.0)]))
    times = np.arange(0.0, 20 * period_s, 0.001)
    readings = np.array([simulation.reading_w(t_s) for t_s in times])
    changes = times[1:][np.diff(readings) != 0]
    assert len(changes) == 20
    assert np.diff(changes) == pytest.approx(period_s, abs=0.0011)
    assert changes[0] == pytest.approx(0.004, abs=0.0011)


def test_an_a100_sees_a_quarter_of_the_time() -> None:
    # On for the first half of every period: a window at its end sees nothing of that, a whole one half of it.
    load = Load.square(0.05, 0.05, end_s=10.0)
    part = Simulation(SimulatedGpu(idle_w=50, active_w=250, averaging_window_s=0.025), load)
    whole = Simulation(SimulatedGpu(idle_w=50, active_w=250, averaging_window_s=0.1), load)
    times = np.arange(1.0, 9.0, 0.1)
    assert [part.reading_w(t_s) for t_s in times] == pytest.approx([50.0] * len(times))
    assert [whole.reading_w(t_s) for t_s in times] == pytest.approx([150.0] * len(times))
    assert part.true_energy_j(1.0, 9.0) == pytest.approx(8 * 150.0)


def test_a_load_almost_in_step_with_the_sensor_beats() -> None:
    gpu = replace(PRESETS["a100"], noise_w=0.0)
    simulation = Simulation(gpu, Load.square(0.052, 0.052, end_s=20.0))
    updates = np.arange(1.0, 19.0, gpu.update_period_s)
    readings = np.array([simulation.reading_w(t_s) for t_s in updates])
    # 101 ms against 104 ms: the reading wanders between idle and full load with a period of 3.5 s.
    assert np.ptp(readings) > 0.9 * gpu.gain * (gpu.active_w - gpu.idle_w)
    beat = 1 / (1 / 0.101 - 1 / 0.104)
    assert beat == pytest.approx(3.5, abs=0.01)
    lag = round(beat / gpu.update_period_s)
    assert np.corrcoef(readings[:-lag], readings[lag:])[0, 1] > 0.9


def test_delay_shows_the_past() -> None:
    load = Load([(1.0, 1.0)])
    late = Simulation(SimulatedGpu(update_period_s=0.01, averaging_window_s=0.01, delay_s=0.2), load)
    assert (late.reading_w(1.15), late.reading_w(1.25)) == pytest.approx((50.0, 250.0))


def test_the_average_field_lags_by_a_second_and_the_momentary_one_does_not() -> None:
    simulation = Simulation(SimulatedGpu(averaging_window_s=0.1), Load([(1.0, 1.0)]))
    assert simulation.reading_w(1.15) == pytest.approx(250.0)
    assert [simulation.average_w(t_s) for t_s in (1.5, 2.05)] == pytest.approx([150.0, 250.0])


def test_gain_and_offset_are_those_of_the_sensor_not_of_the_truth() -> None:
    a100 = replace(PRESETS["a100"], noise_w=0.0)
    simulation = Simulation(a100, Load([(5.0, 1.0)]))
    # The recorded step run: idle 7.5 % low, load 5.2 % low.
    assert simulation.reading_w(4.0) / simulation.true_power_w(4.0) == pytest.approx(1 - 0.075, abs=5e-4)
    assert simulation.reading_w(9.0) / simulation.true_power_w(9.0) == pytest.approx(1 - 0.052, abs=5e-4)


def test_noise_is_stationary_and_autocorrelated_as_stated() -> None:
    gpu = SimulatedGpu(idle_w=100.0, active_w=100.0, noise_w=2.0, noise_correlation_s=0.5, seed=3)
    simulation = Simulation(gpu, Load())
    readings = np.array([simulation.reading_w(t_s) for t_s in np.arange(0.05, 4000.0, 0.1)])
    assert readings.mean() == pytest.approx(100.0, abs=0.15)
    assert readings.std() == pytest.approx(2.0, rel=0.05)
    away = readings - readings.mean()
    for lag in (1, 5, 10):
        expected = math.exp(-lag * gpu.update_period_s / gpu.noise_correlation_s)
        assert np.mean(away[lag:] * away[:-lag]) / np.var(away) == pytest.approx(expected, abs=0.05)


def test_noise_without_correlation_is_white() -> None:
    simulation = Simulation(SimulatedGpu(noise_w=2.0), Load())
    readings = np.array([simulation.reading_w(t_s) for t_s in np.arange(0.05, 2000.0, 0.1)])
    away = readings - readings.mean()
    assert np.mean(away[1:] * away[:-1]) / np.var(away) == pytest.approx(0.0, abs=0.03)


def test_noise_depends_on_the_seed_and_not_on_who_looks_when() -> None:
    gpu = PRESETS["h100"]
    load = Load([(0.0, 1.0)])
    often, seldom = Simulation(gpu, load), Simulation(gpu, load)
    fine = {round(t_s, 2): often.reading_w(t_s) for t_s in np.arange(0.0, 10.0, 0.01)}
    assert [seldom.reading_w(t_s) for t_s in (9.55, 0.35)] == [fine[9.55], fine[0.35]]
    other = Simulation(replace(gpu, seed=1), load)
    assert other.reading_w(9.55) != fine[9.55]


def test_a_sound_counter_counts_what_the_sensor_sees_of_all_the_time() -> None:
    gpu = SimulatedGpu(idle_w=50, active_w=250, gain=0.95, offset_w=-1.0, counter_period_s=0.1)
    simulation = Simulation(gpu, Load.square(0.05, 0.05, end_s=60.0))
    counted = [simulation.counter_j(t_s) for t_s in (10.0, 10.05, 10.09, 10.1, 50.0)]
    start_j, *later = [value for value in counted if value is not None]
    assert later[:2] == [start_j, start_j]
    assert later[2] - start_j == pytest.approx(0.1 * (0.95 * 150 - 1))
    assert later[3] - start_j == pytest.approx(40 * (0.95 * 150 - 1))
    assert start_j > 0


def test_counter_defects() -> None:
    load = Load([(0.0, 1.0)])
    gpu = SimulatedGpu(idle_w=20.0, active_w=59.9)

    def watts(gpu: SimulatedGpu, start_s: float, end_s: float) -> float:
        simulation = Simulation(gpu, load)
        start_j, end_j = simulation.counter_j(start_s), simulation.counter_j(end_s)
        assert start_j is not None and end_j is not None
        return (end_j - start_j) / (end_s - start_s)

    assert watts(gpu, 10, 20) == pytest.approx(59.9)
    # The laptop whose counter implied 78.0 W while 59.9 W were drawn.
    assert watts(replace(gpu, counter_gain=78.0 / 59.9), 10, 20) == pytest.approx(78.0)
    stuck = replace(gpu, counter_stuck_from_s=15.0)
    assert (watts(stuck, 10, 20), watts(stuck, 16, 20)) == pytest.approx((59.9 / 2, 0.0))
    jumping = replace(gpu, counter_jump_at_s=15.0, counter_jump_j=1000.0)
    assert (watts(jumping, 10, 20), watts(jumping, 16, 20)) == pytest.approx((159.9, 59.9))
    assert Simulation(replace(gpu, counter_period_s=None), load).counter_j(5.0) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_read_what_their_gain_and_offset_say(preset: str) -> None:
    gpu = replace(PRESETS[preset], noise_w=0.0)
    simulation = Simulation(gpu, Load([(0.0, 1.0)]))
    assert simulation.reading_w(10.0) == pytest.approx(gpu.gain * gpu.active_w + gpu.offset_w)
