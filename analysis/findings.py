"""Published claims, recomputed from the published tables and judged on the results at hand."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from perframe.analysis.claims import CLAIMS, Claim
from perframe.analysis.designs import recognised
from perframe.analysis.effects import Effect, Missing, interval
from perframe.analysis.paper_figures import PaperFigure, paper_figures
from perframe.analysis.published_series import published_series
from perframe.analysis.ranks import SIGNIFICANT, chance, least_significant
from perframe.analysis.results import Results, Skipped
from perframe.analysis.series import Series, series_of
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
        outcome: What they say to the claim.
        effect: The effect with its 95 % interval; `None` if it was not tested.
        chance: How likely a rank correlation is as far from zero by chance.
        detectable: The smallest effect that would have been told from none.
        published: Smallest and largest effect in the published tables, over the same networks where they are
            there; `None` where nothing was published.
        energy_kind: Whether the joules are measured; every figure here rests on it.
        run_spread: Relative spread between runs in the interval.
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


@dataclass(frozen=True)
class Recomputed:
    """A claim on one of the published tables, of whose cells no interval is known."""

    where: str
    effect: Estimate
    chance: float | None
    parts: tuple[Part, ...]

    @property
    def agrees(self) -> bool:
        """Whether the table says what the claim does."""
        return self.effect.value > 0.0


@dataclass(frozen=True)
class Finding:
    """A claim, what the published tables say to it, and what the results at hand do."""

    claim: Claim
    recomputed: tuple[Recomputed, ...]
    judged: tuple[Judged, ...]


@dataclass(frozen=True)
class Findings:
    """Everything there is to say of the published claims.

    Attributes:
        paper: The paper's own figures, recomputed from its tables.
        findings: One per claim.
        series: The sets of results that were judged.
        skipped: Files that were not, and why.
    """

    paper: tuple[PaperFigure, ...]
    findings: tuple[Finding, ...]
    series: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def find(results: Results) -> Findings:
    """Judge every published claim on the results."""
    series = series_of(results.results)
    with_energy = tuple(one.with_energy() for one in series)
    usable = tuple(one for one in with_energy if one.networks)
    return Findings(
        paper=paper_figures(),
        findings=tuple(Finding(claim, recompute(claim), tuple(_judged(claim, usable))) for claim in CLAIMS),
        series=tuple(one.where for one in series),
        skipped=results.skipped,
    )


def recompute(claim: Claim) -> tuple[Recomputed, ...]:
    """Compute a claim's effect from the published tables, wherever they allow it."""
    found = []
    for case in claim.cases(published_series()):
        effect = claim.effect(*case)
        if isinstance(effect, Effect):
            value = interval(effect.rows, effect.n)
            p = chance(value.value, effect.n) if effect.ranked else None
            found.append(Recomputed(_where(case), value, p, _parts(effect)))
    return tuple(found)


def decide(effect: Estimate, published: tuple[float, float] | None, *, by_chance: bool = False) -> Outcome:
    """Decide what an effect says to a claim for which effects are positive.

    A side is taken only where the whole interval is on it. What holds is weaker or stronger than published where the
    whole interval is beyond everything that was published.

    Args:
        effect: With its 95 % interval.
        published: Smallest and largest published effect; `None` where there is none.
        by_chance: Whether so large an effect is likely enough without there being one.
    """
    if effect.low is None or effect.high is None or by_chance:
        return "inconclusive"
    if effect.high < 0.0:
        return "reversed"
    if effect.low <= 0.0:
        return "inconclusive"
    if published is not None and effect.high < published[0]:
        return "weaker"
    return "stronger" if published is not None and effect.low > published[1] else "holds"


def _judged(claim: Claim, series: tuple[Series, ...]) -> Iterator[Judged]:
    cases = list(claim.cases(series))
    if not cases:
        yield Judged("", "not tested", missing=claim.needs)
    for case in cases:
        effect = claim.effect(*case)
        if isinstance(effect, Missing):
            yield Judged(_where(case), "not tested", missing=effect.what)
            continue
        estimate = interval(effect.rows, effect.n)
        if not math.isfinite(estimate.value):
            yield Judged(_where(case), "not tested", missing="networks that differ in what is correlated")
            continue
        p = chance(estimate.value, effect.n) if effect.ranked else None
        published = _published_range(claim, case)
        measured = [one for one in case if one.spread_source is not None]
        yield Judged(
            where=_where(case),
            outcome=decide(estimate, published, by_chance=p is not None and p > SIGNIFICANT),
            effect=estimate,
            chance=p,
            detectable=_detectable(effect, estimate),
            published=published,
            energy_kind=case[0].conditions.energy_kind,
            run_spread=max((one.run_spread or 0.0 for one in measured), default=None),
            spread_source="assumed"
            if any(one.spread_source == "assumed" for one in measured)
            else "measured",
            parts=_parts(effect),
        )


def _published_range(claim: Claim, case: tuple[Series, ...]) -> tuple[float, float] | None:
    """The same effect over the same networks in the published tables, at the same batch sizes where they have them."""
    here = {recognised(network.model) for network in case[0].networks}
    tables = tuple(
        replace(one, networks=tuple(each for each in one.networks if recognised(each.model) in here))
        for one in published_series()
    )
    batches = {one.batch for one in case}
    for chosen in (tuple(one for one in tables if one.batch in batches), tables):
        found = [claim.effect(*each) for each in claim.cases(chosen)]
        values = [float(each.rows[0]) for each in found if isinstance(each, Effect)]
        if values:
            return min(values), max(values)
    return None


def _detectable(effect: Effect, estimate: Estimate) -> float | None:
    half = None if estimate.low is None or estimate.high is None else (estimate.high - estimate.low) / 2.0
    if not effect.ranked:
        return half
    by_order = least_significant(effect.n)
    return None if by_order is None else max(by_order, half or 0.0)


def _parts(effect: Effect) -> tuple[Part, ...]:
    return tuple(Part(name, interval(rows, 1)) for name, rows in effect.parts)


def _where(case: tuple[Series, ...]) -> str:
    first = case[0]
    if len(case) == 1:
        return first.where
    last = case[1]
    if first.batch != last.batch:
        return f"{first.where}, against batch {last.batch}"
    return f"{first.where}, against {last.conditions}"


def to_document(found: Findings) -> dict[str, Any]:
    """Return the findings as they stand in JSON."""
    return {
        "paper": [asdict(each) for each in found.paper],
        "claims": [
            {
                **{
                    name: getattr(finding.claim, name)
                    for name in ("code", "statement", "source", "published", "formula", "needs", "unit")
                },
                "recomputed": [{**asdict(each), "agrees": each.agrees} for each in finding.recomputed],
                "judged": [asdict(each) for each in finding.judged],
            }
            for finding in found.findings
        ],
        "series": list(found.series),
        "skipped": [{"path": str(each.path), "reason": each.reason} for each in found.skipped],
    }
