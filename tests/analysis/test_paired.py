"""Looking after every pair does not make the gate err more often."""

import runpy
from pathlib import Path

import pytest

from perframe.analysis.change import CONFIDENCE
from perframe.analysis.paired import FIRST_LOOK, critical_values, look
from perframe.profiler.stats import student_t

SIMULATION = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/gate_errors.py"))
TRIALS = 1500


def test_nothing_is_decided_before_the_first_look() -> None:
    for pairs in range(1, FIRST_LOOK):
        assert look([1.0] * pairs, [2.0] * pairs, 20) is None
    assert look([1.0, 1.1] * 3, [2.0, 2.1] * 3, 20) is not None
    assert critical_values(FIRST_LOOK - 1) == {}


@pytest.mark.parametrize("most", [6, 7, 20, 60])
def test_early_looks_are_strict_and_the_last_one_nearly_as_wide_as_one_look(most: int) -> None:
    values = critical_values(most)
    assert list(values) == list(range(FIRST_LOOK, most + 1))
    once = student_t(most - 1, 2.0 * CONFIDENCE - 1.0)
    assert once < values[most] < 1.05 * once
    assert all(value > 1.5 * once for pairs, value in values.items() if pairs < most)


@pytest.mark.parametrize("sequential", [False, True])
def test_the_gate_keeps_its_error_rates(sequential: bool) -> None:
    """Small here; `benchmarks/gate_errors.py` has the figures."""

    def rates(change: float, noise: str = "normal") -> tuple[float, float, float]:
        found = SIMULATION["interleaved"](
            change, SIMULATION[noise], sequential=sequential, trials=TRIALS, seed=7
        )
        return found.regression, found.passed, found.pairs

    for noise in ("normal", "heavy_tailed", "correlated", "drifting"):
        regression, _, pairs = rates(0.0, noise)
        assert regression <= 0.01
        assert pairs == 20 or (sequential and pairs < 12)
    at_tolerance, passed, _ = rates(0.02)
    # Three standard errors of the simulation above what is allowed.
    assert at_tolerance <= 0.05 + 0.017 and passed <= 0.05 + 0.017
    regression, passed, pairs = rates(0.03)
    assert regression >= 0.90 - 0.023 and passed == 0.0
    assert pairs == 20 or (sequential and pairs < 19)
