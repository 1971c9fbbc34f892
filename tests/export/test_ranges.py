"""How int8's ranges follow from what was seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perframe.arrays import Array
from perframe.export.ranges import CALIBRATORS, Magnitudes

VALUES = arrays(np.float32, st.integers(1, 200), elements=st.floats(-(2.0**60), 2.0**60, width=32))


def magnitudes(*batches: Array) -> Magnitudes:
    found = Magnitudes()
    for batch in batches:
        found.add(batch)
    return found


def quantising_error(values: Array, reach: float) -> float:
    """Mean square of what rounding to int8 of this range does."""
    step = reach / 127
    rounded = np.clip(np.rint(values / step), -127, 127) * step
    return float(np.mean((rounded - values) ** 2))


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_minmax_is_the_largest_magnitude_of_all_batches(batches: list[Array]) -> None:
    assert magnitudes(*batches).range("minmax") == np.abs(np.concatenate(batches)).max()


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_entropy_never_goes_beyond_what_was_seen_and_saturates_few(batches: list[Array]) -> None:
    values = np.abs(np.concatenate(batches)).astype(np.float64)
    reach = magnitudes(*batches).range("entropy")
    assert 0 <= reach <= values.max()
    # At most one in a thousand of those that are not zero, give or take a bin.
    bin_width = 2 * values.max() / 2048
    assert np.count_nonzero(values > reach + bin_width) <= 0.001 * np.count_nonzero(values)


@given(VALUES, st.integers(-20, 20))
def test_ranges_scale_with_the_values(values: Array, exponent: int) -> None:
    factor = 2.0**exponent
    for calibrator in CALIBRATORS:
        scaled = magnitudes(values * np.float32(factor)).range(calibrator)
        assert scaled == pytest.approx(magnitudes(values).range(calibrator) * factor, rel=1e-6)


def test_batches_that_reach_ever_farther_are_counted_as_one() -> None:
    values = np.random.default_rng(0).laplace(size=200_000).astype(np.float32)
    # Sorted, every batch reaches beyond the bins of the ones before.
    apart = magnitudes(*np.array_split(values[np.argsort(np.abs(values))], 20))
    assert apart.range("entropy") == pytest.approx(magnitudes(values).range("entropy"), rel=0.1)


def test_entropy_gives_up_an_outlier_for_finer_steps() -> None:
    values = np.append(np.random.default_rng(0).standard_normal(100_000), 100.0).astype(np.float32)
    found = magnitudes(values)
    assert found.range("minmax") == 100.0
    assert 3.0 < found.range("entropy") < 10.0
    inside = values[:-1]
    assert quantising_error(inside, found.range("entropy")) < 0.01 * quantising_error(inside, 100.0)


def test_entropy_keeps_a_range_that_is_used_evenly() -> None:
    values = np.random.default_rng(0).random(100_000, np.float32)
    assert magnitudes(values).range("entropy") == pytest.approx(1.0, abs=0.02)


def test_values_far_from_zero_are_not_all_saturated() -> None:
    # Averages over a feature map: no small ones, and any range below them would hold one bin at most.
    values = np.random.default_rng(0).normal(1.1, 0.2, 60_000).astype(np.float32)
    found = magnitudes(values)
    assert found.range("entropy") > 0.7 * found.range("minmax")


@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_zeros_have_no_range(calibrator: str) -> None:
    assert magnitudes(np.zeros(5, np.float32)).range(calibrator) == 0.0
    assert Magnitudes().range(calibrator) == 0.0
