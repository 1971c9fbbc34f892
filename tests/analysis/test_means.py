"""What a network costs by all of its runs, and how far that may be off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.change import ASSUMED_SPREAD
from perframe.analysis.means import Mean, pooled_means
from perframe.arrays import Array


def runs(value: float, spread: float, count: int, draw: np.random.Generator) -> list[Array]:
    """Runs of three equal windows."""
    return [np.full(3, value * (1.0 + spread * draw.standard_normal())) for _ in range(count)]


def test_the_spread_is_pooled_over_networks() -> None:
    draw = np.random.default_rng(1)
    _, spread = pooled_means([runs(5.0, 0.02, 2, draw) for _ in range(400)])
    assert spread.degrees == 400 and spread.deviation == pytest.approx(0.02, rel=0.1)


def test_nothing_run_twice_is_assumed_to_spread() -> None:
    means, spread = pooled_means([[np.full(5, 2.0)], [np.full(5, 3.0)]])
    assert (spread.deviation, spread.degrees) == (ASSUMED_SPREAD, 0)
    assert [mean and mean.relative_error for mean in means] == [ASSUMED_SPREAD, ASSUMED_SPREAD]


def test_a_figure_that_one_run_lacks_is_not_known() -> None:
    means, _ = pooled_means([[np.full(3, 2.0), None], [], [np.full(3, 4.0)]])
    assert [mean and mean.value for mean in means] == [None, None, 4.0]


def test_a_network_that_spreads_far_more_keeps_its_own_spread() -> None:
    draw = np.random.default_rng(3)
    of_each = [runs(5.0, 0.005, 3, draw) for _ in range(20)]
    means, spread = pooled_means([*of_each, [np.full(3, 4.0), np.full(3, 5.0), np.full(3, 6.0)]])
    loud, quiet = means[-1], means[0]
    assert loud is not None and loud.relative_error == pytest.approx(0.2 / 3**0.5)
    assert quiet is not None and quiet.relative_error == pytest.approx(spread.deviation / 3**0.5)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """22 networks of two runs each, whose windows differ less than the runs do."""
    draw = np.random.default_rng(7)
    held = []
    for _ in range(100):
        of_each = [
            [each * (1.0 + 0.002 * draw.standard_normal(3)) for each in runs(5.0, 0.02, 2, draw)]
            for _ in range(22)
        ]
        for mean in pooled_means(of_each)[0]:
            assert mean is not None and mean.estimate.low is not None and mean.estimate.high is not None
            held.append(mean.estimate.low <= 5.0 <= mean.estimate.high)
    assert 0.93 <= np.mean(held) <= 0.975


@given(st.floats(1e-6, 1e6), st.floats(0.0, 10.0), st.integers(1, 50))
def test_intervals_are_above_zero_and_hold_the_mean(value: float, error: float, degrees: int) -> None:
    found = Mean(value, error, degrees, 2).estimate
    assert found.low is not None and found.high is not None
    assert 0.0 < found.low <= value <= found.high
