import numpy as np
import pytest

from perframe.arrays import Array
from perframe.profiler.steadiness import is_stationary

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("count", [20, 57, 2000])
def test_noise_around_a_level_is_steady(count: int) -> None:
    assert is_stationary(RANDOM.normal(150.0, 1.0, size=count))
    assert is_stationary(np.full(count, 0.004))


def test_steady_noise_is_seldom_called_drift() -> None:
    called = [not is_stationary(RANDOM.normal(100.0, 10.0, size=200)) for _ in range(400)]
    assert np.mean(called) < 0.05


@pytest.mark.parametrize(
    "level",
    [
        np.linspace(100.0, 110.0, 200),
        np.linspace(110.0, 100.0, 200),
        np.repeat([100.0, 105.0], 100),
        100.0 + 20.0 * np.exp(-np.arange(200) / 60.0),
        np.repeat([60.0, 190.0, 60.0, 190.0], 50),
    ],
)
def test_drifts_steps_and_switching_are_not(level: Array) -> None:
    assert not is_stationary(level + RANDOM.normal(0.0, 0.5, size=len(level)))


def test_a_drift_within_the_tolerance_does_not_matter() -> None:
    rising = np.linspace(100.0, 101.5, 500) + RANDOM.normal(0.0, 0.1, size=500)
    assert is_stationary(rising)
    assert not is_stationary(rising, tolerance=0.005)


def test_a_few_values_show_nothing() -> None:
    assert not is_stationary(np.full(19, 1.0))
