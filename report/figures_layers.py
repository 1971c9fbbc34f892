"""Figures of the layers of a profile: where time and energy go, and how near to the device's best each one comes."""

import heapq
import math
from collections.abc import Sequence

from perframe.profiler.result import BatchResult, LayerResult, Profile
from perframe.profiler.summary import ModuleTotal, by_module
from perframe.report.axes import Axis, linear, logarithmic
from perframe.report.figure import Cell, DataTable, Figure, measured, number, share
from perframe.report.panel import Drawing, Panel, shortened
from perframe.report.units import percent, quantity

# More would be neither read nor carried by a page.
_BARS = 60
_ROWS = 120
_POINTS = 300
_ROW_PX = 14.0
_LEGEND = (
    ("grouped", "area s0"),
    ("other conv, fc", "area dense"),
    ("no MACs", "area other"),
    ("added by the runtime", "area s1"),
)


def energy_stamp(batch: BatchResult) -> str:
    """Return the word that every figure of modelled energy carries."""
    return "modelled" if batch.energy.kind == "modelled" else ""


def layers_figure(profile: Profile, batch: BatchResult) -> Figure | None:
    """Draw where the time goes in the order of execution, and the energy (else the time) with the costliest first.

    Returns:
        `None` where layers were not measured.
    """
    totals = by_module(batch.layers)
    if not totals:
        return None
    shown, left = _costliest(totals, _BARS)
    drawings = [_bars("Time, in the order of execution", shown, "s", "")]
    costliest = sorted(shown, key=lambda total: -total.latency_s)
    if any(total.energy_j is not None for total in shown):
        costliest = sorted(shown, key=lambda total: -(total.energy_j or 0.0))
        drawings.append(_bars("Energy per frame, the costliest first", costliest, "J", energy_stamp(batch)))
    else:
        drawings.append(_bars("Time, the costliest first", costliest, "s", ""))
    name = profile.model.name
    return Figure(
        "layers",
        f"Where a frame of {name} goes, batch {batch.batch}",
        _what_to_see(batch, totals)
        + (f" The {len(shown)} costliest of {len(totals)} modules are drawn." if left else ""),
        tuple(drawings),
        2,
        modules_table(batch, f"{name}, batch {batch.batch}, by module in the order of execution"),
    )


def modules_table(batch: BatchResult, caption: str) -> DataTable:
    """Return the cost of every module, in the order of execution; the cheapest of very many are summed up."""
    totals = by_module(batch.layers)
    shown, left = _costliest(totals, _ROWS)
    place = {id(total): i for i, total in enumerate(totals, start=1)}
    most_s = max((total.latency_s for total in shown), default=0.0) or 1.0
    most_j = max((total.energy_j or 0.0 for total in shown), default=0.0) or 1.0
    rows = tuple(
        (
            Cell(_name(total)),
            number(place[id(total)]),
            Cell(quantity(total.latency_s, "s"), total.latency_s, total.latency_s / most_s, _kind(total)),
            share(total.share),
            Cell(quantity(total.overhead_s or None, "s"), total.overhead_s),
            Cell(
                quantity(total.energy_j, "J"),
                total.energy_j,
                None if total.energy_j is None else total.energy_j / most_j,
                _kind(total),
            ),
            measured(total.macs, ""),
            number(total.groups),
            number(total.group_size),
            number(total.intensity, ".1f"),
        )
        for total in shown
    )
    note = ""
    if left:
        note = (
            f"{len(left)} cheaper modules are left out; together they take"
            f" {quantity(math.fsum(total.latency_s for total in left), 's')},"
            f" {percent(math.fsum(total.share for total in left))} of the time."
        )
    energy = f"energy ({stamp})" if (stamp := energy_stamp(batch)) else "energy"
    headings = ("module", "#", "time", "share", "overhead", energy, "MACs", "g", "G", "intensity")
    return DataTable(caption, headings, rows, note=note)


def roofline_figure(of_each: Sequence[tuple[Profile, BatchResult]]) -> Figure | None:
    """Draw the rate of MACs that every layer reaches against its arithmetic intensity, a plot per network.

    Returns:
        `None` where no layer has both.
    """
    drawings: list[Drawing] = []
    rows: list[tuple[Cell, ...]] = []
    left = 0
    for profile, batch in of_each:
        known = [layer for layer in batch.layers if layer.macs and layer.intensity and layer.latency_s > 0.0]
        steps = heapq.nlargest(_POINTS, known, key=lambda layer: layer.macs or 0)
        left += len(known) - len(steps)
        points = [(layer, layer.intensity or 0.0, _rate(layer, batch.batch)) for layer in steps]
        if points:
            drawings.append(_roofline(f"{profile.model.name}, B = {batch.batch}", points))
            best = max(rate for _, _, rate in points)
            rows += [
                (
                    Cell(profile.model.name),
                    Cell(_layer_name(layer)),
                    number(layer.groups),
                    number(layer.group_size),
                    number(intensity, ".2f"),
                    measured(rate, "MAC/s"),
                    share(rate / best),
                )
                for layer, intensity, rate in points
            ]
    if not drawings:
        return None
    return Figure(
        "roofline",
        "How near to the device's best every layer comes",
        "Round: grouped convolutions; square: other convolutions and fc. Dashed: the best rate, and the best flow"
        " of elements, that any layer of the network reached here; not the device's nominal peak. A layer far"
        " below the dashed line uses the device badly."
        + (f" {left} layers with fewer MACs are not drawn." if left else ""),
        tuple(drawings),
        2,
        DataTable(
            "Rate by layer", ("network", "layer", "g", "G", "intensity", "rate", "of the best"), tuple(rows)
        ),
    )


def _roofline(title: str, points: Sequence[tuple[LayerResult, float, float]]) -> Drawing:
    best_rate = max(rate for _, _, rate in points)
    best_flow = max(rate / intensity for _, intensity, rate in points)
    intensities = [intensity for _, intensity, _ in points]
    x = logarithmic("arithmetic intensity, MACs / (parameters + activations)", intensities)
    y = logarithmic("achieved rate", [rate for _, _, rate in points], "MAC/s")
    panel = Panel(title, x, y, height=290.0)
    start = max(x.low, y.low / best_flow)
    bend = min(max(best_rate / best_flow, start), x.high)
    panel.line([(start, start * best_flow), (bend, bend * best_flow), (x.high, best_rate)], "quiet dash")
    panel.text(panel.right, panel.py(best_rate) - 7.0, "best rate seen here", "tick", "end")
    for layer, intensity, rate in points:
        grouped = (layer.groups or 1) > 1
        told = f"{_layer_name(layer)}: {quantity(rate, 'MAC/s')} at intensity {intensity:.1f}"
        panel.mark(intensity, rate, 0 if grouped else 1, told, style="s0" if grouped else "dense")
    return panel.drawing(f"{title}: achieved MAC rate against arithmetic intensity of {len(points)} layers")


def _what_to_see(batch: BatchResult, totals: Sequence[ModuleTotal]) -> str:
    first = max(totals, key=lambda total: total.share)
    all_s = math.fsum(total.latency_s for total in totals) or 1.0
    overhead = math.fsum(total.overhead_s for total in totals) / all_s
    grouped = math.fsum(total.latency_s for total in totals if _kind(total) == "s0") / all_s
    text = (
        f"{_name(first)} takes the most time, {percent(first.share)}; all grouped convolutions take {percent(grouped)}."
        f" What the runtime added (layout changes, copies) takes {percent(overhead)}."
    )
    methods = sorted({layer.energy_method for layer in batch.layers if layer.energy_method is not None})
    if methods == ["attributed"]:
        text += " A layer's energy is its share of the time, times the network's energy."
    elif methods:
        text += f" Energy by layer: {', '.join(methods)}."
    if batch.layers_gap_s is not None and batch.latency is not None:
        text += (
            f" The layers add up to {quantity(batch.layers_sum_s, 's')}, the whole takes"
            f" {quantity(batch.latency.p50_s, 's')}."
        )
    return text


def _bars(title: str, totals: Sequence[ModuleTotal], unit: str, stamp: str) -> Drawing:
    values = [(total.latency_s if unit == "s" else total.energy_j) or 0.0 for total in totals]
    names = tuple((float(i), shortened(_name(total), 25)) for i, total in enumerate(totals))
    label = "time per inference" if unit == "s" else "energy per frame"
    panel = Panel(
        title,
        linear(f"{label} ({stamp})" if stamp else label, values, unit),
        Axis("", len(totals) - 0.4, -0.6, names),
        height=96.0 + _ROW_PX * len(totals),
        stamp=stamp,
        rows=True,
    )
    panel.legend(_LEGEND[: 4 if unit == "s" else 3])
    for i, (total, value) in enumerate(zip(totals, values, strict=True)):
        told = f"{_name(total)}: {quantity(value, unit)}"
        overhead = total.overhead_s if unit == "s" else 0.0
        height = (i + 0.36, i - 0.36)
        panel.block((0.0, value - overhead), height, f"area {_kind(total)}", told)
        if overhead:
            added = f"{told}, of which the runtime added {quantity(overhead, 's')}"
            panel.block((value - overhead, value), height, "area s1", added)
    return panel.drawing(f"{title}: {len(totals)} modules")


def _costliest(totals: Sequence[ModuleTotal], most: int) -> tuple[list[ModuleTotal], list[ModuleTotal]]:
    """The modules that take the most time, and the others; both in the order of execution."""
    if len(totals) <= most:
        return list(totals), []
    chosen = {id(total) for total in heapq.nlargest(most, totals, key=lambda total: total.latency_s)}
    kept = [total for total in totals if id(total) in chosen]
    return kept, [total for total in totals if id(total) not in chosen]


def _kind(total: ModuleTotal) -> str:
    """The colour of a module: what this program is about first."""
    if not total.macs:
        return "other"
    return "s0" if (total.groups or 1) > 1 else "dense"


def _name(total: ModuleTotal) -> str:
    return "(not attributed)" if total.module is None else total.module or "(network)"


def _layer_name(layer: LayerResult) -> str:
    return layer.module or layer.name


def _rate(layer: LayerResult, batch: int) -> float:
    return (layer.macs or 0) * batch / layer.latency_s
