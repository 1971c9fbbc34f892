"""The sections about single networks: their layers, and the power while they were measured."""

from collections.abc import Callable

from perframe.report.collect import Collected, Measured
from perframe.report.figure import table_html
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
    parts = []
    for each in first:
        batch = each.at(collected.batch)
        parts.append(draw(layers_figure(each.profile, batch)))
    parts.append(draw(roofline_figure([(each.profile, each.at(collected.batch)) for each in first])))
    folded = []
    for each in others[:_FOLDED]:
        batch = each.at(collected.batch)
        if batch.layers:
            caption = f"{each.profile.model.name}, batch {batch.batch}, by module in the order of execution"
            folded.append(_folded(each, batch.batch, table_html(modules_table(batch, caption), seen=False)))
    if folded:
        left = len(others) - len(others[:_FOLDED])
        more = f" {left} more networks are only in the result files." if left else ""
        parts.append(
            f'<div class="folded"><h3>The other networks, layer by layer</h3>{"".join(folded)}</div>'
        )
        parts.append(f'<p class="note">Layers of other batch sizes are in the result files.{more}</p>')
    if any(parts):
        return "".join(parts)
    return '<p class="lead">Layers were not measured: profile without <code>--no-layers</code>.</p>'


def power_section(collected: Collected, draw: Draw) -> str:
    """Return the power over time of every run of the recommended networks."""
    first, _ = _recommended_first(collected)
    drawn = draw(
        *(
            power_figure([profile for _, profile in each.runs[:_RUNS]], each.at(collected.batch).batch)
            for each in first
        )
    )
    return drawn or '<p class="lead">No sensor was read: there is no power to show.</p>'


def _recommended_first(collected: Collected) -> tuple[list[Measured], list[Measured]]:
    """The networks that the answers recommend, or the first few; and the others."""
    wanted = {
        (several[0].picked.model.name, several[0].picked.model.precision, several[0].picked.model.sha256)
        for several in collected.answers
    }
    chosen = [
        each
        for each in collected.measured
        if (each.profile.model.name, each.profile.model.precision, each.profile.model.sha256) in wanted
    ]
    first = (chosen or list(collected.measured))[:_DRAWN]
    return first, [each for each in collected.measured if each not in first]


def _folded(each: Measured, batch: int, body: str) -> str:
    latency = each.at(batch).latency
    told = f", {quantity(latency.p50_s, 's')}" if latency is not None else ""
    return (
        f'<details class="one"><summary>{escaped(each.profile.model.name)}'
        f"<span>, {escaped(each.profile.model.precision or '')} batch {batch}{told}</span></summary>{body}</details>"
    )
