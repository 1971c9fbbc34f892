"""What a group size that was not measured would cost, from the ones that were."""

from dataclasses import dataclass

import numpy as np

from perframe.analysis.designs import Backbone, Design, Rule, design, layer_groups
from perframe.analysis.energy_models import (
    FEWEST,
    LeftOut,
    Predicted,
    fit_authors,
    fit_physical,
    leave_one_out,
)
from perframe.analysis.optimum import Optimum, fit_optimum
from perframe.analysis.proposals import Proposal, next_to_measure
from perframe.analysis.results import Results
from perframe.analysis.series import Figure, Series, series_of
from perframe.errors import InputError, UsageError
from perframe.export.architecture import FAMILIES, make_architecture
from perframe.profiler.result import EnergyKind
from perframe.profiler.stats import Estimate


@dataclass(frozen=True)
class Accuracy:
    """How well a model predicts each measured network from the others.

    Attributes:
        mean: Mean absolute relative error.
        worst: The largest.
        worst_network: Whose that is.
        covered: How many networks lay within their 95 % interval.
        networks: Of how many.
    """

    mean: float
    worst: float
    worst_network: str
    covered: int
    networks: int


@dataclass(frozen=True)
class Forecast:
    """One predicted figure.

    Attributes:
        value: By the physical model, with its 95 % interval.
        extrapolated: Whether it lies outside of what was measured.
        by_authors: By the authors' model.
        measured: What was measured, if it was.
        accuracy: Of the physical model on the measured networks; `None` where they are too few to leave one out.
        authors_accuracy: Of the authors' model.
    """

    value: Estimate
    extrapolated: bool
    by_authors: float
    measured: Estimate | None
    accuracy: Accuracy | None
    authors_accuracy: Accuracy | None


@dataclass(frozen=True)
class OptimumDesign:
    """The authors' optimum-group-size model, and what its design and the constant-G one would cost.

    Attributes:
        optimum: The model.
        proposed_epf_j: Of the design with the proposed number of groups in each layer, by the physical model.
        constant_epf_j: Of the cheapest constant G that was measured, by the same model.
    """

    optimum: Optimum
    proposed_epf_j: Estimate
    constant_epf_j: Estimate | None


@dataclass(frozen=True)
class Prediction:
    """One network at one batch size under the conditions of one series.

    Attributes:
        where: Network, batch size and conditions.
        label: `G=12` or `g=6`.
        batch: Frames per inference.
        networks: How many were measured.
        energy_kind: Whether the joules behind it are measured.
        not_buildable: Why there is no such network, though there is a prediction; `None` if there is.
        epf_j: Joules per frame; `None` if too few networks have any.
        latency_s: Seconds per inference of the batch.
        next: What to measure next, the most useful first.
        optimum: The authors' model of the optimum group size; `None` without energy.
    """

    where: str
    label: str
    batch: int
    networks: int
    energy_kind: EnergyKind
    not_buildable: str | None
    epf_j: Forecast | None
    latency_s: Forecast
    next: tuple[Proposal, ...]
    optimum: OptimumDesign | None


def predict(
    results: Results,
    family: str,
    *,
    group_size: int | None = None,
    groups: int | None = None,
    batch: int | None = None,
) -> tuple[Prediction, ...]:
    """Predict one network under all conditions that enough networks of its family were measured under.

    Args:
        results: What was measured.
        family: `mobilenet-v1` or `resnext50`; the names in results are taken too.
        group_size: G of E2GC. Exactly one of this and `groups` is given. It need not divide the channels: the
            prediction then is of a network that cannot be built, and says so.
        groups: g of FgGC.
        batch: Frames per inference; `None` predicts for all that were measured.

    Raises:
        UsageError: Not exactly one of G and g, or the family is not known.
        InputError: Nothing of the family was measured, not at this batch size, or too few networks.
    """
    rule, number = _asked(group_size, groups)
    known = FAMILIES.get(family, family)
    if known not in FAMILIES.values():
        raise UsageError(f"{family!r} is no family of networks.", f"Choose one of {', '.join(FAMILIES)}.")
    series = [
        one for one in series_of(results.results) if one.backbone is not None and one.backbone.family == known
    ]
    if not series:
        raise InputError(
            f"{results.folder}: no results of {family}.", f"Measure some: perframe sweep --family {family}."
        )
    chosen = [one for one in series if batch in (None, one.batch)]
    if not chosen:
        measured = ", ".join(map(str, sorted({one.batch for one in series})))
        raise InputError(
            f"{results.folder}: no results of {family} at batch {batch}, only at {measured}.",
            f"Give one of these, or measure with -b {batch}.",
        )
    enough = [one for one in chosen if len(one.networks) >= FEWEST]
    if not enough:
        most = max(chosen, key=lambda one: len(one.networks))
        missing = FEWEST - len(most.networks)
        raise InputError(
            f"{results.folder}: {most.where}: a prediction takes {FEWEST} networks, found {len(most.networks)}.",
            f"Measure {missing} more, such as {', '.join(each.label for each in next_to_measure(most, missing))}.",
        )
    return tuple(_predicted(one, rule, number) for one in enough)


def _asked(group_size: int | None, groups: int | None) -> tuple[Rule, int]:
    number = groups if group_size is None else group_size
    if number is None or (group_size is not None and groups is not None):
        raise UsageError(
            "Expected either a group size or a number of groups.", "Give one of --group-size and --groups."
        )
    if number < 1:
        raise UsageError(f"{number} is no number of channels or groups.", "Give a whole number from 1 up.")
    return ("g", number) if group_size is None else ("G", number)


def _predicted(series: Series, rule: Rule, number: int) -> Prediction:
    assert series.backbone is not None, "it was chosen by its family"
    wanted = design(series.backbone, layer_groups(series.backbone, rule, number))
    with_energy = series.with_energy()
    energy = len(with_energy.networks) >= FEWEST
    return Prediction(
        where=series.where,
        label=f"{rule}={number}",
        batch=series.batch,
        networks=len(with_energy.networks if energy else series.networks),
        energy_kind=series.conditions.energy_kind,
        not_buildable=_not_buildable(series.backbone, rule, number),
        epf_j=_forecast(with_energy, wanted, "epf_j") if energy else None,
        latency_s=_forecast(series, wanted, "latency_s"),
        next=next_to_measure(series),
        optimum=_optimum(with_energy, series.backbone) if energy else None,
    )


def _forecast(series: Series, wanted: Design, figure: Figure) -> Forecast:
    designs, means = series.designs, series.means(figure)
    values = [mean.value for mean in means]
    names = [network.label for network in series.networks]
    predicted = fit_physical(designs, values).predict(wanted)
    measured = (
        mean.estimate
        for each, mean in zip(designs, means, strict=True)
        if np.array_equal(each.groups, wanted.groups)
    )
    return Forecast(
        value=_estimate(predicted, len(values)),
        extrapolated=predicted.extrapolated,
        by_authors=fit_authors(designs, values).predict(wanted).value,
        measured=next(measured, None),
        accuracy=_accuracy(leave_one_out(fit_physical, designs, values), names),
        authors_accuracy=_accuracy(leave_one_out(fit_authors, designs, values), names),
    )


def _accuracy(left_out: LeftOut | None, names: list[str]) -> Accuracy | None:
    if left_out is None:
        return None
    worst = max(range(len(names)), key=lambda index: abs(left_out.errors[index]))
    return Accuracy(left_out.mean, left_out.errors[worst], names[worst], sum(left_out.covered), len(names))


def _optimum(series: Series, backbone: Backbone) -> OptimumDesign:
    labels = [network.label for network in series.networks]
    sizes = [network.model.group_size for network in series.networks]
    optimum = fit_optimum(backbone, series.designs, series.epf_j, labels, sizes)
    model = fit_physical(series.designs, [mean.value for mean in series.means("epf_j")])
    n = len(labels)
    constant = None
    if optimum.constant_g is not None:
        of_constant = design(backbone, layer_groups(backbone, "G", optimum.constant_g))
        constant = _estimate(model.predict(of_constant), n)
    return OptimumDesign(
        optimum, _estimate(model.predict(design(backbone, optimum.layer_groups)), n), constant
    )


def _estimate(predicted: Predicted, n: int) -> Estimate:
    return Estimate(predicted.value, predicted.low, predicted.high, n)


def _not_buildable(backbone: Backbone, rule: Rule, number: int) -> str | None:
    try:
        if rule == "G":
            make_architecture(backbone.family, group_size=number, width=backbone.width)
        else:
            make_architecture(backbone.family, groups=number, width=backbone.width)
    except UsageError as error:
        return f"{error.message} {error.hint}"
    return None
