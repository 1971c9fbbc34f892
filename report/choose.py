"""A choice among networks, as a person reads it."""

import math
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.candidates import Candidate
from perframe.analysis.choose import Choice, Preference
from perframe.analysis.results import Skipped
from perframe.errors import one_line
from perframe.profiler.stats import Estimate
from perframe.report.style import plain_table, with_interval
from perframe.report.units import percent, quantity

_SHOWN = 4


def choice_tables(
    choice: Choice,
    candidates: Sequence[Candidate],
    accuracy: AccuracyTable,
    skipped: Sequence[Skipped],
    unknown: Sequence[str],
) -> RenderableType:
    """Show the answer first, then every network with its figures.

    Args:
        choice: The answer.
        candidates: The networks.
        accuracy: How accurate they are.
        skipped: What was not judged.
        unknown: Entries of the accuracies that are none of the networks.
    """
    answer = Text(answer_text(choice), style="bold" if choice.recommended else "bold red")
    kind = candidates[0].energy_kind
    table = plain_table(f"Networks at batch {candidates[0].batch} (top-1 {one_line(accuracy.source)})")
    for name in ("network", f"EPF ({kind})", "latency", "top-1", "parameters", ""):
        table.add_column(name, justify="left" if name in ("network", "") else "right")
    order = {name: i for i, name in enumerate(choice.feasible)}
    for each in sorted(candidates, key=lambda each: order.get(each.name, len(order))):
        table.add_row(
            Text(one_line(each.name), style="" if each.name in order else "dim"),
            with_interval(each.epf_j, "J"),
            with_interval(each.latency_s, "s"),
            "–" if each.top1_percent is None else f"{each.top1_percent:.2f} %",
            quantity(each.model.params, ""),
            _marks(each, choice),
        )
    notes = [*choice.notes, *(f"{each.path}: {each.reason}" for each in skipped)]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        notes.append(
            f"{accuracy.source} names what is not among the networks: {', '.join(unknown[:_SHOWN])}{more}."
        )
    return Group(answer, Text(), table, *(Text(one_line(note), style="yellow") for note in notes))


def answer_text(choice: Choice, called: Callable[[str], str] = str) -> str:
    """Return the answer in a sentence: what should ship, what is as good, and how much worse the rest is.

    Args:
        choice: The answer.
        called: What to call a network, given its name.
    """
    recommended = choice.recommended
    if recommended is None:
        return _no_network(choice)
    what = {
        "epf": "lowest energy per frame",
        "accuracy": "highest top-1 accuracy",
        "latency": "lowest latency",
    }
    figure = what[choice.prefer] + (" of those that keep the limits" if choice.limited else "")
    name = called(recommended.name)
    text = f"{name} has the {figure}"
    if len(choice.tied) > 1:
        if recommended.name != choice.tied[0]:
            by = "the cheapest" if choice.prefer == "accuracy" else "the most accurate"
            text = f"{name} is {by} of those with nearly the {figure}"
        others = ", ".join(called(each) for each in choice.tied if each != recommended.name)
        text += f"; it cannot be told apart from {others}"
    if choice.next_best is not None and choice.margin is not None:
        text += f"; {called(choice.next_best)} is {_margin(choice.margin, choice.prefer)}"
    return f"{text}."


def _margin(margin: Estimate, prefer: Preference) -> str:
    if prefer == "accuracy":
        return f"{margin.value:.2f} points lower"
    ends = ""
    if margin.low is not None and margin.high is not None:
        ends = f" ({percent(margin.low)} to {percent(margin.high)})"
    return f"{percent(margin.value)} worse{ends}"


_UNITS = {"--max-epf": "J", "--max-latency": "s", "--max-params": "", "--min-top1": "%"}


def _no_network(choice: Choice) -> str:
    alone = [each for each in choice.binding if each.best is not None]
    if alone:
        return "No network keeps the limits: " + "; ".join(
            f"with the others kept, {each.limit} would have to be {_kept(each.limit, each.best)} ({each.by})"
            for each in alone
        )
    return "No network keeps the limits, nor all of them but one. The best of each: " + "; ".join(
        f"{each.limit} {_kept(each.limit, each.best_of_all)} ({each.by_of_all}), asked"
        f" {quantity(each.asked, _UNITS[each.limit], 4)}"
        for each in choice.binding
    )


def _kept(option: str, value: float | None) -> str:
    """The limit that a figure keeps: in four digits, rounded away from it."""
    if value is not None and value > 0.0:
        step = 10.0 ** (math.floor(math.log10(value)) - 3)
        rounded, least = float(f"{value:.4g}"), option == "--min-top1"
        if rounded > value if least else rounded < value:
            value = rounded + (-step if least else step)
    return quantity(value, _UNITS[option], 4)


def _marks(candidate: Candidate, choice: Choice) -> str:
    marks = []
    if choice.recommended is not None and candidate.name == choice.recommended.name:
        marks.append("recommended")
    elif candidate.name in choice.tied:
        marks.append("cannot be told apart from the best")
    if candidate.name in choice.front:
        marks.append("on the front")
    if candidate.name not in choice.feasible:
        marks.append("breaks a limit")
    return ", ".join(marks)
