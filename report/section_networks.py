"""The sections about single networks: their layers, and the power while they were measured."""

from collections.abc import Callable, Sequence

from perframe.analysis.series import Conditions
from perframe.profiler.result import BatchResult
from perframe.report.collect import Collected, Measured
from perframe.report.conditions import titled
from perframe.report.figure import Figure, table_html
from perframe.report.figure_power import power_figure
from perframe.report.figures_layers import layers_figure, modules_table, roofline_figure
from perframe.report.panel import escaped
from perframe.report.units import quantity

Draw = Callable[..., str]

# Networks whose figures are unfolded, and those whose layers can be unfolded.
_DRAWN = 4
_FOLDED = 40
_RUNS = 4


def layers_section(collected: Collected, draw: Draw) -> str:
    """Return where the time and the energy of the recommended networks go, and those of the others to unfold."""
    first, others = _recommended_first(collected)
    parts = [draw(layers_of(each, collected)) for each in first]
    parts.append(draw(*rooflines_of(first, collected)))
    folded = []
    for each in others[:_FOLDED]:
        batch = each.at(collected.batch)
        if batch.layers:
            told = _told(each, collected)
            name = ", ".join((each.profile.model.name, *told, f"batch {batch.batch}"))
            table = modules_table(batch, f"{name}, by module in the order of execution")
            folded.append(_folded(each, batch, told, table_html(table, seen=False)))
    if folded:
        left = len(others) - len(others[:_FOLDED])
        more = f" {left} more networks are only in the result files." if left else ""
        parts.append(
            f'<div class="folded"><h3>The other networks, layer by layer</h3>{"".join(folded)}</div>'
        )
        parts.append(f'<p class="note">Layers of other batch sizes are in the result files.{more}</p>')
    if any(parts):
        return "".join(parts)
    return '<p class="lead">Layers were not measured: measure without <code>--no-layers</code>.</p>'


def power_section(collected: Collected, draw: Draw) -> str:
    """Return the power over time of every run of the recommended networks."""
    first, _ = _recommended_first(collected)
    drawn = draw(*(power_of(each, collected) for each in first))
    return drawn or '<p class="lead">No sensor was read: there is no power to show.</p>'


def layers_of(each: Measured, collected: Collected) -> Figure | None:
    """Draw where a frame of a network goes, in the first of its runs; `None` without layers."""
    figure = layers_figure(each.profile, each.at(collected.batch))
    return titled(figure, *_told(each, collected))


def rooflines_of(networks: Sequence[Measured], collected: Collected) -> list[Figure | None]:
    """Draw how near the layers of networks come to the device's best, in their first runs: a figure per device."""
    grouped: dict[Conditions, list[Measured]] = {}
    for each in networks:
        grouped.setdefault(each.conditions, []).append(each)
    figures = []
    for conditions, members in grouped.items():
        figure = roofline_figure([(each.profile, each.at(collected.batch)) for each in members])
        runs = dict.fromkeys(each.run for each in members)
        figures.append(titled(figure, collected.where(conditions), *(runs if len(runs) == 1 else ())))
    return figures


def power_of(each: Measured, collected: Collected) -> Figure | None:
    """Draw the power of the runs of a network; `None` where no sensor was read."""
    shown = each.runs[:_RUNS]
    figure = power_figure([profile for _, profile in shown], each.at(collected.batch).batch)
    runs = f"runs 1 to {len(shown)} of {len(each.runs)}" if len(shown) < len(each.runs) else ""
    return titled(figure, collected.where(each.conditions), runs)


def _told(each: Measured, collected: Collected) -> tuple[str, ...]:
    """What tells a network from others of its name, and which of its runs is shown."""
    return tuple(part for part in (collected.where(each.conditions), each.run) if part)


def _recommended_first(collected: Collected) -> tuple[list[Measured], list[Measured]]:
    """The networks that the answers recommend, or the first few; and the others."""
    first = list(collected.recommended or collected.measured)[:_DRAWN]
    return first, [each for each in collected.measured if each not in first]


def _folded(each: Measured, batch: BatchResult, told: Sequence[str], body: str) -> str:
    model = each.profile.model
    parts = [*told, model.precision or "", f"batch {batch.batch}"]
    if batch.latency is not None:
        parts.append(quantity(batch.latency.p50_s, "s"))
    text = "".join(f", {part}" for part in parts if part)
    return (
        f'<details class="one"><summary>{escaped(model.name)}<span>{escaped(text)}</span></summary>'
        f"{body}</details>"
    )
