"""What each measured network costs, from all the runs there are of it.

Runs of one network differ by more than their windows do. Where networks were measured more than once, the relative
spread between runs is taken to be alike for all of them and pooled, so that two runs of each of twenty networks give
twenty degrees of freedom and not one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.results import Result
from perframe.arrays import Array
from perframe.engines.base import ModelInfo
from perframe.errors import InputError
from perframe.profiler.stats import Estimate, student_t

_CONFIDENCE = 0.95
# Of the conditions these are the network's own, or part of what is chosen.
_OWN = frozenset({"precision", "quantised", "input_shape", "seed"})


@dataclass(frozen=True)
class Spread:
    """How far runs of one network differ, relative.

    Attributes:
        deviation: Standard deviation of a run's mean.
        degrees: Degrees of freedom behind it; 0 if no network was measured twice.
    """

    deviation: float
    degrees: int


@dataclass(frozen=True)
class Candidate:
    """One network that could ship.

    Attributes:
        model: The network.
        batch: Frames per inference.
        runs: How often it was measured.
        epf_j: Joules per frame; `None` without a sensor.
        energy_kind: Whether they are measured.
        latency_s: Seconds per inference.
        top1_percent: Accuracy; `None` if the table does not know it.
    """

    model: ModelInfo
    batch: int
    runs: int
    epf_j: Estimate | None
    energy_kind: str
    latency_s: Estimate
    top1_percent: float | None

    @property
    def name(self) -> str:
        """Of the network, with its precision where it is not fp32."""
        precision = self.model.precision
        return self.model.name if precision in (None, "fp32") else f"{self.model.name} {precision}"


def candidates(results: Sequence[Result], table: AccuracyTable, batch: int | None) -> tuple[Candidate, ...]:
    """Return every network with what it costs at one batch size.

    Args:
        results: Of one device and sensor; those of the training regime are left out.
        table: How accurate they are.
        batch: Which batch size; `None` takes the smallest that all were measured at.

    Raises:
        InputError: There is no such batch size, or the results are of several devices, sensors or runtimes.
    """
    deployed = [result for result in results if result.regime == "inference"]
    batches = sorted({result.batch for result in deployed})
    if not batches or (batch is not None and batch not in batches):
        there = ", ".join(map(str, batches)) or "none"
        raise InputError(
            f"No result of an inference at batch {batch or 'any'}; there are {there}.",
            "Give another -b, or measure it.",
        )
    groups = _grouped([result for result in deployed if result.batch == _batch(deployed, batch)])
    _require_comparable([runs[0] for runs in groups.values()])
    epf_spread = pooled_spread(
        [[run.epf_j for run in runs if run.epf_j is not None] for runs in groups.values()]
    )
    latency_spread = pooled_spread([[run.latency_s for run in runs] for runs in groups.values()])
    return tuple(
        Candidate(
            model=runs[0].model,
            batch=runs[0].batch,
            runs=len(runs),
            epf_j=_estimate([run.epf_j for run in runs], epf_spread),
            energy_kind=runs[0].energy_kind,
            latency_s=_must(_estimate([run.latency_s for run in runs], latency_spread)),
            top1_percent=table.of(runs[0].model),
        )
        for runs in groups.values()
    )


def pooled_spread(runs_of_each: Sequence[Sequence[Array]]) -> Spread:
    """Return how far the means of runs of one network differ, pooled over all networks."""
    squares, degrees = 0.0, 0
    for runs in runs_of_each:
        means = [float(run.mean()) for run in runs]
        if len(means) > 1:
            middle = fmean(means)
            squares += math.fsum((mean / middle - 1.0) ** 2 for mean in means)
            degrees += len(means) - 1
    return Spread(math.sqrt(squares / degrees) if degrees else 0.0, degrees)


def _estimate(runs: Sequence[Array | None], spread: Spread) -> Estimate | None:
    seen = [run for run in runs if run is not None]
    if not seen or len(seen) < len(runs):
        return None
    value = fmean(float(run.mean()) for run in seen)
    windows = sum(len(run) for run in seen)
    within = math.sqrt(math.fsum(float(np.var(run, ddof=1)) / len(run) for run in seen)) / len(seen)
    relative = student_t(windows - len(seen), _CONFIDENCE) * within / value
    if spread.degrees:
        between = student_t(spread.degrees, _CONFIDENCE) * spread.deviation / math.sqrt(len(seen))
        relative = max(relative, between)
    # As a factor to either side: joules and seconds are above zero, however little is known of them.
    return Estimate(value, value / (1.0 + relative), value * (1.0 + relative), windows)


def _must(estimate: Estimate | None) -> Estimate:
    assert estimate is not None, "every window has a duration"
    return estimate


def _batch(results: Sequence[Result], batch: int | None) -> int:
    if batch is not None:
        return batch
    measured: dict[tuple[str, str | None], set[int]] = {}
    for result in results:
        measured.setdefault((result.model.name, result.model.precision), set()).add(result.batch)
    common = set.intersection(*measured.values())
    return min(common or {result.batch for result in results})


def _grouped(results: Sequence[Result]) -> Mapping[tuple[str, str | None], list[Result]]:
    groups: dict[tuple[str, str | None], list[Result]] = {}
    for result in results:
        groups.setdefault((result.model.name, result.model.precision), []).append(result)
    return groups


def _require_comparable(results: Sequence[Result]) -> None:
    first = results[0]
    for other in results[1:]:
        keys = {*first.identity, *other.identity} - _OWN
        differing = sorted(key for key in keys if first.identity.get(key) != other.identity.get(key))
        if differing:
            raise InputError(
                f"{other.path}: measured under other conditions than {first.path.name}: {', '.join(differing)}.",
                "Choose among results of one device, sensor and runtime: put the others into a folder of their own.",
            )
