"""Estimates with intervals that cover."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_DEGREES = 1000
"""Beyond so many degrees of freedom Student's t is the normal distribution to three digits."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its confidence interval.

    Attributes:
        value: The mean.
        low: Lower end of the 95 % interval; `None` where one observation allows none.
        high: Upper end.
        n: Independent observations behind it.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def mean_interval(observations: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return the mean of independent observations with Student's t interval.

    Consecutive iterations are correlated and must not be passed here; whole windows may.

    Args:
        observations: At least one finite number.
        confidence: Two-sided coverage of the interval.
    """
    n = len(observations)
    value = math.fsum(observations) / n
    if n < 2:
        return Estimate(value, None, None, n)
    variance = math.fsum((x - value) ** 2 for x in observations) / (n - 1)
    half = student_t(n - 1, confidence) * math.sqrt(variance / n)
    return Estimate(value, value - half, value + half, n)


def quantile(values: Sequence[float], q: float) -> float:
    """Return the q-quantile by linear interpolation between order statistics."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), q))


def student_t(degrees: int, confidence: float) -> float:
    """Return t such that a Student t variable lies in [-t, t] with probability `confidence`.

    The probability has a closed form for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4),
    which is inverted by bisection: scipy would be 100 MB for this one number.
    """
    low, high = 0.0, 1.0
    while _central_probability(high, degrees) < confidence:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        if _central_probability(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _central_probability(t: float, degrees: int) -> float:
    angle = math.atan(t / math.sqrt(degrees))
    cos2 = math.cos(angle) ** 2
    odd = degrees % 2 == 1
    term = math.cos(angle) if odd else 1.0
    series = 0.0
    for k in range(1, degrees // 2 + 1):
        series += term
        term *= cos2 * ((2 * k) / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
    if odd:
        return 2.0 / math.pi * (angle + math.sin(angle) * series)
    return math.sin(angle) * series
