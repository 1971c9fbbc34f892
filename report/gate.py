"""What a gate says, for people: one line per verdict, then why."""

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from perframe.analysis.comparable import ENERGY_KIND
from perframe.analysis.metrics import METRICS
from perframe.analysis.verdict import Change, Difference, Evidence, Judgement, Moved, Verdict
from perframe.errors import one_line
from perframe.report.tables import show
from perframe.report.units import percent, quantity

_STYLES = {
    "pass": "green",
    "improvement": "bold green",
    "regression": "bold red",
    "inconclusive": "yellow",
    "incomparable": "yellow",
    "invalid": "bold red",
}
_DIGITS = 4
# What would take more pairs or runs than this is not worth proposing.
_MOST_TIMES = 25


def show_judgement(judgement: Judgement) -> None:
    """Print every verdict with its reasons."""
    table = Table.grid(padding=(0, 2))
    for verdict in judgement.verdicts:
        mark = Text(shown_outcome(verdict), style=_STYLES[verdict.outcome])
        table.add_row(mark, Text.assemble((subject(verdict), "bold"), f"  {figures(verdict)}".rstrip()))
        for line in why(verdict):
            table.add_row("", Text(line, style="dim"))
    show(Group(table, *(Text(line, style="dim") for line in remarks(judgement))))


def shown_outcome(verdict: Verdict) -> str:
    """Return the outcome as people see it: what fails stands out."""
    return verdict.outcome.upper() if verdict.outcome in ("regression", "invalid") else verdict.outcome


def subject(verdict: Verdict) -> str:
    """Return what was judged: "epf (modelled), batch 4"."""
    kind = f" ({verdict.kind})" if verdict.kind is not None else ""
    return f"{verdict.threshold.metric}{kind}, batch {verdict.batch}"


def figures(verdict: Verdict) -> str:
    """Return the figures judged: before and now, the change, and what is allowed; empty where there are none."""
    if verdict.change is None or verdict.current is None:
        return ""
    unit = METRICS[verdict.threshold.metric].unit
    current = quantity(verdict.current, unit, _DIGITS)
    if verdict.threshold.maximum is not None:
        allowed = quantity(verdict.threshold.maximum, unit, _DIGITS)
        return f"{current}, {allowed} allowed: {_change(verdict.change)}"
    before = quantity(verdict.baseline, unit, _DIGITS)
    allowed = _signed(verdict.threshold.max_increase)
    return f"{before} -> {current}: {_change(verdict.change)}, {allowed} allowed"


def why(verdict: Verdict) -> list[str]:
    """Return the reasons of a verdict and what to do about it, one line each."""
    lines = [one_line(verdict.reason)] if verdict.reason else []
    lines += [_differs(each) for each in verdict.differences]
    lines += [f"{each.code}: {one_line(each.message)} {one_line(each.hint)}" for each in verdict.findings]
    if verdict.outcome == "incomparable" and verdict.differences:
        lines.append(_alike(verdict))
    if verdict.change is not None and verdict.evidence is not None:
        lines.append(f"{_bound(verdict, verdict.change, verdict.evidence)} {_basis(verdict.evidence)}")
        if verdict.outcome == "inconclusive":
            lines.append(_advice(verdict, verdict.change, verdict.evidence))
    if verdict.moved:
        lines.append(f"Rose most: {'; '.join(_moved(each) for each in verdict.moved)}.")
    if verdict.outcome == "improvement":
        lines.append("Take this result as the baseline from now on, so that it is not lost again.")
    return lines


def remarks(judgement: Judgement) -> list[str]:
    """Return what holds for all verdicts: what was ignored."""
    return [f"ignored: {_differs(each)}" for each in judgement.ignored]


def _alike(verdict: Verdict) -> str:
    """What to do about results that differ."""
    keys = [each.key for each in verdict.differences]
    if METRICS[verdict.threshold.metric].is_energy and ENERGY_KIND in keys:
        # Modelled joules are never compared with measured ones, whatever is ignored.
        return "Measure both alike."
    ignored = " ".join(f"--ignore {key}" for key in keys)
    return f"Measure both alike; or, where it is meant to differ: {ignored}."


def _change(change: Change) -> str:
    if change.low is None or change.high is None:
        return _signed(change.value)
    return f"{_signed(change.value)} [{_signed(change.low)}, {_signed(change.high)}]"


def _bound(verdict: Verdict, change: Change, evidence: Evidence) -> str:
    """What the interval proves."""
    if evidence.source == "unknown":
        return "Nothing bounds the change: one run says nothing about how far runs differ."
    if change.low is None or change.high is None:
        return "Nothing bounds the change: the baseline cannot be told from zero."
    what = "change" if verdict.threshold.maximum is None else "distance to the limit"
    if verdict.outcome == "regression":
        return f"The {what} is at least {_signed(change.low)}, with 95 % confidence."
    if verdict.outcome in ("pass", "improvement"):
        return f"The {what} is at most {_signed(change.high)}, with 95 % confidence."
    return f"The {what} may be anything from {_signed(change.low)} to {_signed(change.high)}."


def _basis(evidence: Evidence) -> str:
    spread = percent(evidence.spread, 2)
    if evidence.design == "pairs":
        return f"From {_counted(evidence.current, 'pair')} of windows, whose differences spread by {spread}."
    runs = _counted(evidence.current, "run")
    if evidence.baseline:
        runs += f" against {evidence.baseline}"
    known = "" if evidence.source == "unknown" else f"; spread between runs {spread}, {evidence.source}"
    return f"From {runs}{known}."


def _advice(verdict: Verdict, change: Change, evidence: Evidence) -> str:
    if evidence.source == "unknown":
        return "Measure several runs of each, state --run-spread, or measure both in turn with --against."
    if evidence.source == "assumed":
        return (
            f"One run says nothing about how far runs differ ({percent(evidence.spread)} is assumed): give several,"
            " or state --run-spread."
        )
    times = _times_as_many(verdict, change)
    if times is None:
        return (
            "It lies too near the limit to be told from it in reasonable time; move the limit, or accept it."
        )
    more = math.ceil(times * max(evidence.current, evidence.baseline))
    if evidence.design == "pairs":
        return f"About {more} pairs would tell: --max-pairs {more} and a --budget-s that allows them."
    if not evidence.baseline:
        return f"About {more} runs would tell."
    return f"About {more} runs on each side would tell; or measure both in turn with --against."


def _times_as_many(verdict: Verdict, change: Change) -> float | None:
    """How many times as many observations would make the interval clear of the limit, if all stays as it is."""
    limit = verdict.threshold.max_increase or 0.0
    distance = abs(change.value - limit)
    if change.low is None or change.high is None or distance == 0.0:
        return None
    times = ((change.high - change.low) / 2.0 / distance) ** 2
    return times if times <= _MOST_TIMES else None


def _differs(difference: Difference) -> str:
    sides = difference.baseline, difference.current
    before, now = ("not told" if each is None else one_line(str(each)) for each in sides)
    return f"{one_line(difference.key)}: {before} in the baseline, {now} now."


def _moved(moved: Moved) -> str:
    name = "(not attributed)" if moved.module is None else one_line(moved.module) or "(network)"
    if moved.baseline is None:
        return f"{name} {quantity(moved.current, moved.unit)}, new"
    return f"{name} {quantity(moved.baseline, moved.unit)} -> {quantity(moved.current, moved.unit)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _signed(ratio: float | None) -> str:
    return "–" if ratio is None else f"{100.0 * ratio:+.2f} %"
