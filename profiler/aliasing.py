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
_ALIKE, _UNLIKE = 0.7, -0.5
# A beat is seen if the trace holds more than one and a half of it, and the sensor resolves it by 8 readings.
_LARGEST_SHARE, _LEAST_READINGS = 0.6, 8
# A load that really switches slowly jumps between its levels. In a beat the sensor's window slides over the edge.
_BETWEEN = 0.12
_HARMONICS = 4
# A load slower than this many updates is followed by the readings, and no beat.
_RESOLVED = 4.0
# Bottom and top are those of all readings but this share at either end, and but this many: a short load in a long
# trace has few readings.
_STRAY_SHARE, _STRAY = 0.02, 8
# Within three readings a beat changes by less than this share of its whole height, and a load's switch by more.
_JUMP = 0.75


@dataclass(frozen=True)
class Swing:
    """A slow periodic swing of the readings.

    Attributes:
        period_s: Of the swing.
        low_w: Its bottom.
        high_w: Its top.
        from_s: When the readings begin to swing.
        to_s: When they end.
    """

    period_s: float
    low_w: float
    high_w: float
    from_s: float
    to_s: float

    def error(self, from_s: float, to_s: float, energy_j: float) -> float:
        """How far the energy of a span may be off, relative: half a swing too much, or too little.

        A span that holds less than that may show its top only, or its bottom.

        Args:
            from_s: Begin of the span.
            to_s: Its end.
            energy_j: Its energy, by the readings.
        """
        swinging_s = max(min(to_s, self.to_s) - max(from_s, self.from_s), 0.0)
        missed_j = (self.high_w - self.low_w) / 2.0 * min(swinging_s, self.period_s / 2.0)
        return missed_j / energy_j if energy_j > 0.0 else 0.0


def find_swing(power_w: Array, step_s: float, start_s: float = 0.0) -> Swing | None:
    """Look for the slow swing that a beat leaves in the readings.

    Rest before and after the load is left out. A load that really swings so slowly and smoothly looks the same as a
    beat; a load that switches slowly does not.

    Args:
        power_w: Mean watts per update of the sensor, evenly spaced.
        step_s: Seconds between them.
        start_s: When the first of them begins.
    """
    n = len(power_w)
    for first, last in (_loaded(power_w), (0, n)):
        lag = _swing_lag(power_w[first:last])
        if lag is None:
            continue
        low_w, high_w = _levels(power_w[first:last])
        # The half swing before the first and after the last passage of the middle belongs to it, unless the load was
        # switched there.
        before, after = (
            0.0 if _moved(power_w, edge) > _JUMP * (high_w - low_w) else lag / 2.0 for edge in (first, last)
        )
        return Swing(
            period_s=lag * step_s,
            low_w=low_w,
            high_w=high_w,
            from_s=start_s + max(first - before, 0.0) * step_s,
            to_s=start_s + min(last + after, n) * step_s,
        )
    return None


def _levels(power_w: Array) -> tuple[float, float]:
    """Bottom and top of the readings, a few stray ones left out."""
    ordered_w = np.sort(power_w)
    stray = min(_STRAY, int(_STRAY_SHARE * len(ordered_w)))
    return float(ordered_w[stray]), float(ordered_w[-1 - stray])


def _loaded(power_w: Array) -> tuple[int, int]:
    """From where to where readings are on both sides of the middle between bottom and top."""
    middle_w = sum(_levels(power_w)) / 2.0
    passages = np.flatnonzero(np.diff(power_w > middle_w)) + 1
    return (int(passages[0]), int(passages[-1])) if len(passages) else (0, 0)


def _moved(power_w: Array, edge: int) -> float:
    """How far the power moves around the beginning of reading `edge`."""
    return abs(float(power_w[min(edge + 1, len(power_w) - 1)] - power_w[max(edge - 2, 0)]))


def _swing_lag(power_w: Array) -> int | None:
    """How many readings a swing takes, if they swing."""
    n = len(power_w)
    if n < 2 * _LEAST_READINGS:
        return None
    likeness = autocorrelation(power_w)
    if likeness is None:
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
    low, high = _levels(power_w)
    margin = 0.15 * (high - low)
    between = float(np.mean((power_w > low + margin) & (power_w < high - margin)))
    return lag if between >= _BETWEEN else None


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
