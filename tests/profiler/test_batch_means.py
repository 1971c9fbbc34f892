import runpy
from pathlib import Path

import numpy as np
import pytest

from perframe.profiler.batch_means import batch_means, correlation_time, split_means

SIMULATION = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/coverage.py"))
NOISE = SIMULATION["noise"]


@pytest.mark.parametrize("tau", [1, 5, 10, 20, 50])
def test_intervals_cover_where_naive_and_bootstrap_ones_do_not(tau: int) -> None:
    found = SIMULATION["coverage"](tau, 100, traces=800, seed=11)
    assert found.conclusive > 0.9
    assert 0.92 <= found.batch_means <= 0.97
    assert found.naive < 0.90
    assert found.bootstrap < 0.92


@pytest.mark.parametrize("length", [50, 300])
def test_intervals_cover_from_the_shortest_conclusive_trace_on(length: int) -> None:
    found = SIMULATION["coverage"](10, length, traces=800, seed=5)
    assert 0.92 <= found.batch_means <= 0.97


@pytest.mark.parametrize("tau", [2.0, 10.0, 40.0])
def test_the_correlation_time_is_found(tau: float) -> None:
    traces = NOISE(tau, int(400 * tau), 20, np.random.default_rng(2))
    assert np.mean([correlation_time(trace) for trace in traces]) == pytest.approx(tau, rel=0.15)


def test_a_short_trace_is_inconclusive_and_says_how_much_it_takes() -> None:
    trace = NOISE(20.0, 400, 1, np.random.default_rng(0))[0]
    found = batch_means(trace)
    assert not found.conclusive
    assert (found.estimate.low, found.estimate.high) == (None, None)
    assert found.estimate.value == pytest.approx(trace.mean())
    assert 400 < found.needed < 3000


def test_a_long_trace_has_at_most_twenty_batches() -> None:
    found = batch_means(NOISE(1.0, 5000, 1, np.random.default_rng(0))[0] + 100.0)
    assert found.conclusive and found.estimate.n == 20
    assert found.estimate.low is not None and found.estimate.high is not None
    assert found.estimate.low < 100.1 and found.estimate.high > 99.9


def test_values_that_do_not_vary_have_no_width() -> None:
    found = batch_means(np.full(100, 59.9))
    assert found.estimate.low == pytest.approx(59.9) and found.estimate.high == pytest.approx(59.9)
    assert batch_means(np.array([3.0])).estimate.low is None


def test_batches_share_out_every_value() -> None:
    means = split_means(np.arange(11.0), 3)
    assert means.tolist() == [1.0, 4.5, 8.5]
