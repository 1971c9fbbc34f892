"""What a recorded power trace says: about its sensor, and about the power, with an honest mean."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perframe.arrays import Array
from perframe.errors import UsageError
from perframe.files import sha256_of, writable_target
from perframe.profiler.aliasing import TOLERATED, Swing, beat_error, find_swing
from perframe.profiler.batch_means import batch_means
from perframe.profiler.calibrate import derive
from perframe.profiler.calibration import (
    Calibration,
    default_accuracy,
    holds,
    read_calibration,
    write_calibration,
)
from perframe.profiler.power_series import change_times_s, joules_until, mean_power_w, update_period_s
from perframe.profiler.result import CalibrationUse, Quality
from perframe.profiler.sensors.base import Domain
from perframe.profiler.stats import Estimate
from perframe.profiler.steadiness import is_stationary
from perframe.profiler.trace_checks import of_beat, of_calibration, of_length, of_power, of_sensor
from perframe.profiler.trace_files import Format, PowerTrace, read_trace

SCHEMA = "perframe.trace/1"

# More even steps than this say nothing more about correlation, and cost memory.
_MOST_STEPS = 500_000


@dataclass(frozen=True)
class TraceReport:
    """What a trace says.

    Attributes:
        file: Name of the file.
        format: How it was written.
        time_column: Where the times came from.
        power_column: Where the watts came from.
        domain: What the watts include.
        card: Name of the GPU, if the file tells.
        uuid: What identifies it, if the file tells.
        from_s: Begin of the span the figures are of, on the file's clock.
        to_s: Its end.
        duration_s: Its length.
        samples: Rows in it.
        distinct_samples: Readings in it, repeats of the one before not counted.
        update_period_s: How often the sensor updates, from the whole file; `None` if the reading changes too seldom.
        mean_w: Mean power over the span with its 95 % interval; without one where none would be honest.
        energy_j: Joules in the span, by the trapezoidal rule.
        stationary: Whether the power has been shown to keep its level over the span.
        correlation_s: Over this time the likeness of two readings falls to 1/e.
        longer_s: How much longer to record a steady load for an interval; `None` where that would not help.
        beat_period_s: Period of a slow swing of the readings; `None` if they do not swing.
        beat_error: How far the mean may be off, relative, because a swing in the span is incomplete.
        aliased: Whether the load beats with the sensor so that its figures are luck.
        absolute_uncertainty: How far off the true power the figures may be, relative; `None` if nothing is known
            about the sensor.
        gain: Of the calibration applied; `None` for none.
        offset_w: Of the calibration applied.
        trustworthy: Whether nothing was found that makes the figures wrong.
        warnings: What to know before believing the figures.
    """

    file: str
    format: Format
    time_column: str
    power_column: str
    domain: Domain
    card: str | None
    uuid: str | None
    from_s: float
    to_s: float
    duration_s: float
    samples: int
    distinct_samples: int
    update_period_s: float | None
    mean_w: Estimate
    energy_j: float
    stationary: bool
    correlation_s: float
    longer_s: float | None
    beat_period_s: float | None
    beat_error: float | None
    aliased: bool
    absolute_uncertainty: float | None
    gain: float | None
    offset_w: float | None
    trustworthy: bool
    warnings: tuple[Quality, ...]


def analyse(
    trace: PowerTrace,
    from_s: float | None = None,
    to_s: float | None = None,
    calibration: Calibration | None = None,
    load_period_s: float | None = None,
) -> TraceReport:
    """Say what a trace tells about its sensor and the power.

    Args:
        trace: The trace, as recorded.
        from_s: Begin of the span to look at, on the trace's clock; `None` for its begin.
        to_s: End of the span; `None` for its end.
        calibration: Corrects the watts.
        load_period_s: Period of the load, if it is known and periodic: more is known about beats then.

    Raises:
        UsageError: The span is empty or outside of the trace, or the load's period is no positive time.
        InputError: The calibration is known to be another card's.
    """
    start_s, end_s = _span(trace, from_s, to_s)
    if load_period_s is not None and not 0.0 < load_period_s < np.inf:
        raise UsageError(
            f"A load's period of {load_period_s:g} s: expected a positive time.", "Give seconds."
        )
    corrected, used = _corrected(trace, calibration) if calibration else (trace, None)
    inside = (trace.t_s >= start_s) & (trace.t_s <= end_s)
    period_s = update_period_s(change_times_s(trace.t_s, trace.power_w))
    energy_j = float(np.diff(joules_until(corrected.t_s, corrected.power_w, np.array([start_s, end_s])))[0])
    distinct = len(change_times_s(trace.t_s[inside], trace.power_w[inside])) + 1
    even_w, step_s = _even_steps(corrected, start_s, end_s, period_s)
    means = batch_means(even_w)
    swing, beat = _swing(corrected, start_s, end_s, period_s, energy_j)
    if load_period_s is not None and period_s is not None:
        beat = max(beat or 0.0, beat_error(load_period_s, period_s, end_s - start_s))
    aliased = beat is not None and beat > TOLERATED
    stationary = distinct > 1 and not aliased and is_stationary(even_w)
    # The correlation of a level that changes is not that of noise, and no length would make up for it.
    longer_s = (means.needed - len(even_w)) * step_s if stationary and not means.conclusive else None
    low_w, high_w = (float(level) for level in np.quantile(corrected.power_w[inside], (0.02, 0.98)))
    warnings = [
        *trace.warnings,
        *of_sensor(int(np.sum(inside)), distinct, period_s),
        *(of_calibration(used, low_w, high_w) if used else ()),
        *of_power(even_w, distinct, stationary, aliased),
        *(of_length(means, longer_s) if longer_s is not None else ()),
        *(of_beat(swing, beat, period_s) if aliased and beat is not None else ()),
    ]
    estimate = dataclasses.replace(means.estimate, value=energy_j / (end_s - start_s))
    # Only sensors of GPUs have been held against a meter.
    accuracy = default_accuracy(trace.card) if trace.domain == "gpu" else None
    uncertainty = accuracy.at(estimate.value) if accuracy else None
    if calibration and used and holds(used, low_w, high_w):
        uncertainty = calibration.uncertainty
    if not stationary:
        estimate = dataclasses.replace(estimate, low=None, high=None)
    return TraceReport(
        file=trace.path.name,
        format=trace.format,
        time_column=trace.time_column,
        power_column=trace.column,
        domain=trace.domain,
        card=trace.card,
        uuid=trace.uuid,
        from_s=start_s,
        to_s=end_s,
        duration_s=end_s - start_s,
        samples=int(np.sum(inside)),
        distinct_samples=distinct,
        update_period_s=period_s,
        mean_w=estimate,
        energy_j=energy_j,
        stationary=stationary,
        correlation_s=means.correlation * step_s,
        longer_s=longer_s,
        beat_period_s=swing.period_s if swing else None,
        beat_error=beat,
        aliased=aliased,
        absolute_uncertainty=uncertainty,
        gain=calibration.gain if calibration else None,
        offset_w=calibration.offset_w if calibration else None,
        trustworthy=not any(warning.severity == "invalid" for warning in warnings),
        warnings=tuple(warnings),
    )


def report_to_json(report: TraceReport) -> str:
    """Return the report as a JSON document."""
    return json.dumps({"schema": SCHEMA, **dataclasses.asdict(report)}, indent=1, allow_nan=False)


def trace_command(
    file: Path,
    *,
    time: str | None = None,
    power: str | None = None,
    gpu: str | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
    load_period_s: float | None = None,
    meter: Path | None = None,
    calibrate: Path | None = None,
    calibration: Path | None = None,
) -> tuple[TraceReport, Calibration | None]:
    """Do what `perframe trace` is asked for.

    Args:
        file: The trace.
        time: Its time column.
        power: Its power column or rail.
        gpu: Which GPU, where several are mixed.
        from_s: Begin of the span.
        to_s: End of the span.
        load_period_s: Period of the load, if known.
        meter: Trace of an external meter in the same run, to find the sensor's gain and offset from.
        calibrate: Where to write them.
        calibration: A file of gain and offset to apply.

    Returns:
        The report, corrected where there is a calibration, and the calibration found or read.

    Raises:
        UsageError: The options contradict each other or the trace.
        InputError: A file is not usable.
        UnavailableError: `calibrate` cannot be written.
    """
    if calibrate is not None and meter is None:
        raise UsageError("--calibrate: expected a meter's trace too.", "Give --meter METER.csv.")
    if meter is not None and calibration is not None:
        raise UsageError(
            "--meter finds a calibration and --calibration applies another.", "Give one of them."
        )
    if calibrate is not None and meter is not None:
        writable_target(calibrate, inputs=(file, meter))
    trace = read_trace(file, time, power, gpu)
    found = None
    if meter is not None:
        found = derive(trace, read_trace(meter))
    elif calibration is not None:
        found = read_calibration(calibration)
    report = analyse(trace, from_s, to_s, found, load_period_s)
    if calibrate is not None and found is not None:
        write_calibration(found, calibrate)
    return report, found


def _span(trace: PowerTrace, from_s: float | None, to_s: float | None) -> tuple[float, float]:
    first_s, last_s = float(trace.t_s[0]), float(trace.t_s[-1])
    start_s, end_s = first_s if from_s is None else float(from_s), last_s if to_s is None else float(to_s)
    if not first_s <= start_s < end_s <= last_s or np.sum((trace.t_s >= start_s) & (trace.t_s <= end_s)) < 2:
        raise UsageError(
            f"{trace.path}: expected a span with samples between {first_s:.6g} and {last_s:.6g} s,"
            f" found {start_s:g} to {end_s:g} s.",
            "Give other --from and --to.",
        )
    return start_s, end_s


def _even_steps(
    trace: PowerTrace, start_s: float, end_s: float, period_s: float | None
) -> tuple[Array, float]:
    """Mean watts in even steps, one per update: what repeats count for in time they count for here."""
    wanted_s = period_s if period_s is not None else float(np.median(np.diff(trace.t_s)))
    count = int(min(max((end_s - start_s) / wanted_s, 1.0), _MOST_STEPS))
    edges_s = np.linspace(start_s, end_s, count + 1)
    return mean_power_w(trace.t_s, trace.power_w, edges_s), (end_s - start_s) / count


def _corrected(trace: PowerTrace, calibration: Calibration) -> tuple[PowerTrace, CalibrationUse]:
    """The trace as the calibration says that it should be, and how well the two fit."""
    calibration.require_card(trace.card, trace.uuid, str(trace.path))
    used = calibration.use(trace.column, trace.card, trace.uuid, sha256_of(trace.path))
    return dataclasses.replace(trace, power_w=calibration.correct(trace.power_w)), used


def _swing(
    trace: PowerTrace, from_s: float, to_s: float, period_s: float | None, energy_j: float
) -> tuple[Swing | None, float | None]:
    """The slow swing that tells most against a span, and how far the span may be off for it.

    It is looked for in the whole trace too: a short span may show its top only, or its bottom.
    """
    worst, error = None, None
    for begin_s, until_s in ((from_s, to_s), (float(trace.t_s[0]), float(trace.t_s[-1]))):
        found = find_swing(*_even_steps(trace, begin_s, until_s, period_s), begin_s)
        off = found.error(from_s, to_s, energy_j) if found else 0.0
        if off > (error or 0.0):
            worst, error = found, off
    return worst, error
