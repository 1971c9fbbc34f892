"""The network's latency from the times of consecutive queries, which resemble each other.

A latency is that of a query: transfers and computation, as far as trtexec made transfers (from 11.0 on only with
--includeDataTransfers). Queries are enqueued before the one before has ended, so they say nothing about a cold start.
"""

import itertools

from perframe.profiler.batch_means import batch_means
from perframe.profiler.result import Latency, WarmUp, Window
from perframe.profiler.stats import quantile
from perframe.profiler.steadiness import is_stationary
from perframe.profiler.trtexec_files import QueryTimes


def latency_of(times: QueryTimes, batch: int) -> tuple[Latency, tuple[Window, ...]]:
    """Return the network's latency, and the queries cut into as many windows as its interval rests on.

    Args:
        times: Of the queries.
        batch: Frames per query.
    """
    mean = batch_means(times.latency_s).estimate
    edges = [len(times.latency_s) * i // mean.n for i in range(mean.n + 1)]
    windows = tuple(_window(times, batch, first, last) for first, last in itertools.pairwise(edges))
    values = times.latency_s.tolist()
    latency = Latency(
        p50_s=quantile(values, 0.5),
        p90_s=quantile(values, 0.9),
        p99_s=quantile(values, 0.99),
        mean=mean,
        frames_per_s=batch * len(values) / times.span_s,
        samples=len(values),
    )
    return latency, windows


def warm_up_of(times: QueryTimes) -> WarmUp | None:
    """Return how the warm-up went, or None where the file does not have it."""
    if not times.warm_up:
        return None
    return WarmUp(times.warm_up_s, times.warm_up, is_stationary(times.latency_s))


def _window(times: QueryTimes, batch: int, first: int, last: int) -> Window:
    latencies = times.latency_s[first:last].tolist()
    return Window(
        start_s=float(times.start_s[first] - times.start_s[0]),
        duration_s=float(times.end_s[first:last].max() - times.start_s[first]),
        frames=batch * (last - first),
        energy_j=None,
        counter_j=None,
        readings=None,
        cpu_s=None,
        p50_s=quantile(latencies, 0.5),
        p90_s=quantile(latencies, 0.9),
        p99_s=quantile(latencies, 0.99),
    )
