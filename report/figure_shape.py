"""The shape of what was measured over G and g, beside the curves that the E2GC authors published."""

from collections.abc import Sequence

from perframe.analysis.designs import Backbone
from perframe.analysis.published import BATCHES, GPUS, SOURCE
from perframe.analysis.published_series import published_series
from perframe.analysis.series import Series
from perframe.report.axes import Axis, doubling, linear
from perframe.report.figure import Cell, DataTable, Figure, number
from perframe.report.merit import EPF, FAMILY_NAMES, Merit, by_backbone, points_of
from perframe.report.panel import Drawing, Panel

Curve = dict[int, float]

_NAMES = ("here", *GPUS)
_STYLES = ("s0", "quiet dash", "quiet dots")


def beside_published(series: Sequence[Series], merit: Merit) -> Figure | None:
    """Draw a merit over G and g beside the published energy, every curve relative to its own lowest point.

    Args:
        series: All of one set of conditions.
        merit: What is drawn.

    Returns:
        `None` where nothing measured is of the published networks and batch sizes.
    """
    drawings, rows = [], []
    columns = 3 if len({each.batch for each in series} & set(BATCHES)) > 2 else 2
    for backbone, members in by_backbone(series):
        for rule in ("E2GC", "FgGC"):
            drawn = [(each, curves) for each in members if (curves := _curves(backbone, each, merit, rule))]
            highest = max((y for _, curves in drawn for curve in curves for y in curve.values()), default=1.0)
            axis = linear("times its lowest", [1.0, highest], from_zero=False, steps=4)
            drawings += [
                _panel(each, rule, curves, axis, merit.stamp(series), columns) for each, curves in drawn
            ]
            rows += [
                (
                    Cell(f"{FAMILY_NAMES[backbone.family]}, {rule}"),
                    Cell(name),
                    number(each.batch),
                    number(x),
                    number(y, ".3f"),
                )
                for each, curves in drawn
                for name, curve in zip(_NAMES, curves, strict=True)
                for x, y in curve.items()
            ]
    if not drawings:
        return None
    regime = series[0].conditions.regime
    return Figure(
        "shape",
        f"The shape of {merit.name.lower()} beside the published curves",
        "Every curve is relative to its own lowest point, so that shapes are compared and not devices. Solid:"
        f" here, {regime}. Dashed and dotted: energy per frame while training, on a P100 and a P4000 ({SOURCE})."
        " Where the solid line runs flatter, what was found in training matters less here; where it bends at"
        " another G, another G is best.",
        tuple(drawings),
        columns,
        DataTable(
            "Relative to the lowest point of each curve",
            ("networks", "measured on", "batch", "G or g", "times its lowest"),
            tuple(rows),
        ),
    )


def _curves(backbone: Backbone, series: Series, merit: Merit, rule: str) -> tuple[Curve, ...]:
    """Here and as published, over the networks that all have; none where they share fewer than two."""
    published = {
        each.conditions.device: _curve(each, EPF, rule)
        for each in published_series()
        if each.backbone == backbone and each.batch == series.batch
    }
    if set(published) != set(GPUS):
        return ()
    curves = (_curve(series, merit, rule), *(published[gpu] for gpu in GPUS))
    shared = sorted(set.intersection(*map(set, curves)))
    if len(shared) < 2:
        return ()
    return tuple({n: curve[n] / min(curve[k] for k in shared) for n in shared} for curve in curves)


def _curve(series: Series, merit: Merit, rule: str) -> Curve:
    return {n: estimate.value for n, _, estimate in points_of(series, merit, rule)}


def _panel(
    series: Series, rule: str, curves: Sequence[Curve], axis: Axis, stamp: str, columns: int
) -> Drawing:
    assert series.backbone is not None, "the published networks have one"
    letter = "G" if rule == "E2GC" else "g"
    title = f"{FAMILY_NAMES[series.backbone.family]}, {rule}, B = {series.batch}"
    width = 304.0 if columns == 3 else 400.0
    panel = Panel(
        title, doubling(letter, curves[0]), axis, width=width, height=216.0, right=72.0, stamp=stamp
    )
    for curve, style in reversed(list(zip(curves, _STYLES, strict=True))):
        panel.line(curve.items(), style)
    for n, y in curves[0].items():
        panel.mark(n, y, 0, f"{letter} = {n}: {y:.3f} times the lowest")
    last = max(curves[0])
    panel.ends(
        [
            (curve[last], name, style, None if i else 0)
            for i, (curve, name, style) in enumerate(zip(curves, _NAMES, _STYLES, strict=True))
        ]
    )
    return panel.drawing(f"Relative cost of {title}: here beside P100 and P4000")
