"""The section about the published findings: what the results at hand say to each."""

from collections import Counter
from collections.abc import Sequence

from perframe.analysis.findings import Finding, Findings
from perframe.analysis.judge import Outcome
from perframe.analysis.regimes import SideBySide
from perframe.analysis.series import Conditions
from perframe.profiler.stats import Estimate
from perframe.report.figure import Cell, DataTable, number, table_html
from perframe.report.panel import escaped
from perframe.report.style import with_interval

_STYLES = {"holds": "good", "stronger": "good", "weaker": "warning", "reversed": "invalid"}
_ORDER: tuple[Outcome, ...] = ("holds", "stronger", "weaker", "reversed", "inconclusive", "not tested")


def findings_section(findings: Findings | None, conditions: Sequence[Conditions]) -> str:
    """Return a line per claim, every judgement to unfold, and what networks cost in both regimes.

    Args:
        findings: What was found; `None` where nothing could be judged.
        conditions: Under which everything was measured; where it is one set, it is not repeated.
    """
    if findings is None or not findings.findings:
        return ""
    tested = [each for each in findings.findings if any(one.effect is not None for one in each.judged)]
    untested = [each for each in findings.findings if each not in tested]
    parts = [
        '<p class="lead">Each claim of the E2GC authors, about energy while training, judged on the results at hand: it'
        " holds or is reversed only where the whole 95 % interval says so, and is weaker where as large an effect as"
        " published is excluded.</p>"
    ]
    if any(one.energy_kind == "modelled" for each in tested for one in each.judged):
        parts.append(
            '<p class="note">Energy is <b class="warning">modelled</b>: what is said here is said of a model, not of'
            " this device.</p>"
        )
    if tested:
        lines = tuple(_line(each) for each in tested)
        claims = DataTable(
            "Published claims and what the results say", ("claim", "here", "published"), lines, stacks=True
        )
        parts.append(
            f"{table_html(claims, seen=False)}"
            "<details><summary>Every judgement, with its interval</summary>"
            f"{table_html(_judgements(tested, conditions))}</details>"
        )
    parts += [table_html(_both(each)) for each in findings.regimes]
    if untested:
        told = "".join(f"<li>{escaped(each.claim.statement)} {_needs(each)}</li>" for each in untested)
        count = "1 claim" if len(untested) == 1 else f"{len(untested)} claims"
        parts.append(
            f"<details><summary>{count} could not be tested with these results</summary><ul>{told}</ul></details>"
        )
    return "".join(parts)


def _line(finding: Finding) -> tuple[Cell, ...]:
    counted = Counter(each.outcome for each in finding.judged)
    several = f" of {len(finding.judged)}" if len(finding.judged) > 1 else ""
    tags = tuple(
        (f"{outcome} {counted[outcome]}{several}" if several else outcome, _STYLES.get(outcome, ""))
        for outcome in _ORDER
        if counted[outcome]
    )
    return (Cell(finding.claim.statement), Cell("", tags=tags), Cell(finding.claim.published or "–"))


def _needs(finding: Finding) -> str:
    missing = sorted({each.missing for each in finding.judged if each.missing is not None})
    return f'<span class="note">Needs {escaped("; ".join(missing))}.</span>' if missing else ""


def _judgements(tested: Sequence[Finding], conditions: Sequence[Conditions]) -> DataTable:
    rows = []
    common = f" on {conditions[0]}" if len(conditions) == 1 else ""
    for finding in tested:
        for each in finding.judged:
            unit = finding.claim.unit
            rows.append(
                (
                    Cell(finding.claim.statement),
                    Cell(each.where.replace(common, "") or "–"),
                    Cell(each.outcome if each.energy_kind != "modelled" else f"{each.outcome} (modelled)"),
                    Cell(_effect(each.effect, unit), each.effect.value if each.effect else None),
                    Cell("–" if each.published is None else _range(each.published, unit)),
                    Cell("–" if each.detectable is None else _value(each.detectable, unit), each.detectable),
                    number(each.chance, ".2g"),
                )
            )
    headings = (
        "claim",
        "results",
        "outcome",
        "effect (95 %)",
        "published",
        "least detectable",
        "by chance",
    )
    return DataTable(
        "Effects are positive where the claim is right",
        headings,
        tuple(rows),
        "Published, for a correlation: where it would lie if the published energies were as uncertain as those here.",
    )


def _both(both: SideBySide) -> DataTable:
    rows = tuple(
        (
            Cell(each.name),
            Cell(with_interval(each.training_j, "J"), each.training_j.value),
            Cell(with_interval(each.deployed_j, "J"), each.deployed_j.value),
            Cell(with_interval(each.ratio, ""), each.ratio.value),
        )
        for each in both.networks
    )
    return DataTable(
        f"The same networks in training and deployed, by one sensor ({both.energy_kind})",
        ("network", "EPF training", "EPF deployed", "training / deployed"),
        rows,
        f"Training: {both.training}. Deployed: {both.deployed}.",
    )


def _effect(effect: Estimate | None, unit: str) -> str:
    if effect is None:
        return "–"
    ends = (
        "" if effect.low is None or effect.high is None else f" ({_range((effect.low, effect.high), unit)})"
    )
    return _value(effect.value, unit) + ends


def _range(ends: tuple[float, float], unit: str) -> str:
    low, high = (_value(end, unit) for end in ends)
    return high if low == high else f"{low.removesuffix(' %')} to {high}"


def _value(value: float, unit: str) -> str:
    return f"{100.0 * value:.1f} %" if unit == "share" else f"{value:.2f}"
