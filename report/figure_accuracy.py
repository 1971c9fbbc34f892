"""What accuracy costs: energy and time per frame against top-1, with the networks that no other beats in both."""

from collections.abc import Sequence

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.series import Network, Series
from perframe.profiler.stats import Estimate
from perframe.report.axes import linear
from perframe.report.figure import Cell, DataTable, Figure, measured, number
from perframe.report.merit import FAMILY_NAMES, MERITS, Merit, rule_name
from perframe.report.panel import Drawing, Panel, shortened

Point = tuple[Network, Estimate, float]

_MARKERS = ("round", "square", "diamond", "triangle up", "triangle down", "cross")


def against_accuracy(series: Sequence[Series], table: AccuracyTable) -> Figure | None:
    """Draw energy and time per frame against accuracy, a plot per batch size.

    Args:
        series: All of one set of conditions.
        table: How accurate the networks are.

    Returns:
        `None` where accuracy is known of fewer than two networks.
    """
    drawings: list[Drawing] = []
    rows: list[tuple[Cell, ...]] = []
    families: list[str] = []
    batches = sorted({each.batch for each in series})
    columns = min(max(len(batches), 2), 3)
    for merit in MERITS.values():
        for batch in batches:
            points = [
                (network, estimate, top1)
                for each in series
                if each.batch == batch
                for network, estimate in merit.known(each)
                if (top1 := table.of(network.model)) is not None
            ]
            if len({network.model.name for network, _, _ in points}) < 2:
                continue
            families += sorted({network.model.family for network, _, _ in points} - set(families))
            front = _front([(estimate.value, top1) for _, estimate, top1 in points])
            drawings.append(_panel(merit, batch, points, front, families, series, columns))
            rows += [
                (
                    Cell(network.model.name),
                    Cell(merit.name),
                    number(batch),
                    measured(estimate.value, merit.unit),
                    number(top1, ".2f"),
                    Cell("yes" if (estimate.value, top1) in front else "no"),
                )
                for network, estimate, top1 in points
            ]
    if not drawings:
        return None
    told = ", ".join(f"{_MARKERS[i % 6]}: {FAMILY_NAMES.get(each, each)}" for i, each in enumerate(families))
    return Figure(
        "pareto",
        "What accuracy costs",
        "Up and to the left is better. The line joins the networks that no other beats in both cost and accuracy."
        f" Filled: E2GC, hollow: FgGC; {told}. Accuracy: top-1, {table.source}.",
        tuple(drawings),
        columns,
        DataTable(
            "Cost and accuracy of every network",
            ("network", "cost", "batch", "per frame", "top-1 %", "on the front"),
            tuple(rows),
        ),
    )


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that none beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, top1 in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or top1 > front[-1][1]:
            front.append((cost, top1))
    return front


def _panel(
    merit: Merit,
    batch: int,
    points: Sequence[Point],
    front: Sequence[tuple[float, float]],
    families: Sequence[str],
    series: Sequence[Series],
    columns: int,
) -> Drawing:
    panel = Panel(
        f"{merit.name}, B = {batch}",
        linear(merit.label(series), [estimate.value for _, estimate, _ in points], merit.unit, steps=4),
        linear("top-1, %", [top1 for _, _, top1 in points], from_zero=False, steps=4),
        width=304.0 if columns == 3 else 400.0,
        height=260.0,
        stamp=merit.stamp(series),
    )
    panel.line(front, "quiet")
    for network, estimate, top1 in points:
        told = f"{merit.told(network.model.name, estimate)}, {top1:.2f} % top-1"
        hollow = network.is_fggc and not network.is_e2gc
        panel.mark(estimate.value, top1, families.index(network.model.family), told, hollow=hollow)
    panel.annotate(
        [
            (estimate.value, top1, shortened(rule_name(network), 16))
            for network, estimate, top1 in points
            if (estimate.value, top1) in front
        ],
        [(estimate.value, top1) for _, estimate, top1 in points],
        front,
    )
    return panel.drawing(f"{merit.name} against accuracy at batch {batch}: {len(points)} networks")
