"""The power readings of a whole measurement, from rest to rest, in as few points as a plot of them needs."""

from collections.abc import Sequence

import numpy as np

from perframe.arrays import Array
from perframe.profiler.result import PowerTrace
from perframe.profiler.sensors.base import PowerSample

# About two for each pixel of a plot's width, and some 60 kB of a profile.
MOST_POINTS = 2000
_DIGITS = 3


def append_reading(readings: list[PowerSample], reading: PowerSample) -> None:
    """Add a reading to those before it; in a run of the same watts only the first and the last are kept."""
    if len(readings) > 1 and readings[-2].power_w == readings[-1].power_w == reading.power_w:
        readings[-1] = reading
    else:
        readings.append(reading)


def power_trace(readings: Sequence[PowerSample], origin_s: float) -> PowerTrace | None:
    """Return readings as a result keeps them: as a line that is drawn from point to point.

    Args:
        readings: In order of time. Those that are not finite are left out.
        origin_s: The moment that time is counted from, on the readings' clock.

    Returns:
        Them, or `None` if there are none.
    """
    time_s = np.array([reading.t_s for reading in readings], dtype=np.float64) - origin_s
    power_w = np.array([reading.power_w for reading in readings], dtype=np.float64)
    finite = np.isfinite(time_s) & np.isfinite(power_w)
    time_s, power_w = time_s[finite], power_w[finite]
    if not len(power_w):
        return None
    kept = _outline(power_w)
    return PowerTrace(
        time_s=tuple(np.round(time_s[kept], _DIGITS).tolist()),
        power_w=tuple(np.round(power_w[kept], _DIGITS).tolist()),
    )


def _outline(values: Array) -> list[int]:
    """Which values are drawn: all, or of each of many stretches the lowest and the highest, and both ends."""
    if len(values) <= MOST_POINTS:
        return list(range(len(values)))
    kept = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), MOST_POINTS // 2 - 1):
        kept.add(int(stretch[values[stretch].argmin()]))
        kept.add(int(stretch[values[stretch].argmax()]))
    return sorted(kept)
