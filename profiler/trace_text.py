"""What the formats of power traces share: bounded reading, quantities, moments, and rows in order of time."""

import gzip
import math
import re
import zlib
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from perframe.errors import InputError
from perframe.files import readable_file

MOST_LINES = 5_000_000
"""More than an hour at one sample per millisecond; a compressed file can be made to hold any number."""

_LONGEST_LINE = 16_384
_GZIP_MAGIC = b"\x1f\x8b"
_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([a-zA-Zµ]+)")
# nvidia-smi writes [N/A], [Not Supported], [Unknown Error], [GPU requires reset], ...
_MISSING = re.compile(r"\[.*\]|N/?A|", re.IGNORECASE)

WATTS: Mapping[str, float] = {"W": 1.0, "mW": 1e-3, "kW": 1e3}
"""Units of power and what they are worth in watts."""

SECONDS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
"""Units of time and what they are worth in seconds."""


@contextmanager
def opened_lines(path: Path) -> Iterator[Iterator[str]]:
    """Open a text file, gzipped or not, as an iterator over its lines that no file can drive out of memory.

    Raises:
        InputError: The file is missing, cut off, not text, or has lines too long or too many; also while iterating.
    """
    readable_file(path, "power trace")
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP_MAGIC
        opener = gzip.open if compressed else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as text:
            yield _bounded(path, text)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable text file: {error}.", "Was the copy cut off?") from error


def _bounded(path: Path, text: Iterator[str]) -> Iterator[str]:
    read = text.readline  # type: ignore[attr-defined]
    number = 0
    while line := read(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise bad_row(path, number, f"lines of less than {_LONGEST_LINE} characters", "a longer one")
        if number > MOST_LINES:
            raise bad_row(path, number, f"at most {MOST_LINES} lines", "more")
        if "\0" in line:
            raise bad_row(path, number, "text", "binary data")
        yield line


def bad_row(path: Path, line: int, expected: str, found: str) -> InputError:
    """Return the error for a row that is not what it should be."""
    return InputError(
        f"{path}, line {line}: expected {expected}, found {found.strip()[:80]}.", "Mend or remove the line."
    )


def is_missing(text: str) -> bool:
    """Tell whether a cell says that there is no value, as nvidia-smi does in brackets."""
    return _MISSING.fullmatch(text) is not None


def quantity(text: str, units: Mapping[str, float], scale: float) -> float:
    """Read a number with or without its unit.

    Args:
        text: Such as `46.19 W`, `4898mW` or `46.19`.
        units: The units it may have and what they are worth.
        scale: What a bare number is worth.

    Returns:
        The quantity in the base unit; NaN if `text` is none.
    """
    try:
        return float(text) * scale
    except ValueError:
        found = _QUANTITY.fullmatch(text)
        if found is None or found[2] not in units:
            return math.nan
        return float(found[1]) * units[found[2]]


def moment(text: str) -> datetime | None:
    """Read a date and time: ISO 8601, nvidia-smi's `2026/11/21 02:58:11.123`, or tegrastats' `11-21-2026 02:58:11`."""
    text = text.replace("/", "-")
    if text[2:3] == "-" and text[5:6] == "-":
        text = f"{text[6:10]}-{text[:5]}{text[10:]}"
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


@dataclass
class Recording:
    """The rows of a trace as they are read, in order of time.

    Attributes:
        path: The file, for messages.
        t_s: Times so far.
        power_w: Watts so far; NaN where the sensor gave none.
        missing: How many of them it did not give.
    """

    path: Path
    t_s: "array[float]" = field(default_factory=lambda: array("d"))
    power_w: "array[float]" = field(default_factory=lambda: array("d"))
    missing: int = 0

    def add(self, line: int, t_s: float, power_w: float | None, row: str) -> None:
        """Add a row.

        Args:
            line: Its number in the file.
            t_s: Its time.
            power_w: Its watts; None where the file says that there was no value.
            row: Its text, for messages.

        Raises:
            InputError: The time or the power is no finite number, the power is negative, or time runs backward.
        """
        watts = math.nan if power_w is None else power_w
        if not math.isfinite(t_s) or (power_w is not None and not 0.0 <= power_w < math.inf):
            raise bad_row(self.path, line, "a finite time and a power of at least 0", row)
        if self.t_s and t_s < self.t_s[-1]:
            raise bad_row(
                self.path, line, f"a time from {self.t_s[-1]:.15g} s on", f"{t_s:.15g} s: time runs backward"
            )
        self.missing += power_w is None
        self.t_s.append(t_s)
        self.power_w.append(watts)
