"""How much a mean has changed, with an interval: from paired windows, or from whole runs.

Runs of one program differ by more than their windows do: memory lands elsewhere, clocks and temperature
settle otherwise. The interval over the windows of one run is therefore too narrow for a comparison of runs.
What it takes is the spread *between runs*:

* With two runs or more of each it is measured. Every run's mean is one observation; the relative spread is taken
  to be alike on both sides, pooled over them, and Student's t allows for how few they are.
* A caller who knows it may state it: a relative standard deviation, to which the windows' own uncertainty is added
  (with the degrees of freedom of Welch and Satterthwaite).
* Otherwise it is not known. A run by itself may be the bad one, so a change has no interval then, and nothing is
  decided. Assuming a spread would not do: recorded runs of one program differ by 0.6 to 10.7 %, depending on network
  and batch size, and now and then by half of their value, so that even with 10 % assumed one run against one fails a
  gate of 2 % in 1.5 % of cases without any change. Nor would the spread of the other side's runs, which do not tell
  whether this one is the bad one. Only an absolute limit is held against one run, with `ASSUMED_SPREAD`: one that is
  far away is told from it.

`benchmarks/gate_errors.py` shows the error rates that come of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from perframe.analysis.verdict import Change, Evidence
from perframe.profiler.stats import MOST_DEGREES, student_t

CONFIDENCE = 0.95
"""Of each end of an interval by itself."""

ASSUMED_SPREAD = 0.10
"""Relative standard deviation between runs, where nothing is known of it and something must be taken.

It is that of the worst series in `results/`, rounded: on a virtual machine with 2 cores of an AMD EPYC, runs of
MobileNet-V1 at batch 1 differ by 10.6 % in energy, 10.7 % in median latency and 10.2 % in the 99th percentile; the best
series, of ResNeXt-50 at batch 16, by 0.6, 0.7 and 0.9 %.
"""


@dataclass(frozen=True)
class Run:
    """One metric in one run.

    Attributes:
        values: Its value in every window; at least two, of a positive mean.
        offset: By how much all of them may be off together.
        edge_error: What may be missed at the windows' ends, relative.
    """

    values: tuple[float, ...]
    offset: float = 0.0
    edge_error: float = 0.0

    @property
    def mean(self) -> float:
        """Over the windows."""
        return fmean(self.values)

    @property
    def variance(self) -> float:
        """Of the mean, as far as the windows tell.

        What is off by anything up to a bound has a third of its square as variance.
        """
        return _covariance(self.values, self.values) / len(self.values) + self.offset**2 / 3.0


def ratio_interval(
    current: float,
    baseline: float,
    current_variance: float,
    baseline_variance: float,
    t: float,
    covariance: float = 0.0,
) -> tuple[float | None, float | None]:
    """Return the ends between which a ratio of two means lies, less 1.

    They are Fieller's: every ratio r for which the mean of current - r x baseline is within `t` of its own
    standard errors from zero. For normal observations this is exact, however large the spread.

    Args:
        current: Mean above the line.
        baseline: Mean below it, positive.
        current_variance: Of that mean.
        baseline_variance: Of that mean.
        t: How many standard errors.
        covariance: Of both means, where they were observed in pairs.

    Returns:
        The ends; `None` twice where the baseline cannot be told from zero, so that nothing bounds the ratio.
    """
    square = baseline**2 - t**2 * baseline_variance
    if baseline <= 0.0 or square <= 0.0:
        return None, None
    half = current * baseline - t**2 * covariance
    root = math.sqrt(max(half**2 - square * (current**2 - t**2 * current_variance), 0.0))
    return (half - root) / square - 1.0, (half + root) / square - 1.0


def paired_change(baseline: Sequence[float], current: Sequence[float], t: float) -> tuple[Change, Evidence]:
    """Return the relative change of the mean over pairs, and what its interval rests on.

    Args:
        baseline: One value per pair; at least two, of a positive mean.
        current: As many.
        t: How many standard errors the interval reaches to both sides.
    """
    n = len(baseline)
    before, after = fmean(baseline), fmean(current)
    before_variance, after_variance, covariance = (
        _covariance(one, other)
        for one, other in ((baseline, baseline), (current, current), (baseline, current))
    )
    low, high = ratio_interval(after, before, after_variance / n, before_variance / n, t, covariance / n)
    ratio = after / before
    # Of current - ratio x baseline, which is what a pair says about the ratio.
    square = after_variance - 2.0 * ratio * covariance + ratio**2 * before_variance
    spread = math.sqrt(max(square, 0.0)) / before
    return Change(ratio - 1.0, low, high), Evidence("pairs", n, n, spread, "measured")


def _covariance(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two series, or the variance of one with itself. The standard library's takes 20 times as long."""
    mean, other_mean = fmean(one), fmean(other)
    return math.fsum((x - mean) * (y - other_mean) for x, y in zip(one, other, strict=True)) / (len(one) - 1)


def run_change(
    baseline: Sequence[Run],
    current: Sequence[Run],
    stated_spread: float | None = None,
) -> tuple[Change, Evidence]:
    """Return the relative change of the mean over runs, and what its interval rests on.

    Where nothing is known of the spread between runs, nothing bounds the change.

    What is missed at the windows' ends is the same share on both sides under the same plan, and cancels; the
    interval is widened by what differs.

    Args:
        baseline: Runs of what is compared against; at least one.
        current: Runs of what is judged; at least one.
        stated_spread: Relative standard deviation between runs; `None` measures it, which takes two runs or more
            of each.
    """
    evidence = _evidence(baseline, current, stated_spread)
    before, after = _mean(baseline, evidence), _mean(current, evidence)
    ratio = after.value / before.value
    if evidence.spread is None:
        return Change(ratio - 1.0, None, None), evidence
    low, high = ratio_interval(
        after.value, before.value, after.variance, before.variance, _t(evidence, after, before, ratio)
    )
    edge = abs(fmean(run.edge_error for run in current) - fmean(run.edge_error for run in baseline))
    return Change(
        ratio - 1.0, None if low is None else low - edge, None if high is None else high + edge
    ), evidence


def run_excess(
    current: Sequence[Run],
    limit: float,
    absolute_uncertainty: float,
    stated_spread: float | None = None,
) -> tuple[Change, Evidence]:
    """Return by how much the mean over runs exceeds an absolute limit, relative to it.

    Args:
        current: Runs of what is judged; at least one.
        limit: Positive.
        absolute_uncertainty: How far off the truth the sensor may be, relative: the limit is one on the truth.
        stated_spread: Relative standard deviation between runs; `None` measures it, or assumes `ASSUMED_SPREAD` of
            one run.
    """
    evidence = _evidence((), current, stated_spread)
    if evidence.spread is None:
        evidence = replace(evidence, spread=ASSUMED_SPREAD, source="assumed")
    mean = _mean(current, evidence)
    half = _t(evidence, mean, _Mean(limit, 0.0, 0.0), 1.0) * math.sqrt(mean.variance)
    half += mean.value * (fmean(run.edge_error for run in current) + absolute_uncertainty)
    return Change(
        mean.value / limit - 1.0, (mean.value - half) / limit - 1.0, (mean.value + half) / limit - 1.0
    ), evidence


@dataclass(frozen=True)
class _Mean:
    """The mean over a side's runs.

    `doubt` sums up the parts of its variance that are estimates, squared, over their degrees of freedom.
    """

    value: float
    variance: float
    doubt: float


def _mean(runs: Sequence[Run], evidence: Evidence) -> _Mean:
    n = len(runs)
    value = fmean(run.mean for run in runs)
    between = ((evidence.spread or 0.0) * value) ** 2 / n
    if evidence.source == "measured":
        # The means of runs vary by what their windows do, too: it is in the spread already.
        return _Mean(value, between, 0.0)
    within = [(run.variance / n**2, len(run.values) - 1) for run in runs]
    return _Mean(
        value,
        between + math.fsum(part for part, _ in within),
        math.fsum(part**2 / degrees for part, degrees in within),
    )


def _evidence(baseline: Sequence[Run], current: Sequence[Run], stated: float | None) -> Evidence:
    counts = len(baseline), len(current)
    if stated is not None:
        return Evidence("runs", *counts, stated, "stated")
    if 1 in counts:
        return Evidence("runs", *counts, None, "unknown")
    squares = []
    for side in (baseline, current):
        means = [run.mean for run in side]
        squares += [(each / fmean(means) - 1.0) ** 2 for each in means]
    return Evidence("runs", *counts, math.sqrt(math.fsum(squares) / _degrees(*counts)), "measured")


def _degrees(baseline: int, current: int) -> int:
    return max(baseline - 1, 0) + max(current - 1, 0)


def _t(evidence: Evidence, current: _Mean, baseline: _Mean, ratio: float) -> float:
    """How many standard errors leave 5 % beyond each end, after Welch and Satterthwaite where variances add up."""
    if evidence.source == "measured":
        degrees: float = _degrees(evidence.baseline, evidence.current)
    else:
        total = current.variance + ratio**2 * baseline.variance
        doubt = current.doubt + ratio**4 * baseline.doubt
        degrees = total**2 / doubt if doubt > 0.0 else math.inf
    return student_t(max(int(min(degrees, MOST_DEGREES)), 1), 2.0 * CONFIDENCE - 1.0)
