import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.profiler.power_series import change_times_s, joules_until, update_period_s


@given(st.lists(st.floats(0.0, 400.0), min_size=2, max_size=40), st.floats(-3.0, 45.0), st.floats(-3.0, 45.0))
def test_joules_add_up_and_never_fall(watts: list[float], a: float, b: float) -> None:
    t_s, power_w = np.arange(len(watts), dtype=float), np.array(watts)
    low, middle, high = sorted((a, b, (a + b) / 2.0))
    at = joules_until(t_s, power_w, np.array([low, middle, high]))
    assert at[0] <= at[1] + 1e-6 and at[1] <= at[2] + 1e-6
    fine = np.linspace(low, high, 4001)
    on_it = np.interp(fine, t_s, power_w)
    expected = float(np.sum((on_it[1:] + on_it[:-1]) / 2.0 * np.diff(fine)))
    assert at[2] - at[0] == pytest.approx(expected, abs=8.0)


def test_constant_power_is_power_times_time_and_the_ends_hold() -> None:
    at = joules_until(np.array([0.0, 1.0, 5.0]), np.full(3, 60.0), np.array([-1.0, 0.0, 2.5, 6.0]))
    assert at.tolist() == pytest.approx([-60.0, 0.0, 150.0, 360.0])


@pytest.mark.parametrize("period_s", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("repeats", [0.0, 0.4, 0.7])
def test_the_update_period_is_found_although_values_repeat(period_s: float, repeats: float) -> None:
    random = np.random.default_rng(3)
    updates = 600
    new = random.random(updates) >= repeats
    values = np.cumsum(new)  # a repeated value hides its update
    polls = np.cumsum(random.uniform(0.05, 0.13, size=updates * 8)) * period_s
    polls = polls[polls < (updates - 1) * period_s]
    readings = values[(polls / period_s).astype(int)].astype(float)
    found = update_period_s(change_times_s(polls, readings))
    assert found == pytest.approx(period_s, rel=0.03)


def test_jitter_of_polling_does_not_shorten_the_period() -> None:
    times_s = np.cumsum(np.where(np.arange(400) % 20 == 0, 0.05, 0.101))
    assert update_period_s(times_s) == pytest.approx(0.101, rel=0.02)


def test_too_few_changes_tell_nothing() -> None:
    assert update_period_s(np.arange(10) * 0.1) is None
    assert len(change_times_s(np.arange(5.0), np.full(5, 60.0))) == 0
