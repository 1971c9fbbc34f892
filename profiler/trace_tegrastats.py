"""Logs of tegrastats, which prints a Jetson's rails as `VDD_IN 4898mW/4898mW`: now, and averaged.

The bare form without `mW` is that of JetPack 4 and 5.0, the leading date that of JetPack 5.1 and newer:
https://docs.nvidia.com/jetson/archives/r36.4/DeveloperGuide/AT/JetsonLinuxDevelopmentTools/TegrastatsUtility.html
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from statistics import median

from perframe.errors import InputError
from perframe.profiler.sensors.base import Domain
from perframe.profiler.trace_text import Recording, bad_row, moment, opened_lines

INTERVAL_S = 1.0
"""How often tegrastats prints unless told otherwise."""

# Not RAM 2389/7850MB: a rail's second figure ends in mW, or in nothing.
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/(\d+)(?:mW)?(?!\S)")
_STAMP = re.compile(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d")

# The rails that hold all others, and what they include. Elsewhere (AGX Orin, AGX Xavier) there is none.
_TOTALS: Mapping[str, Domain] = {"VDD_IN": "module", "POM_5V_IN": "module", "VIN": "board"}


@dataclass(frozen=True)
class TegrastatsTrace:
    """One rail of a log, as read.

    Attributes:
        recording: Its lines.
        rail: Which one.
        domain: What it includes.
        total: Whether it holds all others.
        started: The date and time of t = 0; `None` if the lines have no dates.
        spread: Whether several lines of one second were spread over it, for want of fractions.
    """

    recording: Recording
    rail: str
    domain: Domain
    total: bool
    started: datetime | None
    spread: bool


def is_tegrastats(lines: Sequence[str]) -> bool:
    """Tell whether a file begins as tegrastats writes."""
    return any("RAM " in line and _RAIL.search(line) is not None for line in lines)


def read_tegrastats(path: Path, rail: str | None) -> TegrastatsTrace:
    """Read one rail.

    Args:
        path: The log.
        rail: Which one; `None` for the one that holds all others.

    Raises:
        InputError: There is no such rail, no rail that is known to be the total, or a line without it.
    """
    rails: Counter[str] = Counter()
    stamps: list[datetime | None] = []
    readings: list[tuple[int, dict[str, float], str]] = []
    with opened_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            found = {match[1]: float(match[2]) * 1e-3 for match in _RAIL.finditer(line)}
            if not found:
                continue
            rails.update(found)
            stamp = _STAMP.match(line)
            stamps.append(moment(stamp[0]) if stamp else None)
            readings.append((number, found, line))
            if (stamps[0] is None) != (stamps[-1] is None):
                raise bad_row(path, number, "a date on every line or on none", line)
    chosen = _rail(path, rails, rail)
    times_s = _times_s(stamps)
    recording = Recording(path)
    for t_s, (number, found, line) in zip(times_s, readings, strict=True):
        recording.add(number, t_s, found.get(chosen), line)
    return TegrastatsTrace(
        recording=recording,
        rail=chosen,
        domain=_TOTALS.get(chosen, "module"),
        total=chosen in _TOTALS,
        started=stamps[0] if stamps else None,
        spread=any(stamp is not None for stamp in stamps) and len(set(stamps)) < len(stamps),
    )


def _rail(path: Path, rails: Mapping[str, int], wanted: str | None) -> str:
    there = ", ".join(rails) or "none"
    if wanted is None:
        totals = [name for name in _TOTALS if name in rails]
        if len(totals) == 1:
            return totals[0]
        raise InputError(
            f"{path}: expected a rail that holds all others ({' or '.join(_TOTALS)}), found {there[:300]}.",
            "Name the rail you want with --power; their sum is no total, since some supplies are not measured.",
        )
    if wanted not in rails:
        raise InputError(
            f"{path}: expected the rail {wanted}, found {there[:300]}.", "Name one of these with --power."
        )
    return wanted


def _times_s(stamps: Sequence[datetime | None]) -> list[float]:
    """Seconds since the first line. Dates have whole seconds: lines of one second are spread over it."""
    dated = [stamp for stamp in stamps if stamp is not None]
    if not dated:
        return [index * INTERVAL_S for index in range(len(stamps))]
    sizes = [len(list(lines)) for _, lines in groupby(dated)]
    usual = max(int(median(sizes)), 1)
    times_s: list[float] = []
    for size in sizes:
        second_s = (dated[len(times_s)] - dated[0]).total_seconds()
        # The recording began in the middle of its first second, so that its lines belong at the end of it.
        skipped = max(usual - size, 0) if not times_s else 0
        times_s += [second_s + (skipped + index) / max(usual, size) for index in range(size)]
    return times_s
