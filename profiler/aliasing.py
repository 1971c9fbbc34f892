"""A periodic load that beats with the sensor: readings that swing slowly although nothing does.

A sensor that sees 25 ms of every 101 ms samples the load. If the load's period is close to a multiple or a simple
fraction of that, each reading falls a little later in the load's cycle than the one before, and the readings
trace that cycle in slow motion. Over many such beats the errors cancel; over a few the mean is luck.
"""

import math
from dataclasses import dataclass

import numpy as np

from perframe.arrays import Array
from perframe.profiler.batch_means import autocorrelation

TOLERATED = 0.01
"""Relative error of a mean from an incomplete beat that is let pass."""

SHORTEST_WINDOW_S = 0.010
"""The shortest averaging window known of any sensor (10 ms, arXiv 2312.02741): it smooths the least."""

# How alike the readings must be one beat later, and how unlike half a beat later.
_ALIKE, _UNLIKE = 0.5, -0.5
# A beat is seen if the trace holds more than one and a half of it, and the sensor resolves it by 8 readings.
_LARGEST_SHARE, _LEAST_READINGS = 0.6, 8
# A load that really switches slowly jumps between its levels. In a beat the sensor's window slides over the edge.
_BETWEEN = 0.12
_HARMONICS = 4
# A load slower than this many updates is followed by the readings, and no beat.
_RESOLVED = 4.0


@dataclass(frozen=True)
class Swing:
    """A slow periodic swing of the readings.

    Attributes:
        period_s: Of the swing.
        amplitude: Half of the way from bottom to top, relative to the mean.
        cycles: How many of them the trace holds.
    """

    period_s: float
    amplitude: float
    cycles: float

    @property
    def error(self) -> float:
        """How far the mean may be off, relative, because the last swing is incomplete."""
        return self.amplitude / (2.0 * self.cycles)


def find_swing(power_w: Array, step_s: float) -> Swing | None:
    """Look for the slow swing that a beat leaves in the readings.

    A load that really swings so slowly and smoothly looks the same; a load that switches slowly does not.

    Args:
        power_w: Mean watts per update of the sensor, evenly spaced.
        step_s: Seconds between them.
    """
    n = len(power_w)
    likeness = autocorrelation(power_w)
    if likeness is None or n < 2 * _LEAST_READINGS:
        return None
    # Each lag by the number of pairs that it has: a long swing has few.
    likeness = likeness / (1.0 - np.arange(n) / n)
    negative = np.flatnonzero(likeness < 0.0)
    last = int(n * _LARGEST_SHARE) + 1
    if len(negative) == 0 or negative[0] + 1 >= last:
        return None
    beyond = likeness[negative[0] : last]
    top = float(beyond.max())
    # Two and three beats later the readings are as alike: the first of these peaks counts.
    first = int(np.argmax(beyond >= 0.9 * top))
    rest = beyond[first:]
    end = int(np.argmax(rest < 0.8 * top)) or len(rest)
    lag = int(negative[0]) + first + int(np.argmax(rest[:end]))
    if top < _ALIKE or lag < _LEAST_READINGS or float(likeness[:lag].min()) > _UNLIKE:
        return None
    low, high = (float(level) for level in np.quantile(power_w, (0.02, 0.98)))
    margin = 0.15 * (high - low)
    if float(np.mean((power_w > low + margin) & (power_w < high - margin))) < _BETWEEN:
        return None
    mean = float(np.mean(power_w))
    if mean <= 0.0:
        return None
    return Swing(period_s=lag * step_s, amplitude=(high - low) / 2.0 / mean, cycles=n / lag)


def beat_error(
    load_period_s: float,
    update_period_s: float,
    span_s: float,
    *,
    window_s: float = SHORTEST_WINDOW_S,
    amplitude: float = 0.5,
) -> float:
    """Return how far a sensor's mean may be off, relative, because a load of known period beats with it.

    Harmonic h of a load's square wave (1/h as strong) appears at the distance of its frequency from the nearest
    multiple of the sensor's; the sensor's averaging weakens it at most to 1 / (pi h w / T) for window w and period T.
    An incomplete beat shifts the mean by half of its amplitude over the number of beats in the span.

    Args:
        load_period_s: Period of the load, such as the time between inferences or of on and off.
        update_period_s: Of the sensor.
        span_s: How long is measured.
        window_s: How long the sensor averages per update.
        amplitude: Of the load, relative to its mean; 0.5 for one that rises to three times what it falls to.
    """
    if load_period_s >= _RESOLVED * update_period_s:
        return 0.0
    worst = 0.0
    for harmonic in range(1, _HARMONICS + 1):
        turns = harmonic * update_period_s / load_period_s
        beats = abs(turns - round(turns)) / update_period_s * span_s
        smoothed = min(1.0, load_period_s / (math.pi * harmonic * window_s))
        worst = max(worst, amplitude / harmonic * smoothed / max(2.0 * beats, 1.0))
    return worst
