"""Published claims, recomputed from the published tables and judged on the results at hand."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from perframe.analysis.claims import CLAIMS, Claim
from perframe.analysis.effects import Effect
from perframe.analysis.judge import Judged, Part, judge, parts_of, where_of
from perframe.analysis.paper_figures import PaperFigure, paper_figures
from perframe.analysis.published_series import published_series
from perframe.analysis.ranks import SIGNIFICANT
from perframe.analysis.regimes import SideBySide, side_by_side
from perframe.analysis.results import Results, Skipped
from perframe.analysis.series import Series, series_of
from perframe.profiler.stats import Estimate


@dataclass(frozen=True)
class Recomputed:
    """A claim on one of the published tables, of whose cells no interval is known."""

    where: str
    effect: Estimate
    chance: float | None
    parts: tuple[Part, ...]

    @property
    def agrees(self) -> bool:
        """Whether the table says what the claim does, and a correlation is no chance."""
        return self.effect.value > 0.0 and self._told

    @property
    def contradicts(self) -> bool:
        """Whether it says the opposite."""
        return self.effect.value < 0.0 and self._told

    @property
    def _told(self) -> bool:
        return self.chance is None or self.chance <= SIGNIFICANT


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
        regimes: What networks cost in training and deployed, where one sensor measured both.
        series: The sets of results that were judged.
        skipped: Files that were not, and why.
    """

    paper: tuple[PaperFigure, ...]
    findings: tuple[Finding, ...]
    regimes: tuple[SideBySide, ...]
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
        regimes=side_by_side(usable),
        series=tuple(one.where for one in series),
        skipped=results.skipped,
    )


def recompute(claim: Claim) -> tuple[Recomputed, ...]:
    """Compute a claim's effect from the published tables, wherever they allow it."""
    found = []
    for case in claim.cases(published_series()):
        effect = claim.effect(*case)
        if isinstance(effect, Effect):
            p = None if effect.chance is None else effect.chance.p
            found.append(Recomputed(where_of(case), effect.estimate, p, parts_of(effect)))
    return tuple(found)


def _judged(claim: Claim, series: tuple[Series, ...]) -> Iterator[Judged]:
    cases = list(claim.cases(series))
    if not cases:
        yield Judged("", "not tested", missing=claim.needs)
    for case in cases:
        yield judge(claim, case)


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
                "recomputed": [
                    {**asdict(each), "agrees": each.agrees, "contradicts": each.contradicts}
                    for each in finding.recomputed
                ],
                "judged": [asdict(each) for each in finding.judged],
            }
            for finding in found.findings
        ],
        "regimes": [asdict(each) for each in found.regimes],
        "series": list(found.series),
        "skipped": [{"path": str(each.path), "reason": each.reason} for each in found.skipped],
    }
