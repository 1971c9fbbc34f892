"""How busy a simulated device is: a step function of time that can be integrated exactly."""

import math
from bisect import bisect_right
from collections.abc import Iterable


class Load:
    """A load between 0 (idle) and 1 (busy), constant between steps; 0 before the first, the last one goes on.

    Steps may be added while it is in use, as a run goes on.

    Args:
        steps: Times in seconds and the level from then on, in order of time.
    """

    def __init__(self, steps: Iterable[tuple[float, float]] = ()) -> None:
        self._times_s: list[float] = []
        self._levels: list[float] = []
        # The load's integral, and the integral of that, up to each step.
        self._busy: list[float] = []
        self._busy_sum: list[float] = []
        for from_s, level in steps:
            self.add(from_s, level)

    @classmethod
    def square(
        cls, on_s: float, off_s: float, *, start_s: float = 0.0, end_s: float, level: float = 1.0
    ) -> "Load":
        """Return `level` for `on_s`, nothing for `off_s`, and so on until `end_s`."""
        steps = []
        for cycle in range(math.ceil((end_s - start_s) / (on_s + off_s))):
            from_s = start_s + cycle * (on_s + off_s)
            steps += [(from_s, level), (min(from_s + on_s, end_s), 0.0)]
        return cls(steps)

    def add(self, from_s: float, level: float) -> None:
        """Set the level from a time on; a second step at the same time replaces the first.

        Raises:
            ValueError: The time lies before the last step, or the level is outside 0 to 1.
        """
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"a load is between 0 and 1, not {level}")
        if self._times_s and from_s < self._times_s[-1]:
            raise ValueError(f"steps come in order of time: {from_s} s after {self._times_s[-1]} s")
        if self._times_s and from_s == self._times_s[-1]:
            self._levels[-1] = level
            return
        if self._levels and level == self._levels[-1]:
            return
        busy, busy_sum = self.busy_s(from_s), self.busy_sum_s2(from_s)
        self._levels.append(level)
        self._busy.append(busy)
        self._busy_sum.append(busy_sum)
        # Last, since another thread may look up a time meanwhile, and finds its step by this list.
        self._times_s.append(from_s)

    def __call__(self, t_s: float) -> float:
        """Return the load at a time."""
        step = bisect_right(self._times_s, t_s) - 1
        return self._levels[step] if step >= 0 else 0.0

    def busy_s(self, t_s: float) -> float:
        """Integral of the load up to a time."""
        step = bisect_right(self._times_s, t_s) - 1
        if step < 0:
            return 0.0
        return self._busy[step] + self._levels[step] * (t_s - self._times_s[step])

    def busy_sum_s2(self, t_s: float) -> float:
        """Integral of `busy_s` up to a time: what a load that is averaged over a while integrates to."""
        step = bisect_right(self._times_s, t_s) - 1
        if step < 0:
            return 0.0
        since_s = t_s - self._times_s[step]
        return self._busy_sum[step] + self._busy[step] * since_s + self._levels[step] * since_s**2 / 2
