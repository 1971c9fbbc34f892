"""Which networks to measure next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perframe.analysis.designs import Design, design, layer_groups, possible
from perframe.analysis.energy_models import FEWEST, Predicted, features, fit_physical
from perframe.analysis.results import Result
from perframe.analysis.series import Series, series_of
from perframe.profiler.stats import Estimate


@dataclass(frozen=True)
class Proposal:
    """A network to measure.

    Attributes:
        label: `G=8` or `g=4`.
        epf_j: What it is predicted to cost per frame; `None` where too little was measured to say.
        extrapolated: Whether that is outside of what was measured.
        reason: What would be learnt.
    """

    label: str
    epf_j: Estimate | None
    extrapolated: bool
    reason: str


def next_to_measure(series: Series, count: int = 3) -> tuple[Proposal, ...]:
    """Propose which networks of a series to measure next, the most useful first.

    With too few for a prediction, they are those whose terms in the physical model differ most from all that are
    measured or proposed already. Otherwise those that may be the cheapest come first, by the lower ends of their
    intervals, then those of which the least is known; what would be an extrapolation comes last.

    Args:
        series: Of one backbone. Networks whose energy is not known are not taken for measured.
        count: How many to propose at most.
    """
    assert series.backbone is not None, "only networks of the two families have a group size"
    known = series.with_energy()
    measured = {network.label for network in known.networks}
    candidates = [
        (f"{rule}={number}", design(series.backbone, layer_groups(series.backbone, rule, number)))
        for rule, number in possible(series.backbone)
        if f"{rule}={number}" not in measured
    ]
    if len(known.networks) < FEWEST:
        return tuple(_furthest(known.designs, candidates, count))
    values = [mean.value for mean in known.means("epf_j")]
    model, best = fit_physical(known.designs, values), min(values)
    predictions = [(label, model.predict(each)) for label, each in candidates]
    predictions.sort(key=lambda each: _order(each[1], best))
    return tuple(
        Proposal(
            label,
            Estimate(predicted.value, predicted.low, predicted.high, len(values)),
            predicted.extrapolated,
            "may be the cheapest" if predicted.low <= best else "the least is known of it",
        )
        for label, predicted in predictions[:count]
    )


def proposals_for(results: Sequence[Result], batch: int) -> dict[str, tuple[Proposal, ...]]:
    """Propose what to measure next of every network family that was measured deployed at one batch size.

    Returns:
        The proposals, by what people call the conditions.
    """
    return {
        series.where: next_to_measure(series)
        for series in series_of(results)
        if series.batch == batch and series.conditions.regime == "inference" and series.backbone is not None
    }


def _order(predicted: Predicted, best: float) -> tuple[bool, bool, float]:
    hopeful = predicted.low <= best
    return (predicted.extrapolated, not hopeful, predicted.low if hopeful else -predicted.relative_error)


def _furthest(
    measured: Sequence[Design], candidates: Sequence[tuple[str, Design]], count: int
) -> Iterator[Proposal]:
    """One after the other the candidate that is the furthest from the nearest of all before."""
    designs = [*measured, *(each for _, each in candidates)]
    # The constant is the same for all of them.
    terms = np.log(np.array([features(each)[1:] for each in designs]))
    terms = (terms - terms.mean(axis=0)) / terms.std(axis=0)
    # Without any measurement, that which is unlike the mean comes first.
    taken = terms[: len(measured)] if measured else np.zeros((1, terms.shape[1]))
    for _ in range(min(count, len(candidates))):
        distances = np.linalg.norm(terms[:, None] - taken[None], axis=2).min(axis=1)
        chosen = int(distances[len(measured) :].argmax())
        taken = np.vstack((taken, terms[len(measured) + chosen]))
        yield Proposal(candidates[chosen][0], None, False, "unlike everything measured so far")
