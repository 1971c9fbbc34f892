"""Intervals of a relative change."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.change import (
    ASSUMED_SPREAD,
    Run,
    paired_change,
    ratio_interval,
    run_change,
    run_excess,
)

SIMULATION = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/gate_errors.py"))
POSITIVE = st.floats(0.1, 10.0)


def runs(*means: float, spread: float = 0.01) -> list[Run]:
    """Runs of ten windows each with these means, and windows that differ by `spread`."""
    return [Run(tuple(mean * (1.0 + spread * (-1) ** i) for i in range(10))) for mean in means]


@given(current=POSITIVE, baseline=POSITIVE)
def test_without_any_spread_the_ratio_is_exact(current: float, baseline: float) -> None:
    low, high = ratio_interval(current, baseline, 0.0, 0.0, 2.0)
    # The root of a difference of squares is as exact as the root of what a float rounds.
    exact = pytest.approx(current / baseline - 1.0, rel=1e-6, abs=1e-6)
    assert low == exact and high == exact


@given(current=POSITIVE, baseline=POSITIVE, t=st.floats(0.1, 3.0), share=st.floats(0.001, 0.2))
def test_the_interval_holds_the_ratio_and_grows_with_t(
    current: float, baseline: float, t: float, share: float
) -> None:
    variances = (share * current) ** 2, (share * baseline) ** 2
    low, high = ratio_interval(current, baseline, *variances, t)
    wide_low, wide_high = ratio_interval(current, baseline, *variances, t * 1.5)
    assert low is not None and high is not None and wide_low is not None and wide_high is not None
    assert wide_low <= low <= current / baseline - 1.0 <= high <= wide_high


def test_a_baseline_that_may_be_zero_bounds_nothing() -> None:
    assert ratio_interval(1.0, 1.0, 0.01, 1.0, 2.0) == (None, None)
    assert ratio_interval(1.0, -1.0, 0.01, 0.01, 2.0) == (None, None)


def test_what_pairs_have_in_common_cancels() -> None:
    drift = [1.0 + 0.01 * i for i in range(10)]
    change, evidence = paired_change(drift, [1.03 * each for each in drift], 2.0)
    assert change.low == pytest.approx(0.03) and change.high == pytest.approx(0.03)
    assert evidence.spread == pytest.approx(0.0, abs=1e-9)
    _, shuffled = paired_change(drift, [1.03 * each for each in drift[::-1]], 2.0)
    assert shuffled.spread is not None and shuffled.spread > 0.05


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 3), (3, 1)])
def test_one_run_on_a_side_bounds_no_change_however_steady_its_windows_are(before: int, after: int) -> None:
    change, evidence = run_change(runs(*[1.0] * before, spread=1e-6), runs(*[2.0] * after, spread=1e-6))
    assert change.value == pytest.approx(1.0) and change.low is None and change.high is None
    assert (evidence.source, evidence.spread) == ("unknown", None)


def test_one_run_is_held_against_a_limit_with_an_assumed_spread() -> None:
    change, evidence = run_excess(runs(1.0, spread=1e-6), 1.0, 0.0)
    assert evidence.source == "assumed" and evidence.spread == ASSUMED_SPREAD
    assert change.high == pytest.approx(1.645 * ASSUMED_SPREAD, rel=0.02)
    _, stated = run_excess(runs(1.0), 1.0, 0.0, 0.01)
    assert (stated.source, stated.spread) == ("stated", 0.01)
    _, measured = run_excess(runs(1.0, 1.02), 1.0, 0.0)
    assert measured.source == "measured"


def test_the_windows_own_spread_adds_to_what_is_between_runs() -> None:
    steady, _ = run_change(runs(1.0, spread=0.001), runs(1.0, spread=0.001), 0.01)
    noisy, evidence = run_change(runs(1.0, spread=0.1), runs(1.0, spread=0.1), 0.01)
    assert evidence.source == "stated"
    assert steady.high is not None and noisy.high is not None and noisy.high > 2.0 * steady.high


def test_with_several_runs_the_spread_between_them_is_what_counts() -> None:
    quiet, evidence = run_change(runs(1.0, 1.001, 0.999), runs(1.0, 1.001, 0.999))
    assert evidence.source == "measured" and evidence.spread == pytest.approx(0.001, rel=1e-3)
    loud, _ = run_change(runs(1.0, 1.02, 0.98), runs(1.0, 1.02, 0.98))
    assert quiet.high is not None and loud.high is not None
    assert loud.high / quiet.high == pytest.approx(20.0, rel=0.1)


def test_few_runs_are_less_certain_than_many_of_the_same_spread() -> None:
    few, _ = run_change(runs(0.99, 1.01), runs(0.99, 1.01))
    many, _ = run_change(runs(*[0.99, 1.01] * 5), runs(*[0.99, 1.01] * 5))
    assert few.high is not None and many.high is not None and few.high > 3.0 * many.high


def test_only_what_differs_at_the_windows_ends_widens_the_interval() -> None:
    def change(before: float, after: float) -> float:
        sides = [[Run(run.values, edge_error=edge) for run in runs(1.0)] for edge in (before, after)]
        high = run_change(sides[0], sides[1], 0.01)[0].high
        assert high is not None
        return high

    assert change(0.01, 0.01) == change(0.0, 0.0)
    assert change(0.0, 0.01) == pytest.approx(change(0.0, 0.0) + 0.01)


def test_a_limit_is_one_on_the_truth_so_the_sensor_counts() -> None:
    sure, _ = run_excess(runs(0.29), 0.3, 0.0, 0.005)
    assert sure.high is not None and sure.high < 0.0
    unsure, _ = run_excess(runs(0.29), 0.3, 0.08, 0.005)
    assert unsure.low is not None and unsure.high is not None and unsure.low < 0.0 < unsure.high


def test_intervals_of_runs_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    missed = 0
    trials = 800
    for _ in range(trials):
        sides = [
            [Run(tuple((mean * (1.0 + 0.01 * random.standard_normal() + 0.01 * random.standard_normal(5))).tolist()))
             for _ in range(3)]
            for mean in (1.0, 1.02)
        ]  # fmt: skip
        change, _ = run_change(sides[0], sides[1])
        assert change.low is not None and change.high is not None
        missed += not change.low <= 0.02 <= change.high
    # 5 % at either end.
    assert 0.07 <= missed / trials <= 0.13


def test_runs_that_differ_as_recorded_ones_do_are_told_apart_as_rarely_as_promised() -> None:
    """Small here; `benchmarks/gate_errors.py` has the figures."""
    for change, most in ((0.0, 0.03), (0.02, 0.05)):
        rates = SIMULATION["stored"](change, (2, 2), SIMULATION["as_recorded"], trials=1500, seed=7)
        # Three standard errors of the simulation above what is allowed.
        assert rates.regression <= most + 0.015
        assert rates.passed > 0.01


def test_no_recorded_network_gets_dearer_than_itself() -> None:
    rates = SIMULATION["recorded"](SIMULATION["RECORDED"] / "training", "latency-p50", (1, 1))
    assert (rates.regression, rates.inconclusive) == (0.0, 1.0)
    # Windows alone would say so.
    believed = SIMULATION["recorded"](SIMULATION["RECORDED"] / "training", "latency-p50", (1, 1), stated=0.0)
    assert believed.regression > 0.1
