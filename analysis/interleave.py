"""A candidate against a baseline, both measured now: window by window in turn, until it is decided.

What drifts with time falls on both alike, and cancels in the difference within a pair; so the spread that
counts is that of pairs, which is known after a few of them, and no run has to be repeated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from perframe.analysis.comparable import INPUTS, invalid_findings, most_moved, refuse_unknown
from perframe.analysis.metrics import metric_named
from perframe.analysis.paired import FIRST_LOOK, critical_values, look
from perframe.analysis.pairs import PairBench, Pairs, Side, inputs_of
from perframe.analysis.verdict import Difference, Judgement, Threshold, Verdict, decide
from perframe.engines.base import EngineArtifact
from perframe.engines.inputs import inputs_sha256
from perframe.engines.registry import backend_named
from perframe.errors import MeasurementError, UsageError
from perframe.profiler.characterise import response_of
from perframe.profiler.energy import open_meter
from perframe.profiler.identity import differing, identity
from perframe.profiler.lock import device_lock
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.sensors.base import Sensor
from perframe.progress import Progress, silent

# Of the time: pairs take longer than they should now and then, and the last look, which tells most, needs them all.
_PLANNED_SHARE = 0.9


@dataclass(frozen=True)
class Budget:
    """How long pairs are added.

    Attributes:
        pairs: Pairs per batch size, at most.
        seconds: Of all measuring together. What one batch size does not need is there for the next.
    """

    pairs: int = 20
    seconds: float = 300.0


@dataclass(frozen=True)
class Interleaved:
    """The verdicts, and the pairs that they rest on."""

    judgement: Judgement
    pairs: tuple[Pairs, ...]


def interleave(
    baseline: EngineArtifact,
    candidate: EngineArtifact,
    plan: MeasurementPlan,
    sensor: Sensor | None,
    thresholds: Sequence[Threshold],
    *,
    budget: Budget = Budget(),
    ignore: Sequence[str] = (),
    names: tuple[str, str] | None = None,
    progress: Progress = silent,
    wait_s: float = 0.0,
) -> Interleaved:
    """Measure two engines in turn until every threshold is decided, and judge.

    Args:
        baseline: The engine compared against.
        candidate: The engine judged; on the same device.
        plan: Batch sizes, length of windows, warm-up, seed. How many windows there are follows from `budget`.
        sensor: Where joules come from; `None` for latency only.
        thresholds: Relative ones, of `epf` or a latency.
        budget: How long pairs are added.
        ignore: Keys in which the engines may differ (`precision`, `backend`, ...).
        names: What to call baseline and candidate; their files unless given.
        progress: Told what is going on.
        wait_s: How long to wait while another process measures on the device.

    Raises:
        UsageError: A threshold cannot be judged so, the engines are for different devices, or a key of `ignore` is not
            known.
        UnavailableError: Device, library or sensor is not there, or the device is being measured.
        MeasurementError: The sensor failed.
    """
    require_pairable(thresholds, plan.batches)
    if sensor is None and any(metric_named(each.metric).is_energy for each in thresholds):
        raise UsageError(
            "epf: without a sensor there is no energy.", "Give a --sensor, or --metric latency-p50."
        )
    if baseline.device != candidate.device:
        raise UsageError(
            f"{candidate.path}: built for {candidate.device}, the baseline for {baseline.device}.",
            "Build both for one device, or compare stored profiles.",
        )
    before, after = names or (str(baseline.path), str(candidate.path))
    keys = [
        {**identity(each, plan, sensor), INPUTS: inputs_sha256(inputs_of(each, plan.batches[0], plan.seed))}
        for each in (baseline, candidate)
    ]
    refuse_unknown(ignore, {**keys[0], **keys[1]})
    found = [Difference(key, keys[0].get(key), keys[1].get(key)) for key in differing(*keys)]
    hindering = tuple(each for each in found if each.key not in ignore)
    ignored = tuple(each for each in found if each.key in ignore)
    # Until it is decided, nothing is.
    undecided = [
        [Verdict(t, batch, "inconclusive") for t in thresholds if not t.batches or batch in t.batches]
        for batch in plan.batches
    ]
    if hindering:
        verdicts = [
            replace(each, outcome="incomparable", differences=hindering)
            for some in undecided
            for each in some
        ]
        return Interleaved(Judgement((before,), (after,), tuple(verdicts), ignored), ())
    with device_lock(baseline.device, wait_s):
        done = _measured(
            (baseline, candidate), plan, sensor, [some for some in undecided if some], budget, progress
        )
    return Interleaved(
        Judgement((before,), (after,), tuple(each for verdicts, _ in done for each in verdicts), ignored),
        tuple(pairs for _, pairs in done if pairs is not None),
    )


def _measured(
    artifacts: tuple[EngineArtifact, EngineArtifact],
    plan: MeasurementPlan,
    sensor: Sensor | None,
    undecided: Sequence[list[Verdict]],
    budget: Budget,
    progress: Progress,
) -> list[tuple[list[Verdict], Pairs | None]]:
    """Measure one batch size after the other, each with its verdicts."""
    done: list[tuple[list[Verdict], Pairs | None]] = []
    # One each, and one for both where it is the same: engines of the fake backend share its clock.
    backends = {name: backend_named(name) for name in {each.backend for each in artifacts}}
    with backends[artifacts[0].backend].open(artifacts[0]) as engine:
        clock = engine.clock
    end_s = clock.now_s() + budget.seconds
    with open_meter(sensor, clock) as meter:
        for verdicts in undecided:
            batch = verdicts[0].batch
            deadline_s = clock.now_s() + (end_s - clock.now_s()) / (len(undecided) - len(done))

            def told(what: str, fraction: float, batch: int = batch) -> None:
                progress(f"batch {batch}: {what}", (len(done) + fraction) / len(undecided))

            before, after = (
                Side(each, backends[each.backend], inputs_of(each, batch, plan.seed)) for each in artifacts
            )
            bench = PairBench(before, after, meter, clock, plan, batch, sensor, response_of(sensor), told)
            verdicts = [_of_kind(each, sensor) for each in verdicts]
            affordable = int(_PLANNED_SHARE * (deadline_s - clock.now_s()) / bench.pair_s)
            planned = max(min(budget.pairs, affordable), 0)
            if planned < FIRST_LOOK:
                reason = f"Time for {planned} pairs of windows only; {FIRST_LOOK} decide at the earliest."
                done.append(([replace(each, reason=reason) for each in verdicts], None))
            else:
                done.append(_decided(bench, verdicts, planned, deadline_s, told))
    return done


def _of_kind(verdict: Verdict, sensor: Sensor | None) -> Verdict:
    of_energy = metric_named(verdict.threshold.metric).is_energy
    return replace(verdict, kind=sensor.kind) if of_energy and sensor is not None else verdict


def _decided(
    bench: PairBench,
    verdicts: list[Verdict],
    planned: int,
    deadline_s: float,
    progress: Progress,
) -> tuple[list[Verdict], Pairs]:
    """Add pairs until every verdict is clear, or there are as many as were planned, or the time is over."""
    done = 0
    # Found now, and not in the middle, where the device would cool down meanwhile.
    critical_values(planned)
    while (
        done < planned
        and bench.clock.now_s() < deadline_s
        and any(each.outcome == "inconclusive" for each in verdicts)
    ):
        progress(f"pair {done + 1} of at most {planned}", done / planned)
        bench.measure_pair()
        done += 1
        # What an earlier look has decided stays decided: that look was allowed its error.
        verdicts = [
            _looked(each, bench, planned) if each.outcome == "inconclusive" else each for each in verdicts
        ]
    if done < planned:
        spent = f"The time was spent after {done} of {planned} pairs."
        verdicts = [
            replace(each, reason=spent) if each.outcome == "inconclusive" else each for each in verdicts
        ]
    pairs = bench.pairs(planned, with_layers=any(each.outcome == "regression" for each in verdicts))
    return [_checked(each, pairs) for each in verdicts], pairs


def _looked(verdict: Verdict, bench: PairBench, planned: int) -> Verdict:
    metric = metric_named(verdict.threshold.metric)
    values: list[list[float]] = []
    for side in bench.sides:
        seen = [metric.observe(each.window, None) for each in side.observed]
        values.append([value for value in seen if value is not None])
        if len(values[-1]) < len(seen):
            return replace(verdict, outcome="incomparable", reason="No sensor saw every window.")
        if not all(map(math.isfinite, values[-1])):
            raise MeasurementError(
                f"{metric.name}: a window gave {values[-1][-1]}, expected a finite number.",
                "Check the sensor.",
            )
        if math.fsum(values[-1]) <= 0.0:
            return replace(verdict, outcome="invalid", reason=f"{metric.name} is not above zero.")
    if (found := look(values[0], values[1], planned)) is None:
        return verdict
    assert verdict.threshold.max_increase is not None, "absolute thresholds are refused"
    change, evidence = found
    return replace(
        verdict,
        outcome=decide(change, verdict.threshold.max_increase),
        baseline=math.fsum(values[0]) / len(values[0]),
        current=math.fsum(values[1]) / len(values[1]),
        change=change,
        evidence=evidence,
    )


def _checked(verdict: Verdict, pairs: Pairs) -> Verdict:
    """The verdict in the light of what the device went through meanwhile."""
    if findings := invalid_findings((pairs.baseline, pairs.current)):
        return replace(verdict, outcome="invalid", findings=findings)
    if verdict.outcome != "regression":
        return verdict
    metric = metric_named(verdict.threshold.metric)
    return replace(verdict, moved=most_moved((pairs.baseline,), (pairs.current,), metric))


def require_pairable(thresholds: Sequence[Threshold], batches: Sequence[int]) -> None:
    """Refuse thresholds that cannot be judged by pairs of windows.

    Args:
        thresholds: The thresholds.
        batches: Batch sizes that will be measured.

    Raises:
        UsageError: One is absolute, of a device at rest or at a camera's pace, or at another batch size.
    """
    for threshold in thresholds:
        metric = metric_named(threshold.metric)
        if threshold.max_increase is None:
            raise UsageError(
                f"{metric.name}: --against judges what changed, not an absolute limit.",
                "Profile the candidate and gate the result by the limit.",
            )
        if metric.paced or metric.above_idle:
            raise UsageError(
                f"{metric.name}: --against keeps the device busy throughout.",
                "Choose epf, latency-p50 or latency-p99, or compare stored profiles.",
            )
        if missing := sorted(set(threshold.batches) - set(batches)):
            raise UsageError(
                f"{metric.name}: it has a limit at batch {missing[0]}, which is not measured.",
                f"Give -b {missing[0]} too.",
            )
