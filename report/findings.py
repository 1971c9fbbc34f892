"""The published claims, recomputed and judged, for the terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from perframe.analysis.claims import Claim
from perframe.analysis.findings import Finding, Findings, Judged, Part
from perframe.analysis.paper_figures import PaperFigure
from perframe.analysis.results import Skipped
from perframe.errors import one_line
from perframe.profiler.stats import Estimate
from perframe.report.style import plain_table
from perframe.report.units import percent

_STYLES = {
    "holds": "green",
    "stronger": "bold green",
    "weaker": "yellow",
    "reversed": "bold red",
    "inconclusive": "dim",
    "not tested": "dim",
}
_MOST_SKIPPED = 5


def findings_tables(found: Findings, *, every: bool) -> RenderableType:
    """Show what became of every published claim.

    Args:
        found: The findings.
        every: One line per set of results, with what each effect is made of, instead of one per claim.
    """
    parts: list[RenderableType] = [_paper(found.paper), _claims(found.findings)]
    if every:
        parts += [_judged(finding) for finding in found.findings]
    parts.append(Text(f"Judged: {'; '.join(map(one_line, found.series))}.", style="dim"))
    parts += _untested(found.findings)
    parts += _spread(found.findings)
    if any(each.energy_kind == "modelled" for finding in found.findings for each in finding.judged):
        parts.append(
            Text("warning: energy is modelled here, not measured; so is every effect above.", style="yellow")
        )
    return Group(*parts, *skipped_lines(found.skipped))


def skipped_lines(skipped: Sequence[Skipped]) -> list[Text]:
    """Show which files were not judged, and why."""
    lines = [
        Text(one_line(f"skipped {each.path}: {each.reason}"), style="yellow")
        for each in skipped[:_MOST_SKIPPED]
    ]
    if rest := len(skipped) - len(lines):
        lines.append(Text(f"skipped {rest} more; --json names all", style="yellow"))
    return lines


def _paper(figures: Sequence[PaperFigure]) -> RenderableType:
    table = plain_table("The paper's own figures, from its own tables")
    for name in ("what", "printed", "by its tables", "", "where the printed figure comes from"):
        table.add_column(name, overflow="fold")
    for each in figures:
        table.add_row(
            f"{each.statement} ({each.where})",
            f"{each.printed} %",
            f"{each.recomputed:.2f} % = {each.formula}",
            Text("reproduces", style="green") if each.reproduces else Text("does not", style="bold red"),
            "" if each.reproduces else "; ".join(each.cells) or "no pair of comparable MACs",
        )
    return table


def _claims(findings: Sequence[Finding]) -> RenderableType:
    table = plain_table("Published claims")
    table.add_column("claim", overflow="fold")
    for name in ("published tables", "here", "effect here"):
        table.add_column(name, no_wrap=True)
    for finding in findings:
        claim = finding.claim
        values = [each.effect.value for each in finding.recomputed]
        agreeing = sum(each.agrees for each in finding.recomputed)
        here = [each.effect.value for each in finding.judged if each.effect is not None]
        kinds = sorted({each.energy_kind for each in finding.judged if each.energy_kind is not None})
        table.add_row(
            claim.statement,
            f"{_span(claim, values)}, {agreeing} of {len(values)} agree" if values else "–",
            _outcomes(finding),
            f"{_span(claim, here)} ({', '.join(kinds)})" if here else "–",
        )
    table.caption = "effects are positive where the claim is right; formulas and every set of results: --all"
    return table


def _outcomes(finding: Finding) -> Text:
    counted = Counter(each.outcome for each in finding.judged)
    lines = [
        Text(outcome if len(finding.judged) == 1 else f"{outcome} {count}", style=_STYLES[outcome])
        for outcome, count in counted.most_common()
    ]
    return Text("\n").join(lines)


def _untested(findings: Sequence[Finding]) -> list[Text]:
    return [
        Text(f"Not tested: {finding.claim.statement} Needs {finding.judged[0].missing}.", style="dim")
        for finding in findings
        if all(each.outcome == "not tested" for each in finding.judged)
    ]


def _judged(finding: Finding) -> RenderableType:
    claim = finding.claim
    table = plain_table(claim.statement)
    table.add_column("results", overflow="fold")
    for name in ("outcome", "effect", "published", "detectable"):
        table.add_column(name, no_wrap=True)
    table.add_column("made of", overflow="fold")
    for table_of in finding.recomputed:
        table.add_row(
            table_of.where,
            Text("agrees" if table_of.agrees else "does not agree", style="dim"),
            _interval(claim, table_of.effect) + _by_chance(table_of.chance),
            *("", "", _made_of(claim, table_of.parts)),
        )
    for each in finding.judged:
        table.add_row(
            one_line(each.where) or "–",
            Text(each.outcome, style=_STYLES[each.outcome]),
            _effect(claim, each),
            "–" if each.published is None else _span(claim, each.published),
            "–" if each.detectable is None else _value(claim, each.detectable),
            f"needs {each.missing}" if each.missing else _made_of(claim, each.parts),
        )
    table.caption = f"effect: {claim.formula}. Source: {claim.source}" + (
        f"; printed: {claim.published}." if claim.published else "."
    )
    return table


def _effect(claim: Claim, judged: Judged) -> str:
    if judged.effect is None:
        return "–"
    return f"{_interval(claim, judged.effect)}{_by_chance(judged.chance)} ({judged.energy_kind})"


def _by_chance(chance: float | None) -> str:
    return "" if chance is None else f", p {chance:.2g}"


def _made_of(claim: Claim, parts: Sequence[Part]) -> str:
    return "; ".join(f"{part.name} {_interval(claim, part.effect)}" for part in parts)


def _spread(findings: Sequence[Finding]) -> list[Text]:
    known = [each for finding in findings for each in finding.judged if each.run_spread is not None]
    if not known:
        return []
    assumed = any(each.spread_source == "assumed" for each in known)
    largest = max(each.run_spread or 0.0 for each in known)
    remedy = " (no network was run twice: perframe sweep --runs 2 measures it)" if assumed else ""
    return [
        Text(
            f"Spread between runs, in every interval: {percent(largest)},"
            f" {'assumed' if assumed else 'measured'}{remedy}.",
            style="dim",
        )
    ]


def _span(claim: Claim, values: Sequence[float]) -> str:
    low, high = _value(claim, min(values)), _value(claim, max(values))
    return low if low == high else f"{low} to {high}"


def _interval(claim: Claim, effect: Estimate) -> str:
    if effect.low is None or effect.high is None:
        return _value(claim, effect.value)
    return f"{_value(claim, effect.value)} [{_value(claim, effect.low)}, {_value(claim, effect.high)}]"


def _value(claim: Claim, value: float) -> str:
    return percent(value) if claim.unit == "share" else f"{value:.2f}"
