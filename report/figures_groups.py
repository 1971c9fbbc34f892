"""Figures over many networks: what a frame costs against group size G and number of groups g."""

import math
from collections.abc import Sequence
from itertools import pairwise

from perframe.analysis.designs import Backbone
from perframe.analysis.series import Series
from perframe.report.axes import Axis, doubling, linear
from perframe.report.figure import Figure
from perframe.report.merit import (
    Merit,
    backbone_name,
    by_backbone,
    everything_measured,
    points_of,
    rule_name,
)
from perframe.report.panel import Drawing, End, Panel, shortened
from perframe.report.units import quantity

_NAMED_ROWS = 40
# How far lines are drawn to the side of each other at most, as a share of the horizontal axis.
_ASIDE = 0.03


def against_groups(series: Sequence[Series], merit: Merit) -> Figure | None:
    """Draw a merit against G (E2GC) and g (FgGC), a line per batch size.

    Args:
        series: All of one set of conditions.
        merit: What is drawn.

    Returns:
        `None` where no rule has two networks to compare.
    """
    drawings, lowest = [], []
    for backbone, members in by_backbone(series):
        # One scale for both rules: that they can be compared is the point.
        axis = linear(merit.label(series), merit.ends(members), merit.unit)
        panels = [_panel(backbone, members, merit, rule, axis) for rule in ("E2GC", "FgGC")]
        if any(panels):
            drawings += [panel for panel in panels if panel is not None]
            lowest.append(_lowest(backbone, members, merit))
    if not drawings:
        return None
    return Figure(
        merit.key,
        f"{merit.name} against group size G and number of groups g",
        "Lower is better; whiskers are 95 % intervals over windows and runs. A small G (a large g) means few MACs"
        " but little reuse of data, a large G more MACs: see whether the curve turns, and where. Least measured:"
        f" {'; '.join(lowest)}.",
        tuple(drawings),
        2,
        everything_measured(series),
    )


def by_name(series: Sequence[Series], merit: Merit) -> Figure | None:
    """Draw a merit of networks that follow neither rule, a row each.

    Returns:
        `None` where there are not two.
    """
    others = [each for each in series if each.backbone is None and merit.known(each)]
    if max((len(merit.known(each)) for each in others), default=0) < 2:
        return None
    left = max(len(merit.known(each)) for each in others) - _NAMED_ROWS
    return Figure(
        f"{merit.key}-by-name",
        f"{merit.name} of networks that follow neither rule",
        "Lower is better; whiskers are 95 % intervals over windows and runs."
        + (f" The {left} costliest networks are not drawn." if left > 0 else ""),
        tuple(_named_panel(each, merit) for each in sorted(others, key=lambda one: one.batch)),
        2,
        everything_measured(others),
    )


def _panel(
    backbone: Backbone, members: Sequence[Series], merit: Merit, rule: str, axis: Axis
) -> Drawing | None:
    lines = {each.batch: points_of(each, merit, rule) for each in members}
    numbers = [n for points in lines.values() for n, _, _ in points]
    if len(set(numbers)) < 2:
        return None
    letter, what = ("G", "group size G") if rule == "E2GC" else ("g", "number of groups g")
    title = f"{backbone_name(backbone)}, {rule}: constant {letter}"
    panel = Panel(title, doubling(what, numbers), axis, right=78.0, stamp=merit.stamp(members))
    beside = _beside(numbers, len(lines))
    ends: list[End] = []
    for i, (batch, points) in enumerate(lines.items()):
        # To the side of each other, so that equal values stay apart.
        aside = beside ** (i - (len(lines) - 1) / 2.0)
        style = f"s{i % 6}"
        panel.line([(n * aside, estimate.value) for n, _, estimate in points], style)
        for n, network, estimate in points:
            if estimate.low is not None and estimate.high is not None:
                panel.whisker(n * aside, estimate.low, estimate.high, style)
            told = merit.told(f"{rule_name(network)}, batch {batch}", estimate)
            panel.mark(n * aside, estimate.value, i, told)
        if points:
            ends.append((points[-1][2].value, f"B = {batch}", style, i))
    panel.ends(ends)
    return panel.drawing(f"{merit.name} of {title}: {len(set(numbers))} networks at {len(lines)} batch sizes")


def _beside(numbers: Sequence[int], lines: int) -> float:
    """The ratio by which the points of one line are drawn beside those of the next.

    A marker's width where there is room, and never so far that what belongs to one number reaches that of another.
    """
    ordered = sorted(set(numbers))
    width = math.log(ordered[-1] / ordered[0])
    room = min(0.1 * width, *(math.log(b / a) / 2.0 for a, b in pairwise(ordered)))
    return math.exp(min(_ASIDE * width, room / max(lines - 1, 1)))


def _lowest(backbone: Backbone, members: Sequence[Series], merit: Merit) -> str:
    """The least of every batch size, without a word on what cannot be told from it: that is the answer's part."""
    told = []
    for each in members:
        if known := merit.known(each):
            network, estimate = min(known, key=lambda item: item[1].value)
            told.append(f"{rule_name(network)} at B = {each.batch} ({quantity(estimate.value, merit.unit)})")
    return f"{backbone_name(backbone)} {', '.join(told)}"


def _named_panel(series: Series, merit: Merit) -> Drawing:
    known = sorted(merit.known(series), key=lambda item: item[1].value)[:_NAMED_ROWS]
    names = tuple((float(i), shortened(network.model.name, 25)) for i, (network, _) in enumerate(known))
    panel = Panel(
        f"B = {series.batch}",
        linear(merit.label([series]), merit.ends([series]), merit.unit),
        Axis("", len(known) - 0.4, -0.6, names),
        height=92.0 + 22.0 * len(known),
        stamp=merit.stamp([series]),
        rows=True,
    )
    for i, (network, estimate) in enumerate(known):
        if estimate.low is not None and estimate.high is not None:
            panel.whisker(float(i), estimate.low, estimate.high, "s0", across=True)
        panel.mark(estimate.value, float(i), 0, merit.told(network.model.name, estimate))
    return panel.drawing(f"{merit.name} of {len(known)} networks at batch {series.batch}")
