import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.profiler.stats import mean_interval, quantile, student_t


# From the table of Student's t in any textbook.
@pytest.mark.parametrize(
    ("degrees", "confidence", "expected"),
    [(1, 0.95, 12.7062), (2, 0.95, 4.30265), (9, 0.95, 2.26216), (10, 0.99, 3.16927), (29, 0.9, 1.69913)],
)
def test_quantiles_of_students_t(degrees: int, confidence: float, expected: float) -> None:
    assert student_t(degrees, confidence) == pytest.approx(expected, rel=1e-5)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert student_t(100_000, 0.95) == pytest.approx(1.959964, rel=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.floats(0.1, 10.0))
def test_the_interval_scales_and_holds_the_mean(values: list[float], factor: float) -> None:
    estimate = mean_interval(values)
    scaled = mean_interval([value * factor for value in values])
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low <= estimate.value <= estimate.high
    assert scaled.value == pytest.approx(estimate.value * factor, rel=1e-9, abs=1e-6)


def test_one_observation_allows_no_interval() -> None:
    estimate = mean_interval([3.0])
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (3.0, None, None, 1)


def test_intervals_cover_what_they_promise() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        estimate = mean_interval(random.normal(5.0, 1.0, size=6).tolist())
        assert estimate.low is not None and estimate.high is not None
        covered += estimate.low <= 5.0 <= estimate.high
    # 2000 draws at 95 %: a standard error of half a per cent.
    assert 0.93 <= covered / 2000 <= 0.97


def test_quantiles_interpolate() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert math.isclose(quantile([0.0, 10.0], 0.9), 9.0)
