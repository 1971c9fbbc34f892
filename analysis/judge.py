"""A published claim on one set of results: what they say to it, and how sure that is."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from perframe.analysis.claims import Claim
from perframe.analysis.designs import recognised
from perframe.analysis.effects import Effect, Missing, interval
from perframe.analysis.published_series import published_series
from perframe.analysis.ranks import SIGNIFICANT
from perframe.analysis.series import Series, known_spread
from perframe.profiler.result import EnergyKind
from perframe.profiler.stats import Estimate

Outcome = Literal["holds", "weaker", "stronger", "reversed", "inconclusive", "not tested"]


@dataclass(frozen=True)
class Part:
    """One of the figures that an effect is made of."""

    name: str
    effect: Estimate


@dataclass(frozen=True)
class Judged:
    """A claim on one set of results.

    Attributes:
        where: Which results.
        outcome: What they say to the claim, see `decide`.
        effect: The effect with its 95 % interval; `None` if it was not tested.
        chance: How likely a correlation is as far from zero by chance.
        detectable: The smallest effect that would have been told from none.
        published: Smallest and largest effect in the published tables, over the same networks where they are
            there. Of a correlation, which errors pull towards zero: what 95 % of the draws lie within if the published
            energies are as uncertain as those here. `None` where nothing was published.
        energy_kind: Whether the joules are measured; every figure here rests on it.
        run_spread: Relative spread between runs in the interval, the largest where series differ.
        spread_source: Whether that was measured or assumed.
        parts: What the effect is made of.
        missing: What would have to be measured to test it.
    """

    where: str
    outcome: Outcome
    effect: Estimate | None = None
    chance: float | None = None
    detectable: float | None = None
    published: tuple[float, float] | None = None
    energy_kind: EnergyKind | None = None
    run_spread: float | None = None
    spread_source: str | None = None
    parts: tuple[Part, ...] = ()
    missing: str | None = None


def decide(effect: Estimate, published: tuple[float, float] | None, chance: float | None = None) -> Outcome:
    """Decide what an effect says to a claim for which effects are positive.

    * `reversed`: the whole interval is below zero, and a correlation is no chance;
    * `weaker`: below everything that was published. Whether there is any effect is not said;
    * `inconclusive`: neither, and it cannot be told from none;
    * `stronger`: above everything that was published;
    * `holds`: above zero.

    A share is weaker or stronger with its whole interval. Of a correlation the errors are in what was published, see
    `Judged.published`, and its value is held against that.

    Args:
        effect: With its 95 % interval.
        published: Between what an effect as published would lie; `None` where there is none.
        chance: Of a correlation, how likely one as far from zero is by chance.
    """
    if effect.low is None or effect.high is None:
        return "inconclusive"
    told = chance is None or chance <= SIGNIFICANT
    if told and effect.high < 0.0:
        return "reversed"
    low, high = (effect.low, effect.high) if chance is None else (effect.value, effect.value)
    if published is not None and high < published[0]:
        return "weaker"
    if not told or effect.low <= 0.0:
        return "inconclusive"
    return "stronger" if published is not None and low > published[1] else "holds"


def judge(claim: Claim, case: tuple[Series, ...]) -> Judged:
    """Judge a claim on one of its cases.

    Args:
        claim: The claim.
        case: As `claim.cases` gives it, of series whose energy is known.
    """
    effect = claim.effect(*case)
    if isinstance(effect, Missing):
        return Judged(where_of(case), "not tested", missing=effect.what)
    estimate, published = effect.estimate, _published_range(claim, case)
    if not math.isfinite(estimate.value):
        return Judged(where_of(case), "not tested", missing="networks that differ in what is correlated")
    p = None if effect.chance is None else effect.chance.p
    spread, source = known_spread(case)
    return Judged(
        where=where_of(case),
        outcome=decide(estimate, published, p),
        effect=estimate,
        chance=p,
        detectable=_detectable(effect),
        published=published,
        energy_kind=case[0].conditions.energy_kind,
        run_spread=spread,
        spread_source=source,
        parts=parts_of(effect),
    )


def _published_range(claim: Claim, case: tuple[Series, ...]) -> tuple[float, float] | None:
    """The same effect over the same networks in the published tables, at the same batch sizes where they have them."""
    tables, batches = published_series(), {one.batch for one in case}
    for chosen in (tuple(one for one in tables if one.batch in batches), tables):
        found = [claim.effect(*_in_place_of(case, each)) for each in claim.cases(chosen)]
        ends = [_ends(each) for each in found if isinstance(each, Effect) and _is_effect(each)]
        if ends:
            return min(low for low, _ in ends), max(high for _, high in ends)
    return None


def _is_effect(effect: Effect) -> bool:
    """A correlation that is chance, or the opposite of what is claimed, is nothing to be weaker than."""
    return effect.chance is None or (effect.chance.p <= SIGNIFICANT and float(effect.rows[0]) > 0.0)


def _in_place_of(case: tuple[Series, ...], published: tuple[Series, ...]) -> tuple[Series, ...]:
    """The published case with the errors of this one; a table that this one is held against has none in either."""
    other = case[-1].conditions
    if published[0].conditions == other:
        published = published[::-1]
    return tuple(one if one.conditions == other else _as_uncertain(one, case[0]) for one in published)


def _as_uncertain(table: Series, here: Series) -> Series:
    """The networks of a published table that were measured here, their energies as uncertain as those here."""
    known = {recognised(network.model): network.epf_j for network in here.networks}
    networks = []
    for network in table.networks:
        error = known.get(recognised(network.model))
        if error is not None and network.epf_j is not None:
            epf_j = replace(network.epf_j, relative_error=error.relative_error, degrees=error.degrees)
            networks.append(replace(network, epf_j=epf_j))
    return replace(table, networks=tuple(networks))


def _ends(effect: Effect) -> tuple[float, float]:
    value = float(effect.rows[0])
    drawn = interval(effect.rows, effect.n)
    if effect.chance is None or drawn.low is None or drawn.high is None:
        return value, value
    # No effect up to the published one is stronger than that.
    return min(drawn.low, value), max(drawn.high, value)


def _detectable(effect: Effect) -> float | None:
    estimate = effect.estimate
    half = None if estimate.low is None or estimate.high is None else (estimate.high - estimate.low) / 2.0
    if effect.chance is None:
        return half
    return None if effect.chance.least is None else max(effect.chance.least, half or 0.0)


def parts_of(effect: Effect) -> tuple[Part, ...]:
    """Return what an effect is made of, with intervals."""
    return tuple(Part(name, interval(rows, 1)) for name, rows in effect.parts)


def where_of(case: tuple[Series, ...]) -> str:
    """Return what people call what an effect is computed from."""
    first = case[0]
    if len(case) == 1:
        return first.where
    last = case[1]
    if first.batch != last.batch:
        return f"{first.where}, against batch {last.batch}"
    return f"{first.where}, against {last.conditions}"
