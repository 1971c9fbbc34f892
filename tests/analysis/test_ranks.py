"""Correlations, and what chance gives."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.ranks import chance, dealt_chance, least_significant, orders, pearson, ranks, spearman

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


def test_orders_are_all_or_as_many_at_random() -> None:
    assert {tuple(order) for order in orders(4, 24)} == set(itertools.permutations(range(4)))
    drawn = orders(9, 500)
    assert len(drawn) == 500 and drawn[0].tolist() == list(range(9))
    assert len({tuple(order) for order in drawn.tolist()}) > 490
    assert all(sorted(order) == list(range(9)) for order in drawn.tolist())
    # Of very many things not so many orders that they fill the memory.
    assert orders(5_000, 20_000).shape == (1_000, 5_000)


def test_what_was_dealt_has_two_tails_and_is_never_impossible() -> None:
    dealt = np.linspace(-1.0, 1.0, 101)
    assert dealt_chance(0.0, dealt).p == 1.0
    assert dealt_chance(1.0, dealt).p == dealt_chance(-1.0, dealt).p == pytest.approx(2 / 101)
    assert dealt_chance(0.9, dealt).p == pytest.approx(2 * 6 / 101)
    assert chance(1.0, 11) > 0.0
    assert dealt_chance(0.0, dealt).least == pytest.approx(0.95)


def test_random_deals_are_told_from_chance_in_one_of_twenty() -> None:
    random = np.random.default_rng(0)
    ratio = random.random(9)
    told = 0
    for _ in range(300):
        energies = 1.0 + random.random(9)
        dealt = pearson(1.0 / energies[orders(9, 1000)], ratio)
        told += dealt_chance(float(pearson(1.0 / energies, ratio)), dealt).p <= 0.05
    assert 5 <= told <= 27
