"""The section about what to know before believing a figure: quality notes, and files that were left out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perframe.profiler.result import Quality
from perframe.report.collect import MOST_PROFILES, Collected
from perframe.report.figure import Cell, DataTable, table_html
from perframe.report.panel import escaped

_ORDER = ("invalid", "warning", "info")
_PLACES = 3
_SKIPPED = 50
_UNKNOWN = 4


@dataclass(frozen=True)
class _Note:
    """A note on one batch size of one run, which a file and a batch size tell from all others."""

    quality: Quality
    measurement: tuple[Path, int]
    where: str


def quality_section(collected: Collected) -> str:
    """Return every kind of note once, the worst first, with where it was made; and what was left out, and why."""
    parts = []
    measurements = sum(len(profile.batches) for each in collected.measured for _, profile in each.runs)
    notes: dict[tuple[str, str], list[_Note]] = {}
    for note in _notes(collected):
        notes.setdefault((note.quality.severity, note.quality.code), []).append(note)
    if notes:
        worst_first = sorted(notes.values(), key=lambda found: _ORDER.index(found[0].quality.severity))
        rows = tuple(_row(found, measurements) for found in worst_first)
        headings = ("note", "where", "what, and what to do")
        parts.append(table_html(DataTable("Quality notes", headings, rows, stacks=True), seen=False))
    else:
        parts.append('<p class="lead">Nothing to warn about: no note was made of any measurement.</p>')
    skipped = collected.results.skipped
    if skipped:
        files = tuple(
            (Cell(collected.shown(str(each.path))), Cell(collected.shown(each.reason)))
            for each in skipped[:_SKIPPED]
        )
        more = f"{len(skipped) - _SKIPPED} more are not listed." if len(skipped) > _SKIPPED else ""
        parts.append(table_html(DataTable("Left out of every comparison", ("file", "why"), files, note=more)))
    if collected.unread:
        parts.append(
            f'<p class="note">{collected.unread} of {collected.unread + MOST_PROFILES} files were read for their'
            " figures only, without layers, windows and notes.</p>"
        )
    if collected.unknown:
        more = f" and {len(collected.unknown) - _UNKNOWN} more" if len(collected.unknown) > _UNKNOWN else ""
        parts.append(
            f'<p class="note">{escaped(collected.table.source)} gives accuracies of what is not among the networks:'
            f" {escaped(', '.join(collected.unknown[:_UNKNOWN]))}{more}.</p>"
        )
    return "".join(parts)


def _notes(collected: Collected) -> Iterator[_Note]:
    for each in collected.measured:
        under = collected.where(each.conditions)
        for run, (path, profile) in enumerate(each.runs, start=1):
            for batch in profile.batches:
                parts = [
                    profile.model.name,
                    under,
                    f"batch {batch.batch}",
                    f"run {run}" if len(each.runs) > 1 else "",
                ]
                where = ", ".join(part for part in parts if part)
                for quality in batch.quality:
                    yield _Note(quality, (path, batch.batch), where)


def _row(found: list[_Note], measurements: int) -> tuple[Cell, ...]:
    quality = found[0].quality
    places = {note.measurement: note.where for note in found}
    if len(places) == measurements and measurements > _PLACES:
        where = f"all {measurements} measurements"
    else:
        where = "; ".join([*places.values()][:_PLACES])
        where += f" and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
    several = "For example: " if len({note.quality.message for note in found}) > 1 else ""
    return (
        Cell(quality.code, -_ORDER.index(quality.severity), tags=((quality.severity, quality.severity),)),
        Cell(where),
        Cell(f"{several}{quality.message} {quality.hint}"),
    )
