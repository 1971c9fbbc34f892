"""The one decision: from an interval and a tolerance to an outcome."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.verdict import Change, Outcome, decide, exit_code, overall

NUMBERS = st.floats(-0.5, 0.5)
# From good to bad.
ORDER: list[Outcome] = ["improvement", "pass", "inconclusive", "regression"]


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.01, 0.01, "pass"),
        (0.01, 0.02, "pass"),
        (-0.01, 0.021, "inconclusive"),
        (0.019, 0.03, "inconclusive"),
        (0.0201, 0.03, "regression"),
        (-0.05, -0.021, "improvement"),
        (-0.05, -0.01, "pass"),
        (None, None, "inconclusive"),
        (math.nan, math.nan, "inconclusive"),
        (math.nan, 0.01, "inconclusive"),
        (0.03, math.nan, "inconclusive"),
        (-math.inf, math.inf, "inconclusive"),
    ],
)
def test_a_side_is_taken_only_where_the_whole_interval_is_on_it(
    low: float | None, high: float | None, outcome: Outcome
) -> None:
    assert decide(Change(0.0, low, high), 0.02) == outcome


def test_a_change_that_is_not_a_number_decides_nothing() -> None:
    assert decide(Change(math.nan, -0.01, 0.01), 0.02) == "inconclusive"


def test_a_negative_tolerance_demands_an_improvement() -> None:
    assert decide(Change(0.0, -0.01, 0.01), -0.05) == "regression"
    assert decide(Change(-0.05, -0.06, -0.04), -0.05) == "inconclusive"
    assert decide(Change(-0.1, -0.11, -0.09), -0.05) == "improvement"


@given(middle=NUMBERS, half=st.floats(0, 0.2), tolerance=NUMBERS, worse=st.floats(0, 0.3))
def test_getting_worse_never_makes_a_better_verdict(
    middle: float, half: float, tolerance: float, worse: float
) -> None:
    def outcome(shift: float) -> int:
        value = middle + shift
        return ORDER.index(decide(Change(value, value - half, value + half), tolerance))

    assert outcome(worse) >= outcome(0.0)


@given(middle=NUMBERS, half=st.floats(0, 0.2), tolerance=NUMBERS, doubt=st.floats(0, 0.3))
def test_knowing_less_never_decides_more(middle: float, half: float, tolerance: float, doubt: float) -> None:
    narrow = decide(Change(middle, middle - half, middle + half), tolerance)
    wide = decide(Change(middle, middle - half - doubt, middle + half + doubt), tolerance)
    assert wide in (narrow, "inconclusive") or (narrow, wide) == ("improvement", "pass")


def test_a_regression_is_told_before_all_else_and_an_improvement_after() -> None:
    assert overall(["pass", "invalid", "regression", "incomparable"]) == "regression"
    assert overall(["inconclusive", "invalid", "incomparable"]) == "invalid"
    assert overall(["pass", "inconclusive", "incomparable"]) == "incomparable"
    assert overall(["pass", "inconclusive"]) == "inconclusive"
    assert overall(["improvement", "pass"]) == "pass"
    assert overall(["improvement"]) == "improvement"


def test_every_outcome_has_the_agreed_exit_code() -> None:
    codes = {"pass": 0, "improvement": 0, "regression": 3, "inconclusive": 4, "incomparable": 4, "invalid": 8}
    outcomes: list[Outcome] = [*ORDER, "incomparable", "invalid"]
    assert {each: exit_code(each) for each in outcomes} == codes
