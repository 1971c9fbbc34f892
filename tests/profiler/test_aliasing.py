import numpy as np
import pytest

from perframe.arrays import Array
from perframe.profiler.aliasing import TOLERATED, Swing, beat_error, find_swing

UPDATE_S = 0.1


def seen(load_period_s: float, span_s: float, window_s: float = 0.025) -> Array:
    """Readings of a square wave between 60 and 200 W through a sensor that sees a part of the time."""
    starts_s = np.arange(0.0, span_s, UPDATE_S)
    inside_s = starts_s[:, np.newaxis] + np.linspace(0.0, window_s, 50)
    on = (inside_s % load_period_s) < load_period_s / 2.0
    readings = 60.0 + 140.0 * on.mean(axis=1)
    return np.asarray(readings + np.random.default_rng(0).normal(0.0, 0.5, size=len(readings)))


def error(swing: Swing, readings: Array) -> float:
    """What the swing makes of the mean of them all."""
    return swing.error(0.0, len(readings) * UPDATE_S, float(readings.sum()) * UPDATE_S)


@pytest.mark.parametrize("load_period_s", [0.103, 0.097, 0.0515])
def test_a_beat_over_a_few_turns_is_found(load_period_s: float) -> None:
    readings = seen(load_period_s, 9.0)
    swing = find_swing(readings, UPDATE_S)
    assert swing is not None and error(swing, readings) > TOLERATED
    assert beat_error(load_period_s, UPDATE_S, 9.0) > TOLERATED


def test_over_many_turns_a_beat_averages_out() -> None:
    readings = seen(0.103, 300.0)
    swing = find_swing(readings, UPDATE_S)
    assert swing is not None and error(swing, readings) < TOLERATED
    assert swing.period_s == pytest.approx(UPDATE_S * 0.103 / 0.003, rel=0.1)
    assert readings.mean() == pytest.approx(130.0, rel=TOLERATED)
    assert beat_error(0.103, UPDATE_S, 300.0) < TOLERATED


@pytest.mark.parametrize("rest", [10, 60, 2000])
def test_rest_around_a_beat_neither_hides_it_nor_belongs_to_it(rest: int) -> None:
    beat = seen(0.103, 9.0)
    noise = np.random.default_rng(3).normal(0.0, 0.5, size=2 * rest)
    swing = find_swing(np.concatenate((59.0 + noise[:rest], beat, 59.0 + noise[rest:])), UPDATE_S)
    assert swing is not None
    begin_s, end_s = rest * UPDATE_S, (rest + len(beat)) * UPDATE_S
    assert swing.period_s == pytest.approx(UPDATE_S * 0.103 / 0.003, rel=0.1)
    assert [swing.low_w, swing.high_w] == pytest.approx([60.0, 200.0], abs=2.0)
    assert swing.error(begin_s - 1.0, begin_s - 0.2, 47.0) == 0.0
    # The load stops while the readings pass the bottom, which looks like rest: half a swing may still be one.
    assert swing.error(end_s + swing.period_s / 2.0, end_s + swing.period_s, 100.0) == 0.0


def test_a_span_shorter_than_a_beat_may_show_its_top_only() -> None:
    readings = seen(0.103, 9.0)
    swing = find_swing(readings, UPDATE_S)
    assert swing is not None
    for first in range(len(readings) - 5):
        span = readings[first : first + 5]
        off = swing.error(first * UPDATE_S, (first + 5) * UPDATE_S, float(span.sum()) * UPDATE_S)
        assert abs(130.0 / span.mean() - 1.0) < off + 0.01


def test_a_load_that_really_switches_slowly_is_no_beat() -> None:
    on = (np.arange(200) // 20) % 2
    assert find_swing(60.0 + 140.0 * on, UPDATE_S) is None
    assert beat_error(4.0, UPDATE_S, 20.0) == 0.0


def test_a_ramp_and_a_single_step_are_no_beat() -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.5, size=200)
    assert find_swing(np.linspace(100.0, 200.0, 200) + noise, UPDATE_S) is None
    assert find_swing(np.repeat([60.0, 200.0, 60.0], [20, 60, 120]) + noise, UPDATE_S) is None
    assert find_swing(np.full(100, 60.0), UPDATE_S) is None


def test_noise_is_seldom_taken_for_a_beat() -> None:
    random = np.random.default_rng(4)
    found = [find_swing(100.0 + 5.0 * random.normal(size=200), UPDATE_S) for _ in range(300)]
    readings = np.full(200, 100.0)
    assert sum(swing is not None and error(swing, readings) > TOLERATED for swing in found) <= 3


def test_a_load_locked_to_the_sensor_may_read_anything() -> None:
    assert beat_error(0.1, 0.1, 60.0) == 0.5
    assert beat_error(0.2, 0.1, 60.0) == 0.25
    assert beat_error(0.0004, 0.1, 60.0) < TOLERATED
