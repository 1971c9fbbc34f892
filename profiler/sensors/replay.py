"""A recorded power trace played back as if it were a sensor."""

import csv
import gzip
import math
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import ClassVar, TextIO

from perframe.engines.clock import Clock
from perframe.errors import InputError, MeasurementError, UsageError
from perframe.files import readable_file, sha256_of
from perframe.profiler.sensors.base import Domain, Kind, PowerSample, SensorRequest

_TIME_COLUMNS = ("t_s", "time_s")

# Power columns, the most faithful first (power.draw lags by a second on newer cards), and what they include.
_POWER_COLUMNS: Mapping[str, Domain] = {"power_w": "board", "power_instant_w": "gpu", "power_draw_w": "gpu"}

# Reading more often than this would disturb what is measured meanwhile.
_SHORTEST_POLL_S = 0.01

_GZIP_MAGIC = b"\x1f\x8b"

# More than an hour at one sample per millisecond; a compressed file can be made to hold any number.
_MOST_SAMPLES = 5_000_000


class Replay:
    """A CSV of times and watts, played from the moment it is opened: a sample-and-hold sensor.

    The file has one header line with a time column (`t_s` or `time_s`, seconds) and a power column
    (`power_w`, `power_instant_w` or `power_draw_w`, watts; the first of these there is). It may be gzipped.

    Args:
        path: The file; it is read at once.

    Raises:
        InputError: The file is missing or corrupt, has no such columns, fewer than two samples, or a row
            whose time goes backward or whose power is no finite number of at least 0.
    """

    name: ClassVar[str] = "replay"
    kind: ClassVar[Kind] = "measured"
    max_window_s: ClassVar[None] = None

    def __init__(self, path: Path) -> None:
        self.path = readable_file(path, "power trace")
        self._column, self._times_s, self._powers_w = _read_trace(path)
        self._sha256 = sha256_of(path)

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Replay":
        """See `perframe.profiler.sensors.base.SensorFactory`."""
        if not request.argument:
            raise UsageError("--sensor replay: expected a recorded trace.", "Give --sensor replay:FILE.csv.")
        return cls(Path(request.argument))

    @property
    def domain(self) -> Domain:
        """What the recorded column includes: nvidia-smi's columns are the GPU's, others a meter's."""
        return _POWER_COLUMNS[self._column]

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last sample."""
        return self._times_s[-1] - self._times_s[0]

    @property
    def poll_interval_s(self) -> float:
        """As often as it was recorded, within reason."""
        steps = (later - earlier for earlier, later in zip(self._times_s, self._times_s[1:], strict=False))
        return max(median(steps), _SHORTEST_POLL_S)

    @property
    def details(self) -> Mapping[str, str | float]:
        """Which trace was played."""
        return {
            "file": self.path.name,
            "sha256": self._sha256,
            "column": self._column,
            "duration_s": self.duration_s,
            "samples": float(len(self._times_s)),
        }

    def unavailable(self) -> str | None:
        """Never: the file has been read."""
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator["_Reader"]:
        """See `perframe.profiler.sensors.base.Sensor.open`."""
        yield _Reader(self.path, clock, self._times_s, self._powers_w)


class _Reader:
    def __init__(self, path: Path, clock: Clock, times_s: Sequence[float], powers_w: Sequence[float]) -> None:
        self._path, self._clock, self._times_s, self._powers_w = path, clock, times_s, powers_w
        self._shift_s = clock.now_s() - times_s[0]

    def read(self) -> PowerSample:
        recorded_s = self._clock.now_s() - self._shift_s
        first_s, last_s = self._times_s[0], self._times_s[-1]
        if recorded_s > last_s:
            raise MeasurementError(
                f"{self._path}: the trace is {last_s - first_s:.1f} s long, "
                f"and the measurement has needed {recorded_s - first_s:.1f} s so far.",
                "Measure for a shorter time or fewer batch sizes, or record a longer trace.",
            )
        # Rounding may put the moment of opening just before the first sample.
        index = max(bisect_right(self._times_s, recorded_s) - 1, 0)
        return PowerSample(self._times_s[index] + self._shift_s, self._powers_w[index])


def _read_trace(path: Path) -> tuple[str, list[float], list[float]]:
    """Name of the power column, times and powers."""
    times_s: list[float] = []
    powers_w: list[float] = []
    try:
        with _open_text(path) as file:
            rows = csv.reader(file)
            header = [cell.strip() for cell in next(rows, [])]
            time_column = _column(path, header, _TIME_COLUMNS, "time")
            power_column = _column(path, header, tuple(_POWER_COLUMNS), "power")
            time_index, power_index = header.index(time_column), header.index(power_column)
            for row in rows:
                if not row:
                    continue
                t_s, power_w = _cell(row, time_index), _cell(row, power_index)
                if not (math.isfinite(t_s) and math.isfinite(power_w) and power_w >= 0):
                    raise _bad_row(
                        path, rows.line_num, "a finite time and a power of at least 0", ",".join(row)
                    )
                if times_s and t_s < times_s[-1]:
                    raise _bad_row(path, rows.line_num, f"a time from {times_s[-1]:g} s on", f"{t_s:g} s")
                if len(times_s) == _MOST_SAMPLES:
                    raise _bad_row(path, rows.line_num, f"at most {_MOST_SAMPLES} samples", "more")
                times_s.append(t_s)
                powers_w.append(power_w)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV: {error}.", "Was the copy cut off?") from error
    if len(times_s) < 2 or times_s[0] == times_s[-1]:
        raise InputError(
            f"{path}: expected a trace of at least two samples at different times, found {len(times_s)}.",
            "Record for longer.",
        )
    return power_column, times_s, powers_w


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    if compressed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _column(path: Path, header: Sequence[str], accepted: Sequence[str], what: str) -> str:
    for name in accepted:
        if name in header:
            return name
    raise InputError(
        f"{path}, line 1: expected a {what} column ({' or '.join(accepted)}), found {','.join(header)[:99]}.",
        "Name the columns t_s (seconds) and power_w (watts).",
    )


def _cell(row: Sequence[str], index: int) -> float:
    try:
        return float(row[index])
    except (IndexError, ValueError):
        return math.nan


def _bad_row(path: Path, line: int, expected: str, found: str) -> InputError:
    return InputError(
        f"{path}, line {line}: expected {expected}, found {found[:80]}.", "Mend or remove the line."
    )
