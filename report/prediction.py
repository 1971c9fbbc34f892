"""What a network that was not measured would cost, for the terminal."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.text import Text

from perframe.analysis.optimum import LayerChoice
from perframe.analysis.predict import Accuracy, OptimumDesign, Prediction
from perframe.analysis.proposals import Proposal
from perframe.analysis.results import Skipped
from perframe.errors import one_line
from perframe.profiler.stats import Estimate
from perframe.report.findings import skipped_lines
from perframe.report.style import plain_table
from perframe.report.units import percent, quantity


def prediction_tables(predictions: Sequence[Prediction], skipped: Sequence[Skipped]) -> RenderableType:
    """Show predictions, how far the model can be trusted, and what to measure next."""
    parts: list[RenderableType] = []
    for each in predictions:
        parts.append(_forecasts(each))
        parts += proposal_lines(each.next)
        if each.optimum is not None:
            parts.append(_optimum(each, each.optimum))
    cautions = [Text(line, style="yellow") for line in _cautions(predictions)]
    return Group(*parts, *cautions, *skipped_lines(skipped))


def _forecasts(prediction: Prediction) -> RenderableType:
    where = f"{one_line(prediction.where)}, from {prediction.networks} networks"
    table = plain_table(f"{prediction.label}, {where}: predicted, with 95 % intervals")
    for name in ("", "predicted", "measured", "authors' model", "leave-one-out error", "the authors' error"):
        table.add_column(name)
    figures = [("latency", prediction.latency_s, "s")]
    if prediction.epf_j is not None:
        figures.insert(0, (f"EPF ({prediction.energy_kind})", prediction.epf_j, "J"))
    for name, forecast, unit in figures:
        table.add_row(
            name,
            interval(forecast.value, unit) + (" extrapolated" if forecast.extrapolated else ""),
            quantity(None if forecast.measured is None else forecast.measured.value, unit),
            quantity(forecast.by_authors, unit),
            *(_accuracy(of) for of in (forecast.accuracy, forecast.authors_accuracy)),
        )
    return table


def interval(estimate: Estimate, unit: str) -> str:
    """Return a figure with the ends of its interval."""
    if estimate.low is None or estimate.high is None:
        return quantity(estimate.value, unit)
    ends = f"{quantity(estimate.low, unit)} to {quantity(estimate.high, unit)}"
    return f"{quantity(estimate.value, unit)} ({ends})"


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "too few to tell"
    worst = f"worst {100.0 * accuracy.worst:+.0f} % at {one_line(accuracy.worst_network)}"
    held = f"interval held {accuracy.covered} of {accuracy.networks}"
    return f"{percent(accuracy.mean)}, {worst}\n{held}"


def _cautions(predictions: Sequence[Prediction]) -> list[str]:
    lines = []
    if predictions[0].not_buildable:
        lines.append(
            f"There is no such network: {one_line(predictions[0].not_buildable)}"
            " The figures are what the model gives between those that there are."
        )
    forecasts = [f for each in predictions for f in (each.epf_j, each.latency_s) if f is not None]
    if any(
        f.accuracy is not None
        and f.authors_accuracy is not None
        and f.authors_accuracy.mean < f.accuracy.mean
        for f in forecasts
    ):
        lines.append("Where its leave-one-out error is smaller, the authors' model is the better one here.")
    if any(forecast.extrapolated for forecast in forecasts):
        lines.append("Extrapolated: outside of what was measured, where the interval may be too narrow.")
    if any(each.epf_j is not None and each.energy_kind == "modelled" for each in predictions):
        lines.append("Energy is modelled, not measured.")
    return lines


def proposal_lines(proposals: Sequence[Proposal], where: str | None = None) -> list[Text]:
    """Show which networks to measure next.

    Args:
        proposals: The most useful first.
        where: Under what conditions, unless that stands above.
    """
    if not proposals:
        return []
    lines = [Text(f"Measure next, {one_line(where)}:" if where else "Measure next:")]
    for each in proposals:
        epf = "" if each.epf_j is None else f"EPF {interval(each.epf_j, 'J')}, "
        lines.append(
            Text(f"  {each.label}: {epf}{each.reason}{', extrapolated' if each.extrapolated else ''}")
        )
    return lines


def _optimum(prediction: Prediction, found: OptimumDesign) -> RenderableType:
    optimum = found.optimum
    table = plain_table("The authors' optimum group size")
    table.add_column("layers", overflow="fold")
    for name in ("channels", "g by formula", "g", "G", "g at constant G"):
        table.add_column(name, justify="right")
    for _, alike in groupby(optimum.layers, lambda each: (each.channels, each.wanted)):
        layers = list(alike)
        table.add_row(
            _modules(layers),
            str(layers[0].channels),
            f"{layers[0].wanted:.1f}",
            str(layers[0].groups),
            str(layers[0].group_size),
            str(layers[0].constant_groups),
        )
    constant = "no constant G was measured"
    if found.constant_epf_j is not None:
        constant = f"constant G={optimum.constant_g}: {interval(found.constant_epf_j, 'J')}"
    table.caption = (
        f"beta {_plain(optimum.beta)}{' (at the edge of its range)' if optimum.at_edge else ''}, gamma"
        f" {_plain(optimum.gamma)}, from {optimum.cheapest}; intervals: {optimum.method}.\n"
        f"EPF by the physical model ({prediction.energy_kind}): these groups {interval(found.proposed_epf_j, 'J')};"
        f" {constant}."
    )
    return table


def _modules(layers: Sequence[LayerChoice]) -> str:
    first, last = layers[0].module, layers[-1].module
    return one_line(first if len(layers) == 1 else f"{first} to {last}")


def _plain(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
