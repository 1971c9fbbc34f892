"""The section about what to know before believing a figure: quality notes, and files that were left out."""

from collections.abc import Iterator

from perframe.profiler.result import Quality
from perframe.report.collect import MOST_PROFILES, Collected
from perframe.report.figure import Cell, DataTable, prose, table_html
from perframe.report.panel import escaped

_ORDER = ("invalid", "warning", "info")
_PLACES = 3
_SKIPPED = 50


def quality_section(collected: Collected) -> str:
    """Return every kind of note once, the worst first, with where it was made; and what was left out, and why."""
    parts = []
    measurements = sum(len(profile.batches) for each in collected.measured for _, profile in each.runs)
    notes: dict[tuple[str, str], list[tuple[Quality, str]]] = {}
    for quality, where in _notes(collected):
        notes.setdefault((quality.severity, quality.code), []).append((quality, where))
    if notes:
        rows = "".join(
            _row(found, measurements)
            for _, found in sorted(notes.items(), key=lambda item: _ORDER.index(item[0][0]))
        )
        parts.append(
            '<div class="scroll" tabindex="0" role="region" aria-label="Quality notes"><table>'
            '<caption class="unseen">Quality notes</caption><thead><tr><th scope="col">note</th>'
            '<th scope="col">where</th><th scope="col">what, and what to do</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    else:
        parts.append('<p class="lead">Nothing to warn about: no note was made of any measurement.</p>')
    skipped = collected.results.skipped
    if skipped:
        rows_ = tuple((Cell(str(each.path)), Cell(each.reason)) for each in skipped[:_SKIPPED])
        more = f"{len(skipped) - _SKIPPED} more are not listed." if len(skipped) > _SKIPPED else ""
        parts.append(table_html(DataTable("Left out of every comparison", ("file", "why"), rows_, note=more)))
    if collected.unread:
        parts.append(
            f'<p class="note">{collected.unread} of {collected.unread + MOST_PROFILES} files were read for their'
            " figures only, without layers, windows and notes.</p>"
        )
    return "".join(parts)


def _notes(collected: Collected) -> Iterator[tuple[Quality, str]]:
    for each in collected.measured:
        for run, (_, profile) in enumerate(each.runs, start=1):
            for batch in profile.batches:
                where = f"{profile.model.name}, batch {batch.batch}"
                for quality in batch.quality:
                    yield quality, f"{where}, run {run}" if len(each.runs) > 1 else where


def _row(found: list[tuple[Quality, str]], measurements: int) -> str:
    quality, _ = found[0]
    places = list(dict.fromkeys(each for _, each in found))
    where = "; ".join(places[:_PLACES]) + (
        f" and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
    )
    if len(places) == measurements and measurements > _PLACES:
        where = f"all {measurements} measurements"
    several = "For example: " if len({each.message for each, _ in found}) > 1 else ""
    return (
        f'<tr><th scope="row"><span class="tag {escaped(quality.severity)}">{escaped(quality.severity)}</span>'
        f"<br><code>{escaped(quality.code)}</code></th>"
        f"<td>{escaped(where)}</td>"
        f"<td>{several}{prose(quality.message)} {prose(quality.hint)}</td></tr>"
    )
