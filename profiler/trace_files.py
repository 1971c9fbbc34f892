"""Recorded power traces: own CSV files, nvidia-smi's and tegrastats' logs, checked and put in one form."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from perframe.arrays import Array
from perframe.errors import InputError, UsageError
from perframe.profiler.power_series import change_times_s, update_period_s
from perframe.profiler.result import Quality
from perframe.profiler.sensors.base import Domain
from perframe.profiler.trace_csv import is_nvidia_smi, read_csv
from perframe.profiler.trace_tegrastats import INTERVAL_S, is_tegrastats, read_tegrastats
from perframe.profiler.trace_text import Recording, opened_lines

Format = Literal["csv", "nvidia-smi", "tegrastats"]

# Rows that follow each other much faster than the rest are rows of several GPUs, of which no machine has more.
_MOST_GPUS = 16
_NEAR = 0.25
_FEWEST_BURSTS, _FEWEST_PAIRS = 4, 10
# Rows are of different GPUs if they differ by more than this share of the power, and by so many times what they change
# in time, or so many standard errors oftener than chance makes. Evenly spaced rows must differ by more: their spacing
# tells nothing.
_BURST_APART, _PAIR_APART = 0.01, 0.05
_TIMES_ALONG, _TIMES_ERROR = 3.0, 5.0
# A gap is a step of several update periods: shorter ones are polling jitter and lose no reading.
_GAP_UPDATES, _GAP_STEPS = 3.0, 5.0
_GAP_STEPS_ALONE = 10.0


@dataclass(frozen=True, eq=False)
class PowerTrace:
    """Watts over time.

    Attributes:
        path: Where it was read from.
        format: How it was written.
        t_s: Seconds, strictly rising, on the file's own clock, or since the first row where it has dates.
        power_w: Watts, finite and at least 0.
        time_column: Where the times came from.
        column: Where the watts came from: a column, or a rail.
        domain: What the watts include.
        card: Name of the GPU, if the file tells.
        uuid: What identifies it, if the file tells.
        started: ISO 8601 date and time of t = 0, if the file tells.
        warnings: What was odd about the file.
    """

    path: Path
    format: Format
    t_s: Array
    power_w: Array
    time_column: str
    column: str
    domain: Domain
    card: str | None
    uuid: str | None
    started: str | None
    warnings: tuple[Quality, ...]

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last sample."""
        return float(self.t_s[-1] - self.t_s[0])


def read_trace(
    path: Path,
    time_column: str | None = None,
    power_column: str | None = None,
    gpu: str | None = None,
) -> PowerTrace:
    """Read a recorded power trace, gzipped or not.

    Known without being told are the columns `t_s` and `time_s` (seconds) with `power_w`, `power_instant_w` or
    `power_draw_w` (watts), nvidia-smi's `timestamp` with its power fields, and tegrastats' rails that hold all others.

    Args:
        path: The file.
        time_column: Another column of times.
        power_column: Another column of power, or another rail.
        gpu: Which GPU, by index, UUID or bus id, where rows of several are mixed.

    Raises:
        InputError: The file is missing, cut off or not text; has no such column or rail; a row whose time goes
            backward or whose power is no finite number of at least 0; mostly missing readings; rows of several
            GPUs; or fewer than two samples.
        UsageError: A column is named that the format does not have.
    """
    with opened_lines(path) as lines:
        first = list(islice(lines, 5))
    if is_tegrastats(first):
        return _from_tegrastats(path, time_column, power_column, gpu)
    found = read_csv(path, time_column, power_column, gpu)
    if gpu is None:
        _require_one_gpu(found.recording)
    device = found.device
    return _checked(
        found.recording,
        format="nvidia-smi" if is_nvidia_smi(first[0]) else "csv",
        time_column=found.time_column,
        column=found.column,
        domain=found.domain,
        card=device.get("name", device.get("gpu_name")),
        uuid=device.get("uuid", device.get("gpu_uuid")),
        started=found.started.isoformat() if found.started else None,
        warnings=(),
    )


def _from_tegrastats(path: Path, time_column: str | None, rail: str | None, gpu: str | None) -> PowerTrace:
    if time_column is not None or gpu is not None:
        raise UsageError(
            f"{path}: a tegrastats log has neither time columns nor several GPUs.",
            "Leave out --time and --gpu.",
        )
    found = read_tegrastats(path, rail)
    warnings = []
    if found.started is None:
        warnings.append(
            Quality(
                "assumed-interval",
                "warning",
                f"The lines have no dates; they are taken to be {INTERVAL_S:g} s apart.",
                "Record with a tegrastats that prints dates, or with its default --interval.",
            )
        )
    elif found.spread:
        warnings.append(
            Quality(
                "whole-seconds",
                "info",
                "Dates have whole seconds; lines of one second were spread evenly over it.",
                "Times are good to the interval between lines, means and energies are not affected.",
            )
        )
    if not found.total:
        warnings.append(
            Quality(
                "one-rail",
                "info",
                f"{found.rail} is one rail: what other parts draw is not in it.",
                "Name the rail with every figure.",
            )
        )
    return _checked(
        found.recording,
        format="tegrastats",
        time_column="line" if found.started is None else "date",
        column=found.rail,
        domain=found.domain,
        card=None,
        uuid=None,
        started=found.started.isoformat() if found.started else None,
        warnings=tuple(warnings),
    )


def _require_one_gpu(recording: Recording) -> None:
    """Refuse rows in bursts, or evenly spaced in turn, that keep apart: several GPUs without a column for them."""
    t_s, power_w = np.array(recording.t_s), np.array(recording.power_w)
    if len(t_s) < 2 * _FEWEST_BURSTS:
        return
    steps_s = np.diff(t_s)
    starts = np.concatenate(([0], np.flatnonzero(steps_s > _NEAR * np.quantile(steps_s, 0.9)) + 1))
    sizes = np.diff(starts)
    size = int(np.median(sizes)) if len(sizes) else 1
    whole = starts[:-1][sizes == size]
    in_bursts = 2 <= size <= _MOST_GPUS and len(whole) >= max(_FEWEST_BURSTS, 0.9 * len(sizes))
    if in_bursts:
        rows_w, least = power_w[whole[:, np.newaxis] + np.arange(size)], _BURST_APART
    else:
        rows_w, least = power_w[: len(power_w) // 2 * 2].reshape(-1, 2), _PAIR_APART
    rows_w = rows_w[~np.isnan(rows_w).any(axis=1)]
    if len(rows_w) < (_FEWEST_BURSTS if in_bursts else _FEWEST_PAIRS) or not _keep_apart(rows_w, least):
        return
    first_w, second_w = rows_w.mean(axis=0)[:2]
    seen = (
        f"in groups of {size} that keep apart (several GPUs mixed)"
        if in_bursts
        else f"of {first_w:.4g} and {second_w:.4g} W in turn (two GPUs mixed, or a load in step with the rows)"
    )
    raise InputError(
        f"{recording.path}: expected rows of one GPU, found rows {seen}.",
        "Record with the index or uuid field and choose with --gpu, or one GPU with nvidia-smi -i.",
    )


def _keep_apart(rows_w: Array, least: float) -> bool:
    """Tell whether the columns of a table of readings, in order of time, are of different things.

    They are if rows differ more from left to right than from one to the next; or if most readings of a column lie above
    the one of the first column before them and the one after, or most below both: of one thing a third does.

    Args:
        rows_w: Watts.
        least: Difference that does not matter, relative to the mean.
    """
    least_w = least * float(rows_w.mean())
    apart_w = float(np.median(np.abs(rows_w - rows_w[:, :1]).max(axis=1)))
    along_w = float(np.median(np.abs(np.diff(rows_w, axis=0)).max(axis=1)))
    if apart_w > max(_TIMES_ALONG * along_w, least_w):
        return True
    before_w, between_w, after_w = rows_w[:-1, :1], rows_w[:-1, 1:], rows_w[1:, :1]
    above = np.mean(between_w > np.maximum(before_w, after_w), axis=0)
    below = np.mean(between_w < np.minimum(before_w, after_w), axis=0)
    by_chance = 1.0 / 3.0 + _TIMES_ERROR * np.sqrt(2.0 / 9.0 / len(between_w))
    shifted = np.abs(between_w.mean(axis=0) - before_w.mean()) > least_w
    return bool(np.any(shifted & (np.maximum(above, below) > max(by_chance, 0.5))))


def _checked(
    recording: Recording,
    *,
    format: Format,  # noqa: A002 - the field's name
    time_column: str,
    column: str,
    domain: Domain,
    card: str | None,
    uuid: str | None,
    started: str | None,
    warnings: tuple[Quality, ...],
) -> PowerTrace:
    t_s, power_w = np.array(recording.t_s), np.array(recording.power_w)
    found = list(warnings)
    if recording.missing:
        read = ~np.isnan(power_w)
        found.append(
            Quality(
                "missing-readings",
                "warning",
                f"{recording.missing} of {len(t_s)} readings were missing and are left out.",
                "See what the recorder said at that time.",
            )
        )
        t_s, power_w = t_s[read], power_w[read]
    # The last row of a moment is the freshest.
    last = np.concatenate((np.diff(t_s) > 0.0, [True]))[: len(t_s)]
    if (repeated := int(np.sum(~last))) > 0:
        found.append(
            Quality(
                "repeated-times",
                "warning",
                f"{repeated} rows repeat the time of another; the last of each counts.",
                "Record times with more digits.",
            )
        )
        t_s, power_w = t_s[last], power_w[last]
    if len(t_s) < 2:
        raise InputError(
            f"{recording.path}: expected at least two samples at different times, found {len(t_s)}.",
            "Record for longer.",
        )
    found += _gaps(t_s, power_w)
    return PowerTrace(
        path=recording.path,
        format=format,
        t_s=t_s,
        power_w=power_w,
        time_column=time_column,
        column=column,
        domain=domain,
        card=card,
        uuid=uuid,
        started=started,
        warnings=tuple(found),
    )


def _gaps(t_s: Array, power_w: Array) -> list[Quality]:
    steps_s = np.diff(t_s)
    usual_s = float(np.median(steps_s))
    period_s = update_period_s(change_times_s(t_s, power_w))
    longest_s = (
        _GAP_STEPS_ALONE * usual_s if period_s is None else max(_GAP_STEPS * usual_s, _GAP_UPDATES * period_s)
    )
    at = np.flatnonzero(steps_s > longest_s)
    if len(at) == 0:
        return []
    worst = int(at[np.argmax(steps_s[at])])
    return [
        Quality(
            "gaps",
            "warning",
            f"{len(at)} gaps of {math.fsum(steps_s[at]):.3g} s together; the longest is {steps_s[worst]:.3g} s"
            f" at t = {t_s[worst]:.6g} s. Power is taken to run straight across.",
            "Leave them out with --from and --to.",
        )
    ]
