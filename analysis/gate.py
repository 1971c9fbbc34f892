"""Profiles against thresholds: a current one against a stored baseline, or against absolute limits."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perframe.analysis.change import Run, run_change, run_excess
from perframe.analysis.comparable import (
    ENERGY_KIND,
    FPS,
    INPUTS,
    MODEL,
    batch_of,
    differences,
    invalid_findings,
    is_copy,
    most_moved,
    refuse_unknown,
)
from perframe.analysis.metrics import Metric, metric_named
from perframe.analysis.verdict import Difference, Judgement, Threshold, Verdict, decide
from perframe.errors import InputError, UsageError
from perframe.profiler.result import BatchResult, Profile, Quality, read_profile


def read_runs(current: Sequence[Path], baseline: Sequence[Path]) -> tuple[list[Profile], list[Profile]]:
    """Read the profiles of both sides.

    Raises:
        UsageError: A file is named twice: compared with itself nothing ever changes.
        InputError: A file is missing, truncated, not a profile, holds no batch size, or is a copy of another.
    """
    files = [*current, *baseline]
    for index, file in enumerate(files):
        if any(file.exists() and other.exists() and file.samefile(other) for other in files[:index]):
            raise UsageError(
                f"{file}: named twice.", "Give every run once, and a baseline that is another run."
            )
    profiles = [read_profile(file) for file in files]
    for file, profile in zip(files, profiles, strict=True):
        if not profile.batches:
            raise InputError(
                f"{file}: it holds no batch size.", "The run may have been cut off: profile again."
            )
    for index, (file, profile) in enumerate(zip(files, profiles, strict=True)):
        for other, earlier in zip(files[:index], profiles[:index], strict=True):
            if is_copy(earlier, profile):
                raise InputError(
                    f"{file}: the same measurement as {other}.",
                    "A copy is no second run, and no baseline: measure again.",
                )
    return profiles[: len(current)], profiles[len(current) :]


def judge(
    current: Sequence[Profile],
    baseline: Sequence[Profile],
    thresholds: Sequence[Threshold],
    *,
    ignore: Sequence[str] = (),
    run_spread: float | None = None,
    names: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Judgement:
    """Judge profiles by thresholds.

    Args:
        current: Runs of what is judged; at least one.
        baseline: Runs of what it is compared against; may be empty where every threshold is absolute.
        thresholds: At least one.
        ignore: Keys of the identity (or `inputs_sha256`, `model_sha256`, `fps`) that may differ.
        run_spread: Relative standard deviation between runs, where it is known; see `perframe.analysis.change`.
        names: What to call the files of both sides, current first.

    Raises:
        UsageError: A threshold is relative, and there is no baseline; a key of `ignore` is not known; `run_spread`
            is below zero.
    """
    if run_spread is not None and not run_spread >= 0.0:
        raise UsageError(
            f"--run-spread: expected 0% or more, found {100.0 * run_spread:g}%.",
            "Give a standard deviation such as 1%.",
        )
    keys = (key for profile in (*current, *baseline) for key in profile.identity)
    refuse_unknown(ignore, (*keys, INPUTS, MODEL, FPS))
    relative = next((each for each in thresholds if each.max_increase is not None), None)
    if relative is not None and not baseline:
        raise UsageError(
            f"{relative.metric}: --max-increase compares, and there is nothing to compare with.",
            "Give --baseline BASELINE.json.",
        )
    judge_one = _Judge(current, baseline, frozenset(ignore), run_spread)
    verdicts = tuple(
        judge_one(threshold, batch)
        for threshold in thresholds
        for batch in threshold.batches or judge_one.batches(threshold)
    )
    return Judgement(
        baseline=tuple(names[1]),
        current=tuple(names[0]),
        verdicts=verdicts,
        ignored=tuple(judge_one.ignored.values()),
    )


class _Judge:
    def __init__(
        self,
        current: Sequence[Profile],
        baseline: Sequence[Profile],
        ignore: frozenset[str],
        run_spread: float | None,
    ) -> None:
        self._current, self._baseline = current, baseline
        self._ignore, self._run_spread = ignore, run_spread
        self.ignored: dict[str, Difference] = {}

    def batches(self, threshold: Threshold) -> list[int]:
        """Every batch size of any run: one that is missing on one side must not slip through."""
        return sorted({each.batch for p in self._against(threshold) for each in p.batches})

    def _against(self, threshold: Threshold) -> tuple[Profile, ...]:
        """The profiles a threshold looks at: an absolute one needs no baseline."""
        return tuple(self._current) if threshold.maximum is not None else (*self._baseline, *self._current)

    def __call__(self, threshold: Threshold, batch: int) -> Verdict:
        metric = metric_named(threshold.metric)
        baseline = () if threshold.maximum is not None else self._baseline
        sides = [[batch_of(profile, batch) for profile in side] for side in (baseline, self._current)]
        before, after = ([result for result in side if result is not None] for side in sides)
        verdict = Verdict(threshold, batch, "incomparable")
        for which, side in zip(("baseline", "current"), sides, strict=True):
            if None in side:
                return replace(verdict, reason=f"The {which} was not measured at batch {batch}.")
        if metric.is_energy:
            kinds = {result.energy.kind for result in (*before, *after)}
            if kinds - {"absent"} == {"measured", "modelled"}:
                # Whatever may be ignored, this is not: modelled joules say nothing of measured ones.
                kind = Difference(ENERGY_KIND, *(results[0].energy.kind for results in (before, after)))
                return replace(
                    verdict, reason="Modelled energy is compared with modelled only.", differences=(kind,)
                )
            verdict = replace(verdict, kind=next(iter(kinds - {"absent"}), None))
        if found := self._differences(baseline, batch, metric):
            return replace(verdict, differences=found)
        return _judged(verdict, metric, before, after, self._run_spread)

    def _differences(self, baseline: Sequence[Profile], batch: int, metric: Metric) -> tuple[Difference, ...]:
        found = differences(baseline, self._current, batch, metric)
        self.ignored.update((each.key, each) for each in found if each.key in self._ignore)
        return tuple(each for each in found if each.key not in self._ignore)


def _judged(
    verdict: Verdict,
    metric: Metric,
    before: Sequence[BatchResult],
    after: Sequence[BatchResult],
    run_spread: float | None,
) -> Verdict:
    """Fill in the verdict on results that may be compared."""
    for which, results in (("baseline", before), ("current", after)):
        for result in results:
            if (lacking := _lacking(metric, result)) is not None:
                return replace(verdict, reason=f"The {which} holds no {lacking}.")
    if spoiled := invalid_findings((*before, *after)):
        return replace(verdict, outcome="invalid", findings=spoiled)
    sides = [[_run(metric, result) for result in results] for results in (before, after)]
    runs = [run for side in sides for run in side]
    if not all(math.isfinite(value) for run in runs for value in run.values):
        nan = Quality(
            "not-a-number", "invalid", f"A window's {metric.name} is not a number.", "Measure again."
        )
        return replace(verdict, outcome="invalid", findings=(nan,))
    if any(len(run.values) < 2 for run in runs):
        return replace(
            verdict,
            outcome="inconclusive",
            reason="One window has no spread: nothing tells how far it may be off.",
        )
    if any(run.mean <= 0.0 for run in runs):
        return replace(
            verdict,
            outcome="inconclusive",
            reason=f"A run's {metric.name} is not above zero: nothing is relative to it.",
        )
    if verdict.threshold.maximum is not None:
        uncertainty = max((result.energy.absolute_uncertainty or 0.0) for result in after)
        change, evidence = run_excess(
            sides[1],
            verdict.threshold.maximum,
            uncertainty if metric.is_energy else 0.0,
            run_spread,
        )
        outcome = decide(change, 0.0)
        # Below a limit is where everything should be.
        outcome = "pass" if outcome == "improvement" else outcome
    else:
        assert verdict.threshold.max_increase is not None, "a threshold is relative or absolute"
        change, evidence = run_change(sides[0], sides[1], run_spread)
        outcome = decide(change, verdict.threshold.max_increase)
    return replace(
        verdict,
        outcome=outcome,
        baseline=_mean(sides[0]),
        current=_mean(sides[1]),
        change=change,
        evidence=evidence,
        moved=most_moved(before, after, metric) if outcome == "regression" else (),
    )


def _run(metric: Metric, result: BatchResult) -> Run:
    return Run(metric.observations(result) or (), metric.offset(result), metric.edge_error(result))


def _mean(runs: Sequence[Run]) -> float | None:
    return math.fsum(run.mean for run in runs) / len(runs) if runs else None


def _lacking(metric: Metric, result: BatchResult) -> str | None:
    """Say what a result lacks for a metric, and what to do about it; `None` if it has all."""
    if metric.paced and result.paced is None:
        return f"{metric.name}: profile with --fps"
    windows = metric.windows(result)
    if not windows or any(window.frames < 1 for window in windows):
        return f"{'frames in one of its windows' if windows else 'windows'}: profile again"
    if metric.observations(result) is not None:
        return None
    if metric.above_idle and result.energy.kind != "absent":
        return f"{metric.name}: its sensor does not see the device at rest"
    return f"{metric.name}: profile with a --sensor"
