"""Correlations, and what chance gives."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.ranks import chance, least_significant, pearson, ranks, spearman

NUMBERS = st.lists(st.integers(-50, 50), min_size=3, max_size=9)


def test_equal_numbers_share_their_rank() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_a_known_rank_correlation() -> None:
    # Two neighbours of five swapped: 1 - 6 x 2 / (5 x 24).
    assert spearman(np.arange(5.0), np.array([0.0, 2.0, 1.0, 3.0, 4.0])) == pytest.approx(0.9)


@given(NUMBERS, st.integers(0, 2**31))
def test_only_the_order_counts(values: list[int], seed: int) -> None:
    one = np.array(values, dtype=np.float64)
    other = np.random.default_rng(seed).random(len(values))
    if len(set(values)) > 1:
        assert spearman(one, other) == pytest.approx(float(spearman(np.exp(one / 50.0), other)))
        assert spearman(one, other) == pytest.approx(float(spearman(other, one)))
        assert -1.0 - 1e-9 <= float(spearman(one, other)) <= 1.0 + 1e-9


def test_rows_are_correlated_one_by_one() -> None:
    rows = np.random.default_rng(0).random((4, 6))
    other = np.arange(6.0)
    assert spearman(rows, other).tolist() == pytest.approx([float(spearman(row, other)) for row in rows])


def test_what_does_not_vary_has_no_correlation() -> None:
    assert np.isnan(pearson(np.ones(4), np.arange(4.0)))


@pytest.mark.parametrize("n", [4, 5, 6])
def test_chance_is_the_share_of_orders(n: int) -> None:
    first = np.arange(float(n))
    found = [abs(float(spearman(first, np.array(order)))) for order in itertools.permutations(first)]
    for threshold in (0.2, 0.6, 1.0):
        expected = sum(each >= threshold - 1e-9 for each in found) / len(found)
        assert chance(threshold, n) == pytest.approx(expected)
        assert chance(-threshold, n) == chance(threshold, n)


def test_chance_of_many_numbers_is_close_to_the_tables() -> None:
    # Critical value of rho for n = 11 at p = 0.05, two-sided: 0.618.
    assert chance(0.618, 11) == pytest.approx(0.05, abs=0.006)


def test_few_numbers_are_always_chance() -> None:
    assert least_significant(4) is None
    assert least_significant(5) == 1.0
    assert least_significant(6) == pytest.approx(0.8857, abs=1e-4)
