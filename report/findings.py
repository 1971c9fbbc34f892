"""The published claims, recomputed and judged, for the terminal."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from perframe.analysis.claims import Claim
from perframe.analysis.findings import Finding, Findings
from perframe.analysis.judge import Judged, Part
from perframe.analysis.paper_figures import PaperFigure
from perframe.analysis.regimes import SideBySide
from perframe.analysis.results import Skipped
from perframe.errors import one_line
from perframe.profiler.stats import Estimate
from perframe.report.style import plain_table, with_interval
from perframe.report.units import percent

_STYLES = {
    "holds": "green",
    "stronger": "bold green",
    "weaker": "yellow",
    "reversed": "bold red",
    "inconclusive": "dim",
    "not tested": "dim",
}
_UNITS = {"share": " %", "correlation": ""}
_NONE = "–"
_MOST_SKIPPED = 5


def findings_tables(found: Findings, *, every: bool) -> RenderableType:
    """Show what became of every published claim.

    Args:
        found: The findings.
        every: One line per set of results, with what each effect is made of, instead of one per claim.
    """
    parts: list[RenderableType] = [_paper(found.paper), _claims(found.findings)]
    if every:
        parts += itertools.chain.from_iterable(_every(finding) for finding in found.findings)
    parts += [Padding(_side_by_side(each), (1, 0)) for each in found.regimes]
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
    kinds = sorted(
        {each.energy_kind for one in findings for each in one.judged if each.energy_kind is not None}
    )
    table = plain_table("Published claims")
    table.add_column("claim", overflow="fold")
    of_one_kind = f" ({kinds[0]})" if len(kinds) == 1 else ""
    for name in ("published tables", "here", f"effect{of_one_kind}", "detectable"):
        table.add_column(name, no_wrap=True)
    for finding in findings:
        lines = list(_outcomes(finding, several_kinds=len(kinds) > 1))
        table.add_row(
            finding.claim.statement,
            _recomputed(finding),
            *(Text("\n").join(column) for column in zip(*lines, strict=True)),
        )
    table.caption = (
        "effects are positive where the claim is right; in brackets the 95 % interval\n"
        "weaker: as large an effect as published is excluded; detectable: the least to be told from none\n"
        "formulas, and every set of results with its interval: --all"
    )
    return table


def _recomputed(finding: Finding) -> str:
    found = finding.recomputed
    if not found:
        return _NONE
    lines = [
        _span(finding.claim, [each.effect.value for each in found]),
        f"{sum(each.agrees for each in found)} of {len(found)} agree",
    ]
    if contradicting := sum(each.contradicts for each in found):
        lines.append(f"{contradicting} contradict{'s' if contradicting == 1 else ''}")
    return "\n".join(lines)


def _outcomes(finding: Finding, *, several_kinds: bool) -> Iterator[tuple[Text, Text, Text]]:
    """Outcome, effect and what could have been detected; a line for each outcome, the most frequent first."""
    claim = finding.claim
    counted = Counter((each.outcome, each.energy_kind if several_kinds else None) for each in finding.judged)
    for (outcome, kind), count in counted.most_common():
        alike = [
            each
            for each in finding.judged
            if each.outcome == outcome and (not several_kinds or each.energy_kind == kind)
        ]
        effects = [each.effect for each in alike if each.effect is not None]
        detectable = [each.detectable for each in alike if each.detectable is not None]
        yield (
            Text(
                f"{outcome}{'' if len(finding.judged) == 1 else f' {count}'}{f', {kind}' if kind else ''}",
                style=_STYLES[outcome],
            ),
            Text(
                _NONE
                if not effects
                else _interval(claim, effects[0])
                if count == 1
                else _span(claim, [effect.value for effect in effects])
            ),
            Text(_span(claim, detectable) if outcome == "inconclusive" and detectable else ""),
        )


def _untested(findings: Sequence[Finding]) -> list[Text]:
    return [
        Text(f"Not tested: {finding.claim.statement} Needs {finding.judged[0].missing}.", style="dim")
        for finding in findings
        if all(each.outcome == "not tested" for each in finding.judged)
    ]


def _every(finding: Finding) -> Iterator[RenderableType]:
    """Every set of results, and below each what its effect is made of."""
    claim = finding.claim
    if any(each.where for each in finding.judged) or finding.recomputed:
        table = plain_table(claim.statement)
        table.add_column("results", overflow="fold", min_width=20)
        by_chance = ("p",) if claim.unit == "correlation" else ()
        for name in ("outcome", "effect", *by_chance, "published", "detectable"):
            table.add_column(name, no_wrap=True)
        for one in finding.recomputed:
            said = "agrees" if one.agrees else "contradicts" if one.contradicts else "by chance"
            table.add_row(one.where, Text(said, style="dim"), *_figures(claim, one.effect, one.chance))
            _add_parts(table, claim, one.parts)
        table.add_section()
        for each in finding.judged:
            if each.where:
                table.add_row(*_judged(claim, each))
                _add_parts(table, claim, each.parts)
        yield table
    else:
        yield Text(claim.statement, style="bold")
    printed = f"; printed: {claim.published}" if claim.published else ""
    told = Text(f"effect: {claim.formula}\nsource: {claim.source}{printed}", style="dim")
    yield Padding(told, (0, 0, 1, 2))


def _judged(claim: Claim, judged: Judged) -> tuple[str | Text, ...]:
    outcome = Text(judged.outcome, style=_STYLES[judged.outcome])
    if judged.effect is None:
        return (f"{one_line(judged.where)}: needs {judged.missing}", outcome)
    kind = "" if judged.energy_kind == "measured" else f" ({judged.energy_kind})"
    return (
        f"{one_line(judged.where)}{kind}",
        outcome,
        *_figures(claim, judged.effect, judged.chance),
        _NONE if judged.published is None else _span(claim, judged.published),
        _NONE if judged.detectable is None else _value(claim, judged.detectable),
    )


def _figures(claim: Claim, effect: Estimate, chance: float | None) -> tuple[str, ...]:
    return (_interval(claim, effect), *([] if chance is None else [f"{chance:.2g}"]))


def _add_parts(table: Table, claim: Claim, parts: Sequence[Part]) -> None:
    for part in parts:
        table.add_row(f"  {part.name}", "", _interval(claim, part.effect), style="dim")


def _side_by_side(both: SideBySide) -> RenderableType:
    sensor = dict.fromkeys((one_line(both.sensor or _NONE), both.energy_kind))
    table = plain_table(f"The same networks in training and deployed, by one sensor ({', '.join(sensor)})")
    table.add_column("network", no_wrap=True)
    for name in ("EPF training", "EPF deployed", "training / deployed"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in both.networks:
        table.add_row(
            one_line(each.name),
            with_interval(each.training_j, "J"),
            with_interval(each.deployed_j, "J"),
            with_interval(each.ratio, ""),
        )
    table.caption = f"training: {one_line(both.training)}\ndeployed: {one_line(both.deployed)}"
    return table


def _spread(findings: Sequence[Finding]) -> list[Text]:
    known = [each for finding in findings for each in finding.judged if each.run_spread is not None]
    if not known:
        return []
    assumed = any(each.spread_source == "assumed" for each in known)
    spreads = {percent(each.run_spread) for each in known}
    largest = percent(max(each.run_spread or 0.0 for each in known))
    remedy = " (no network was run twice: perframe sweep --runs 2 measures it)" if assumed else ""
    return [
        Text(
            f"Spread between runs, in every interval: {'up to ' if len(spreads) > 1 else ''}{largest},"
            f" {'assumed' if assumed else 'measured'}{remedy}.",
            style="dim",
        )
    ]


def _span(claim: Claim, values: Sequence[float]) -> str:
    low, high = (_number(claim, value) for value in (min(values), max(values)))
    return f"{low if low == high else f'{low} to {high}'}{_UNITS[claim.unit]}"


def _interval(claim: Claim, effect: Estimate) -> str:
    if effect.low is None or effect.high is None:
        return _value(claim, effect.value)
    return f"{_value(claim, effect.value)} [{_number(claim, effect.low)}, {_number(claim, effect.high)}]"


def _value(claim: Claim, value: float) -> str:
    return f"{_number(claim, value)}{_UNITS[claim.unit]}"


def _number(claim: Claim, value: float) -> str:
    rounded = round(100.0 * value, 1) if claim.unit == "share" else round(value, 2)
    # There is no minus before a zero.
    return f"{rounded + 0.0:.1f}" if claim.unit == "share" else f"{rounded + 0.0:.2f}"
