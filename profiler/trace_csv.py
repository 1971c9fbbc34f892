"""Power traces as CSV: perframe's own columns, any others by name, and nvidia-smi's logs as it writes them.

nvidia-smi (`--query-gpu=timestamp,power.draw,... --format=csv`) puts units into the header (`power.draw [W]`) and,
unless told `nounits`, behind every value (`46.19 W`); what a GPU does not tell stands in brackets (`[N/A]`). It
writes one row per GPU: https://docs.nvidia.com/deploy/nvidia-smi/
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from perframe.errors import InputError
from perframe.profiler.sensors.base import Domain
from perframe.profiler.trace_text import (
    SECONDS,
    WATTS,
    Recording,
    bad_row,
    is_missing,
    moment,
    opened_lines,
    quantity,
)

_TIME_COLUMNS = ("t_s", "time_s", "timestamp")

# The most faithful first: power.draw lags by a second on newer cards.
_POWER_COLUMNS = (
    "power_w",
    "power_instant_w",
    "power.draw.instant",
    "power_draw_w",
    "power.draw",
    "power.draw.average",
)

# What tells one GPU of a machine from another, the surest first.
_IDENTITIES = ("uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id", "serial", "index")
_DESCRIPTIONS = (*_IDENTITIES, "name", "gpu_name", "driver_version")

_HEADER_UNIT = re.compile(r"(.*\S)\s*\[(\S+)\]")
_NAME_UNIT = re.compile(r".*_([a-zµ]+)")
_MOST_GPUS = 64


@dataclass(frozen=True)
class CsvTrace:
    """One column of a CSV, as read.

    Attributes:
        recording: Its rows.
        time_column: Where the times came from, without the unit.
        column: Where the watts came from, without the unit.
        domain: What such a column includes.
        device: What the file tells about the GPU: `uuid`, `name`, `index`, ...
        started: The date and time of t = 0; `None` if the file has seconds.
    """

    recording: Recording
    time_column: str
    column: str
    domain: Domain
    device: Mapping[str, str]
    started: datetime | None


@dataclass(frozen=True)
class _Column:
    index: int
    name: str
    unit: str

    def scale(self, units: Mapping[str, float]) -> float:
        """What a bare number of the column is worth: by the header's unit, or the one in the name (`power_mw`)."""
        if self.unit:
            return units.get(self.unit, math.nan)
        found = _NAME_UNIT.fullmatch(self.name)
        by_name = {unit.lower(): worth for unit, worth in units.items()}
        return by_name.get(found[1], 1.0) if found else 1.0


def read_csv(path: Path, time_column: str | None, power_column: str | None, gpu: str | None) -> CsvTrace:
    """Read a time and a power column.

    Args:
        path: The file.
        time_column: Header of the time column; `None` for the first of the known ones.
        power_column: Header of the power column; `None` for the first of the known ones that has readings.
        gpu: Which GPU's rows, by anything that identifies it; `None` where there is one.

    Raises:
        InputError: A column is missing, a row is bad, or rows of several GPUs are mixed.
    """
    with opened_lines(path) as lines:
        columns = _header(csv.reader(lines))
    time = _chosen(path, columns, time_column, _TIME_COLUMNS, "time")
    candidates = [_chosen(path, columns, power_column, _POWER_COLUMNS, "power")]
    if power_column is None:
        candidates += [c for c in columns if c.name in _POWER_COLUMNS and c.name != candidates[0].name]
    for power in candidates:
        trace = _read(path, columns, time, power, gpu)
        if 2 * trace.recording.missing <= len(trace.recording.t_s):
            return trace
    first = _read(path, columns, time, candidates[0], gpu)
    raise InputError(
        f"{path}: {first.recording.missing} of {len(first.recording.t_s)} readings of {first.column} are missing"
        " ([N/A] or the like).",
        "Record a power field that this device has; nvidia-smi --help-query-gpu lists them.",
    )


def is_nvidia_smi(header: str) -> bool:
    """Tell whether a header line was written by nvidia-smi."""
    return any("power.draw" in column.name for column in _header(csv.reader([header])))


def _header(rows: Iterator[list[str]]) -> list[_Column]:
    columns = []
    for index, cell in enumerate(next(rows, [])):
        found = _HEADER_UNIT.fullmatch(cell.strip())
        columns.append(_Column(index, *found.groups()) if found else _Column(index, cell.strip(), ""))
    return columns


def _chosen(
    path: Path, columns: Sequence[_Column], wanted: str | None, known: Sequence[str], what: str
) -> _Column:
    by_name = {column.name: column for column in reversed(columns)}
    by_name |= {f"{column.name} [{column.unit}]": column for column in columns if column.unit}
    for name in known if wanted is None else (wanted,):
        if name in by_name:
            return by_name[name]
    expected = f"a {what} column ({' or '.join(known)})" if wanted is None else f"the {what} column {wanted}"
    there = ", ".join(column.name for column in columns)
    raise InputError(
        f"{path}, line 1: expected {expected}, found {there[:300]}.", f"Name one of these with --{what}."
    )


def _read(path: Path, columns: Sequence[_Column], time: _Column, power: _Column, gpu: str | None) -> CsvTrace:
    recording = Recording(path)
    clock = _Clock(time.scale(SECONDS))
    scale = power.scale(WATTS)
    least = max(time.index, power.index) + 1
    gpus = _Gpus(path, columns, gpu)
    with opened_lines(path) as lines:
        rows = csv.reader(lines)
        next(rows, None)
        try:
            for row in rows:
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue
                if not gpus.wanted(row):
                    continue
                text = ",".join(row)
                if len(row) < least:
                    raise bad_row(path, rows.line_num, f"at least {least} cells", text)
                cell = row[power.index].strip()
                power_w = None if is_missing(cell) else quantity(cell, WATTS, scale)
                recording.add(rows.line_num, clock.seconds(row[time.index].strip()), power_w, text)
        except csv.Error as error:
            raise InputError(f"{path}, line {rows.line_num}: not CSV: {error}.", "Mend the line.") from error
    return CsvTrace(recording, time.name, power.name, _domain(power.name), gpus.only(), clock.started)


class _Clock:
    """Reads a column of seconds, or of dates as seconds since the first."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._has_seconds = False
        self.started: datetime | None = None

    def seconds(self, text: str) -> float:
        if self.started is None:
            seconds = quantity(text, SECONDS, self._scale)
            if self._has_seconds or math.isfinite(seconds):
                self._has_seconds = True
                return seconds
        now = moment(text)
        if now is None:
            return math.nan
        if self.started is None:
            self.started = now
        if (now.tzinfo is None) != (self.started.tzinfo is None):
            return math.nan
        return (now - self.started).total_seconds()


class _Gpus:
    """Keeps the rows of one GPU, and knows which there are."""

    def __init__(self, path: Path, columns: Sequence[_Column], chosen: str | None) -> None:
        self._path, self._chosen = path, chosen
        self._identities = [column for name in _IDENTITIES for column in columns if column.name == name]
        self._descriptions = [column for column in columns if column.name in _DESCRIPTIONS]
        self._found: dict[tuple[str, ...], dict[str, str]] = {}

    def wanted(self, row: Sequence[str]) -> bool:
        identity = tuple(row[c.index].strip() for c in self._identities if c.index < len(row))
        if identity not in self._found and len(self._found) < _MOST_GPUS:
            self._found[identity] = {
                c.name: row[c.index].strip()
                for c in self._descriptions
                if c.index < len(row) and not is_missing(row[c.index].strip())
            }
        return self._chosen is None or self._chosen in identity

    def only(self) -> Mapping[str, str]:
        """Describe the one GPU that the rows came from.

        Raises:
            InputError: There are several and none was chosen, or the chosen one is not there.
        """
        found = {
            identity: device
            for identity, device in self._found.items()
            if self._chosen is None or self._chosen in identity
        }
        if len(found) == 1:
            return next(iter(found.values()))
        if not found and self._chosen is None:
            return {}
        asked = "one GPU" if self._chosen is None else f"GPU {self._chosen}"
        if not self._identities:
            raise InputError(
                f"{self._path}: expected rows of {asked}, found no column that tells GPUs apart.",
                "Record with the index or uuid field, or leave out --gpu.",
            )
        there = "; ".join(" ".join(identity) for identity in self._found) or "none"
        raise InputError(
            f"{self._path}: expected rows of {asked}, found {len(self._found)}: {there[:300]}.",
            "Name one of them with --gpu.",
        )


def _domain(column: str) -> Domain:
    """What a column includes: nvidia-smi's are the GPU's or the module's, others are a meter's."""
    if column.startswith("module."):
        return "module"
    return "gpu" if column.startswith(("power.", "power_instant", "power_draw", "gpu")) else "board"
