"""Times and watts as arrays: joules between moments, how often the reading changes, and even steps."""

import numpy as np

from perframe.arrays import Array

# Below this many changes of the reading, their spacing says nothing about the sensor.
_LEAST_CHANGES = 10
# A value that the sensor repeats hides an update; beyond this many in a row the reading may as well stand still.
_MOST_MERGED = 5


def joules_until(t_s: Array, power_w: Array, at_s: Array) -> Array:
    """Return the joules from the first sample until each of `at_s`, by the trapezoidal rule.

    Differences of the result are the joules between two moments; before the first and after the last sample
    the nearest one holds.

    Args:
        t_s: Times of the samples, strictly rising.
        power_w: Watts at them.
        at_s: Any moments.
    """
    if len(t_s) == 1:
        return np.asarray(power_w[0] * (at_s - t_s[0]), dtype=np.float64)
    steps_s = np.diff(t_s)
    total_j = np.concatenate(([0.0], np.cumsum((power_w[1:] + power_w[:-1]) / 2.0 * steps_s)))
    left = np.clip(np.searchsorted(t_s, at_s, side="right") - 1, 0, len(t_s) - 2)
    inside_s = np.clip(at_s, t_s[0], t_s[-1]) - t_s[left]
    slope = (power_w[left + 1] - power_w[left]) / steps_s[left]
    inside_j = total_j[left] + (power_w[left] + slope * inside_s / 2.0) * inside_s
    outside_j = np.minimum(at_s - t_s[0], 0.0) * power_w[0] + np.maximum(at_s - t_s[-1], 0.0) * power_w[-1]
    return np.asarray(inside_j + outside_j, dtype=np.float64)


def mean_power_w(t_s: Array, power_w: Array, edges_s: Array) -> Array:
    """Return the mean watts between each two neighbours of `edges_s`."""
    return np.asarray(np.diff(joules_until(t_s, power_w, edges_s)) / np.diff(edges_s), dtype=np.float64)


def change_times_s(t_s: Array, power_w: Array) -> Array:
    """Return when the reading changed; polling faster than the sensor updates only repeats it."""
    return np.asarray(t_s[1:][np.diff(power_w) != 0.0], dtype=np.float64)


def update_period_s(changes_s: Array) -> float | None:
    """Return how often a sensor updates, from the times at which its reading changed.

    The minimum interval is polling jitter, and an update that repeats the last value merges two intervals or
    more. So the shortest group of intervals is found, every interval is divided by the number of updates it must
    span, and the median of them all is refined by the mean, in which the jitter of neighbours cancels.

    Returns:
        Seconds, or `None` if there are too few changes to say.
    """
    if len(changes_s) <= _LEAST_CHANGES:
        return None
    intervals_s = np.diff(changes_s)
    short_s = float(np.quantile(intervals_s, 0.1))
    period_s = float(np.median(intervals_s[(intervals_s > 0.6 * short_s) & (intervals_s < 1.5 * short_s)]))
    for _ in range(3):
        updates = np.round(intervals_s / period_s)
        usable = (
            (updates >= 1)
            & (updates <= _MOST_MERGED)
            & (np.abs(intervals_s - updates * period_s) < 0.35 * period_s)
        )
        period_s = float(intervals_s[usable].sum() / updates[usable].sum())
    return period_s
