"""Axes hold what they must, with ticks at numbers that people read easily."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.report.axes import doubling, linear, logarithmic

positive = st.floats(1e-9, 1e9)


@given(st.lists(positive, min_size=1, max_size=20))
def test_a_linear_axis_holds_every_value_and_begins_at_zero(values: list[float]) -> None:
    axis = linear("energy", values, "J")
    assert axis.low == 0.0
    assert all(-1e-9 <= axis.at(value) <= 1.0 + 1e-9 for value in values)
    assert 2 <= len(axis.ticks) <= 12


@given(st.lists(positive, min_size=1, max_size=20))
def test_a_logarithmic_axis_holds_every_value_inside(values: list[float]) -> None:
    axis = logarithmic("rate", values, "MAC/s")
    assert all(0.0 < axis.at(value) < 1.0 for value in values)


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=12))
def test_a_doubling_axis_keeps_the_order_and_the_distance_of_doublings(values: list[int]) -> None:
    axis = doubling("G", values)
    places = [axis.at(value) for value in sorted(set(values))]
    assert places == sorted(places) and 0.0 <= places[0] <= places[-1] <= 1.0
    assert axis.at(8) - axis.at(4) == pytest.approx(axis.at(4) - axis.at(2))


def test_units_get_the_prefix_that_fits() -> None:
    axis = linear("energy per frame", [0.0, 0.27], "J")
    assert axis.label == "energy per frame, mJ"
    assert [text for _, text in axis.ticks] == ["0", "50", "100", "150", "200", "250", "300"]


def test_equal_values_still_make_an_axis() -> None:
    assert linear("x", [5.0, 5.0], from_zero=False).low < 5.0 < linear("x", [5.0], from_zero=False).high
    assert linear("x", [0.0], "J").high > 0.0
