"""Joules of a run from a power trace that was recorded beside it on another machine, without a common clock.

The run is known to have loaded the device for so many seconds, and the trace shows when it was loaded. So the busiest
stretch of that length is taken to be the run, its ends are left out, and its mean power times the seconds of a frame is
the frame's energy. That holds only where the power keeps one level over the stretch; where it does not, nothing tells
which part of it was the run, and there is no figure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from perframe.arrays import Array
from perframe.errors import MeasurementError
from perframe.profiler.aliasing import TOLERATED, beat_error
from perframe.profiler.power_series import joules_until
from perframe.profiler.result import Energy, Latency, Quality, Window
from perframe.profiler.stats import Estimate
from perframe.profiler.trace import TraceReport, analyse
from perframe.profiler.trace_files import PowerTrace

# A reading averages over up to a second (nvidia-smi's power.draw since Ampere, arXiv 2312.02741), so that half a second
# at either end of a load shows a mixture.
_EDGE_S = 0.5
# The device at rest is the lowest second of a trace, if that is far enough below the load to be rest.
_REST_S = 1.0
_REST_SHARE = 0.8


@dataclass(frozen=True)
class TracedEnergy:
    """What a trace tells about a run.

    Attributes:
        energy: Whole network.
        quality: What to know before believing it.
    """

    energy: Energy
    quality: tuple[Quality, ...]


def traced_energy(
    trace: PowerTrace,
    latency: Latency,
    windows: tuple[Window, ...],
    loaded_s: float,
    *,
    from_s: float | None = None,
    to_s: float | None = None,
) -> TracedEnergy:
    """Find the energy per frame of a run in a power trace.

    Args:
        trace: The trace; its clock may be any.
        latency: Of the run.
        windows: Of the run.
        loaded_s: How long the run loaded the device, the warm-up included.
        from_s: Begin of the run in the trace, if the user knows.
        to_s: Its end.

    Raises:
        MeasurementError: The trace is shorter than its own edges, or its power keeps no level over the run.
        UsageError: The span that the user gives is not in the trace.
    """
    begin_s, end_s = _busiest(trace, loaded_s)
    given = from_s is not None or to_s is not None
    report = analyse(trace, from_s if given else begin_s, to_s if given else end_s)
    if not report.stationary:
        raise MeasurementError(
            f"{trace.path}: expected power of one level while trtexec ran, found none between"
            f" {report.from_s:.6g} and {report.to_s:.6g} s ({report.samples} samples).",
            "Let trtexec run for longer (--duration=30) while recording, or name the steady part with --from and --to.",
        )
    power_w, rest_w = report.mean_w, _rest_w(trace, report.mean_w.value)
    frame_s = 1.0 / latency.frames_per_s
    epf_j = _times(power_w, latency.mean, frame_s)
    above_j = None
    if rest_w is not None:
        above_w = Estimate(
            power_w.value - rest_w,
            None if power_w.low is None else power_w.low - rest_w,
            None if power_w.high is None else power_w.high - rest_w,
            power_w.n,
        )
        above_j = _times(above_w, latency.mean, frame_s)
    energy = Energy(
        kind="measured",
        sensor=f"trace:{trace.format}",
        domain=trace.domain,
        epf_j=epf_j,
        epf_above_idle_j=above_j,
        power_w=power_w,
        idle_w=rest_w,
        relative_uncertainty=None
        if epf_j.low is None or epf_j.high is None
        else (epf_j.high - epf_j.low) / 2.0 / epf_j.value,
        absolute_uncertainty=report.absolute_uncertainty,
        counter_epf_j=None,
        update_period_s=report.update_period_s,
        edge_error=None,
        details={
            "file": trace.path.name,
            "column": trace.column,
            "from_s": report.from_s,
            "to_s": report.to_s,
        },
        windows=windows,
    )
    query_s = sum(window.duration_s for window in windows) / latency.samples
    quality = (_assumption(report, given, rest_w), *_of_beat(report, query_s), *report.warnings)
    return TracedEnergy(energy, quality)


def _busiest(trace: PowerTrace, loaded_s: float) -> tuple[float, float]:
    """The stretch of the run's length with the highest mean power, without its ends."""
    length_s = min(loaded_s, trace.duration_s)
    if length_s <= 2.0 * _EDGE_S:
        raise MeasurementError(
            f"{trace.path}: expected more than {2.0 * _EDGE_S:g} s of load, found a run of {loaded_s:.3g} s in a trace"
            f" of {trace.duration_s:.3g} s.",
            "Let trtexec run for longer (--duration=30) while recording the power.",
        )
    starts_s, joules = _stretches(trace, length_s)
    start_s = float(starts_s[int(np.argmax(joules))])
    return start_s + _EDGE_S, start_s + length_s - _EDGE_S


def _rest_w(trace: PowerTrace, load_w: float) -> float | None:
    """Watts of the lowest second of a trace, if that can be the device at rest."""
    if trace.duration_s < _REST_S:
        return None
    lowest_w = float(_stretches(trace, _REST_S)[1].min()) / _REST_S
    return lowest_w if lowest_w < _REST_SHARE * load_w else None


def _stretches(trace: PowerTrace, length_s: float) -> tuple[Array, Array]:
    """When each stretch of a length begins that begins with a sample, and its joules."""
    starts_s = trace.t_s[trace.t_s <= trace.t_s[0] + (trace.duration_s - length_s)]
    edges_j = joules_until(trace.t_s, trace.power_w, np.concatenate((starts_s, starts_s + length_s)))
    return starts_s, edges_j[len(starts_s) :] - edges_j[: len(starts_s)]


def _times(power_w: Estimate, latency: Estimate, frame_s: float) -> Estimate:
    """Watts times the seconds of a frame. Both intervals add up: nothing says that they are independent."""
    value = power_w.value * frame_s
    if power_w.low is None or latency.low is None:
        return Estimate(value, None, None, min(power_w.n, latency.n))
    share = (power_w.value - power_w.low) / power_w.value + (latency.value - latency.low) / latency.value
    return Estimate(value, value * (1.0 - share), value * (1.0 + share), min(power_w.n, latency.n))


def _assumption(report: TraceReport, given: bool, rest_w: float | None) -> Quality:
    which = "which you named" if given else "the busiest stretch as long as the run"
    rest = "" if rest_w is None else f"; the lowest second, {rest_w:.4g} W, is taken for the device at rest"
    return Quality(
        "energy-from-trace",
        "warning",
        f"Energy is the mean power of {report.file} from {report.from_s:.6g} to {report.to_s:.6g} s ({which}) times the"
        f" seconds of a frame: trace and run share no clock{rest}.",
        "Believe it only if this trace was recorded during this run; name its steady part with --from and --to.",
    )


def _of_beat(report: TraceReport, query_s: float) -> Iterator[Quality]:
    """A run in step with the sensor has a level, and not its own."""
    if report.update_period_s is None:
        return
    error = beat_error(query_s, report.update_period_s, report.duration_s)
    if error > TOLERATED:
        yield Quality(
            "aliased",
            "warning",
            f"A query every {query_s * 1e3:.4g} ms is nearly in step with the sensor's update of"
            f" {report.update_period_s * 1e3:.4g} ms: its mean power may be {error:.0%} off.",
            "Run trtexec for longer while recording, or with another batch.",
        )
