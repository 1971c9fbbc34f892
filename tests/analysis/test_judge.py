"""What an effect says to a claim, and how often that is wrong."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.claims import CLAIMS
from perframe.analysis.judge import decide
from perframe.profiler.stats import Estimate

CODES = {claim.code: claim for claim in CLAIMS}
SIMULATION = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/finding_errors.py"))


@pytest.mark.parametrize(
    ("low", "high", "published", "expected"),
    [
        (0.05, 0.07, (0.04, 0.08), "holds"),
        (0.03, 0.05, (0.04, 0.08), "holds"),
        (0.01, 0.03, (0.04, 0.08), "weaker"),
        (0.09, 0.10, (0.04, 0.08), "stronger"),
        # Less than was published, whether or not there is anything.
        (-0.01, 0.03, (0.04, 0.08), "weaker"),
        (-0.01, 0.05, (0.04, 0.08), "inconclusive"),
        (-0.01, 0.03, None, "inconclusive"),
        (-0.03, -0.01, (0.04, 0.08), "reversed"),
        (0.01, 0.03, None, "holds"),
    ],
)
def test_a_side_is_taken_where_the_whole_interval_is(
    low: float, high: float, published: tuple[float, float] | None, expected: str
) -> None:
    assert decide(Estimate((low + high) / 2, low, high, 9), published) == expected


@pytest.mark.parametrize(
    ("value", "chance", "published", "expected"),
    [
        # Its interval reaches above what was published, its value does not: the errors are in the range already.
        (0.85, 0.001, (0.9, 1.0), "weaker"),
        (-0.3, 0.4, (0.9, 1.0), "weaker"),
        (0.3, 0.4, (0.2, 1.0), "inconclusive"),
        (0.3, 0.4, None, "inconclusive"),
        (-0.8, 0.001, (0.9, 1.0), "reversed"),
        (0.95, 0.001, (0.9, 1.0), "holds"),
        (0.95, 0.001, (0.5, 0.9), "stronger"),
    ],
)
def test_a_correlation_is_told_from_chance_and_held_against_a_range(
    value: float, chance: float, published: tuple[float, float] | None, expected: str
) -> None:
    assert decide(Estimate(value, value - 0.2, value + 0.2, 9), published, chance) == expected


def test_nothing_is_decided_without_an_interval() -> None:
    assert decide(Estimate(0.5, None, None, 1), None) == "inconclusive"


@given(st.floats(-1, 1), st.floats(0.001, 0.5), st.floats(0.0, 1.0))
def test_a_wider_interval_never_says_more(value: float, half: float, wider: float) -> None:
    narrow = decide(Estimate(value, value - half, value + half, 9), (0.1, 0.2))
    wide = decide(Estimate(value, value - half - wider, value + half + wider, 9), (0.1, 0.2))
    # That an effect is reversed says that it is weaker too.
    assert wide in (narrow, "inconclusive", "holds") or (narrow, wide) == ("reversed", "weaker")


@pytest.mark.parametrize("code", [claim.code for claim in CLAIMS if claim.code != "weight-reuse"])
def test_noise_alone_is_no_finding(code: str) -> None:
    """Small here; `benchmarks/finding_errors.py` has the figures."""
    for spread in (0.01, 0.1):
        found = SIMULATION["rates"](CODES[code], spread, trials=4, seed=3)
        # Nothing was published of some.
        wrong = [found.get(outcome, 0.0) for outcome in ("weaker", "stronger", "reversed")]
        assert max(wrong) <= 0.1, (spread, found)
