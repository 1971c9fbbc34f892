"""Whether a series has stopped rising and falling: the end of a warm-up, the worth of a mean."""

import math
from collections.abc import Sequence

import numpy as np

from perframe.arrays import Array
from perframe.profiler.batch_means import split_means
from perframe.profiler.stats import student_t

_BATCHES = 10
_CONFIDENCE = 0.99
# A drift that is known only to within this many tolerances has not been shown to be absent.
_VAGUE = 10.0


def is_stationary(values: Sequence[float] | Array, *, tolerance: float = 0.02) -> bool:
    """Tell whether a series keeps its level, online or afterwards, for latency as for power.

    Two tests over the means of 10 batches, since neighbouring values resemble each other: the slope of a straight
    line, and the second half against the first. A drift counts if it is significant (Student's t, 99 %) and
    larger than `tolerance`: over a long series even a drift that matters to nobody is significant.

    Args:
        values: Finite numbers in order of time. While warming up, pass the last stretch, not everything
            since the start.
        tolerance: Drift over the series that does not matter, relative to the mean.

    Returns:
        False also where nothing has been shown yet: there are fewer than 20 values, or their level changes so
        much (a load that switches on and off) that a drift could not be told from it.
    """
    if len(values) < 2 * _BATCHES:
        return False
    means = split_means(np.asarray(values, dtype=np.float64), _BATCHES)
    allowed = tolerance * abs(float(means.mean()))
    critical = student_t(_BATCHES - 2, _CONFIDENCE)
    return all(
        critical * error <= _VAGUE * allowed and abs(drift) <= max(allowed, critical * error)
        for drift, error in (_by_slope(means), _by_halves(means))
    )


def _by_slope(means: Array) -> tuple[float, float]:
    """Drift over the whole series along a fitted line, and its standard error."""
    n = len(means)
    position = np.arange(n) - (n - 1) / 2.0
    spread = float(np.sum(position**2))
    slope = float(np.sum(position * means)) / spread
    left = means - means.mean() - slope * position
    error = math.sqrt(float(np.sum(left**2)) / (n - 2) / spread)
    return slope * n, error * n


def _by_halves(means: Array) -> tuple[float, float]:
    """Second half less the first, and its standard error."""
    first, second = means[: len(means) // 2], means[len(means) // 2 :]
    variance = (np.var(first, ddof=1) / len(first)) + (np.var(second, ddof=1) / len(second))
    return float(second.mean() - first.mean()), math.sqrt(float(variance))
