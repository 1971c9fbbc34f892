"""What each of several networks costs, from all the runs there are of it.

How far a mean may be off comes from its windows and from how much runs of one network differ, which is more. The latter
is pooled, relative, over all networks, since one network is rarely run often: two runs of each of twenty networks give
twenty degrees of freedom and not one. A network whose own runs differ by far more keeps its own spread. Where no
network was run twice it is assumed (`perframe.analysis.change.ASSUMED_SPREAD`).

What is missed at the windows' ends is not in these intervals: by one sensor and plan it is missed of all networks
alike, and they are there to be compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from perframe.analysis.change import ASSUMED_SPREAD
from perframe.arrays import Array
from perframe.profiler.stats import MOST_DEGREES, Estimate, student_t

_CONFIDENCE = 0.95
# Runs of a network that spreads like the others differ by more than this times the pooled spread in 2 to 5 % of cases.
_UNLIKE = 2.0


@dataclass(frozen=True)
class Spread:
    """How far runs of one network differ, relative.

    Attributes:
        deviation: Standard deviation of a run's mean.
        degrees: Degrees of freedom behind it; 0 if no network was run twice, and it is assumed.
    """

    deviation: float
    degrees: int


@dataclass(frozen=True)
class Mean:
    """The mean of one figure of one network.

    Attributes:
        value: The mean over runs.
        relative_error: Its standard error over its value; `None` for a published figure, of which it is not known.
        degrees: Degrees of freedom of that error.
        runs: Runs behind it.
    """

    value: float
    relative_error: float | None
    degrees: int
    runs: int

    @property
    def estimate(self) -> Estimate:
        """With its 95 % interval, a factor to either side: joules and seconds are above zero, however little is known.

        Its observations are the runs.
        """
        if self.relative_error is None:
            return Estimate(self.value, None, None, self.runs)
        factor = 1.0 + student_t(self.degrees, _CONFIDENCE) * self.relative_error
        return Estimate(self.value, self.value / factor, self.value * factor, self.runs)


def pooled_means(runs_of_each: Sequence[Sequence[Array | None]]) -> tuple[list[Mean | None], Spread]:
    """Return the mean of every network, and how far runs of one differ.

    Args:
        runs_of_each: Per network and run, a figure of every window; at least two windows in a run, `None` where the
            figure was not measured.

    Returns:
        In the same order, `None` where one of a network's runs has no such figure.
    """
    known = [[windows for windows in runs if windows is not None] for runs in runs_of_each]
    spread = _pooled_spread(known)
    found: list[Mean | None] = []
    for seen, runs in zip(known, runs_of_each, strict=True):
        if not seen or len(seen) < len(runs):
            found.append(None)
            continue
        n, value = len(seen), fmean(float(windows.mean()) for windows in seen)
        within = sum(float(windows.var(ddof=1)) / len(windows) for windows in seen) / (n * value) ** 2
        if spread.degrees:
            # What windows vary by is in the spread of runs already.
            own = _pooled_spread([seen]).deviation if n > 1 else 0.0
            deviation = own if own > _UNLIKE * spread.deviation else spread.deviation
            error, degrees = max(deviation**2 / n, within), spread.degrees
        else:
            error, degrees = spread.deviation**2 / n + within, sum(len(windows) - 1 for windows in seen)
        found.append(Mean(value, math.sqrt(error), min(degrees, MOST_DEGREES), n))
    return found, spread


def _pooled_spread(runs_of_each: Sequence[Sequence[Array]]) -> Spread:
    squares, degrees = 0.0, 0
    for runs in runs_of_each:
        means = [float(run.mean()) for run in runs]
        if len(means) > 1:
            middle = fmean(means)
            squares += math.fsum((mean / middle - 1.0) ** 2 for mean in means)
            degrees += len(means) - 1
    return Spread(math.sqrt(squares / degrees) if degrees else ASSUMED_SPREAD, degrees)
