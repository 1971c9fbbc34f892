"""What a gate says: thresholds, verdicts, and the one function that decides between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from perframe.profiler.result import Quality

Outcome = Literal["pass", "improvement", "regression", "inconclusive", "incomparable", "invalid"]

_EXIT_CODES: dict[Outcome, int] = {
    "regression": 3,
    "invalid": 8,
    "incomparable": 4,
    "inconclusive": 4,
    "improvement": 0,
    "pass": 0,
}


@dataclass(frozen=True)
class Change:
    """A relative change: 0.02 is 2 % more than before.

    Attributes:
        value: The most likely change.
        low: With 95 % confidence it is no less than this; `None` if nothing bounds it from below.
        high: With 95 % confidence it is no more than this; `None` if nothing bounds it from above.
    """

    value: float
    low: float | None
    high: float | None


def decide(change: Change, tolerance: float) -> Outcome:
    """Decide whether a change is within a tolerance.

    A side is taken only where the whole interval is on it, so either error has 5 % at most: a regression that
    is none when the true change is exactly the tolerance (and far less below it), a pass of what lies just
    above. An improvement is beyond the tolerance on the other side of no change. What is not a number decides nothing.

    Args:
        change: What is known of it.
        tolerance: The largest relative change that is allowed; negative ones demand an improvement.
    """
    if any(end is not None and math.isnan(end) for end in (change.value, change.low, change.high)):
        return "inconclusive"
    if change.low is not None and change.low > tolerance:
        return "regression"
    if change.high is None or change.high > tolerance:
        return "inconclusive"
    return "improvement" if change.high < -abs(tolerance) else "pass"


def overall(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of several together.

    The worst, in this order: regression, which is a fact whatever else could not be judged; invalid;
    incomparable; inconclusive; pass; and improvement only where everything improved.

    Args:
        outcomes: At least one.
    """
    order: tuple[Outcome, ...] = (
        "regression",
        "invalid",
        "incomparable",
        "inconclusive",
        "pass",
        "improvement",
    )
    return min(outcomes, key=order.index)


def exit_code(outcome: Outcome) -> int:
    """Return the exit code of an outcome: 0, or 3, 4 and 8 as `perframe.errors` has them."""
    return _EXIT_CODES[outcome]


@dataclass(frozen=True)
class Threshold:
    """One limit; either `max_increase` or `maximum` is given.

    Attributes:
        metric: A name of `perframe.analysis.metrics.METRICS`.
        max_increase: Largest relative change allowed against the baseline.
        maximum: Largest value allowed, in the metric's SI unit, whatever the baseline.
        batches: Batch sizes it holds for; empty for all that were measured.
    """

    metric: str
    max_increase: float | None = None
    maximum: float | None = None
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Something in which results differ that must agree before they may be compared."""

    key: str
    baseline: str | float | None
    current: str | float | None


@dataclass(frozen=True)
class Moved:
    """A module whose cost changed, by the per-layer pass: without an interval.

    Attributes:
        module: Its path; `None` for what could not be led back.
        unit: "J" per frame or "s" per inference.
        baseline: Its cost before; `None` if it was not there.
        current: Its cost now; `None` if it is gone.
    """

    module: str | None
    unit: str
    baseline: float | None
    current: float | None

    @property
    def rise(self) -> float:
        """How much more it costs now."""
        return (self.current or 0.0) - (self.baseline or 0.0)


@dataclass(frozen=True)
class Evidence:
    """What an interval rests on.

    Attributes:
        design: `runs`: whole profiles, each with its own start; `pairs`: interleaved windows.
        baseline: Runs, or pairs, of the baseline; 0 where a limit needs none.
        current: The same of what is judged.
        spread: Relative standard deviation of runs around each other, or of the difference within a pair; `None`
            where nothing is known of it.
        source: Where `spread` is from: `measured`; `stated` by whoever called; `assumed` for lack of both, where one
            run is held against an absolute limit; else `unknown`.
    """

    design: Literal["runs", "pairs"]
    baseline: int
    current: int
    spread: float | None
    source: Literal["measured", "stated", "assumed", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one threshold at one batch size.

    Attributes:
        threshold: What was to be kept.
        batch: Frames per inference.
        outcome: The verdict.
        kind: Of the joules judged, `measured` or `modelled`; `None` for times.
        baseline: The metric's mean before, in its SI unit; `None` where there is none.
        current: Its mean now.
        change: Against the baseline, or against the absolute limit; `None` where nothing was compared.
        evidence: What that rests on.
        reason: Why nothing could be decided, in a sentence; empty where the interval says it all.
        differences: What makes the results incomparable.
        findings: What makes them invalid.
        moved: For a regression, the modules that rose most.
    """

    threshold: Threshold
    batch: int
    outcome: Outcome
    kind: str | None = None
    baseline: float | None = None
    current: float | None = None
    change: Change | None = None
    evidence: Evidence | None = None
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    findings: tuple[Quality, ...] = ()
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """All verdicts of one gate.

    Attributes:
        baseline: Names of the files compared against.
        current: Names of the files judged.
        verdicts: One per threshold and batch size.
        ignored: Differences that would have made results incomparable, and were allowed by name.
    """

    baseline: tuple[str, ...]
    current: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    ignored: tuple[Difference, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The outcome of all verdicts together."""
        return overall([verdict.outcome for verdict in self.verdicts])
