"""A choice among networks, as a person reads it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.candidates import Candidate
from perframe.analysis.choose import Choice
from perframe.analysis.results import Skipped
from perframe.errors import one_line
from perframe.report.style import plain_table, with_interval
from perframe.report.units import quantity


def choice_tables(
    choice: Choice, candidates: Sequence[Candidate], accuracy: AccuracyTable, skipped: Sequence[Skipped]
) -> RenderableType:
    """Show the answer first, then every network with its figures."""
    answer = Text(choice.why, style="bold" if choice.recommended else "bold red")
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
    return Group(answer, Text(), table, *(Text(one_line(note), style="yellow") for note in notes))


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
