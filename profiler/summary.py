"""Raw observations -> the figures of one batch size. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from perframe.engines.base import EngineLayer, LayerTiming
from perframe.engines.device_engine import Execution
from perframe.engines.tensorrt_tactics import uses_tensor_cores
from perframe.export.cost import sum_or_none
from perframe.profiler.calibration import holds
from perframe.profiler.checks import ended_early, layers_missing, quality_of
from perframe.profiler.closure import attributed_closure
from perframe.profiler.device_times import device_time
from perframe.profiler.energy import Stretch
from perframe.profiler.loop import Measured
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.power_trace import power_trace
from perframe.profiler.result import (
    BatchResult,
    CalibrationUse,
    DeviceState,
    Energy,
    Latency,
    LayerResult,
    Paced,
    Window,
)
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.sensors.calibrated import Calibrated
from perframe.profiler.stats import Estimate, mean_interval, quantile
from perframe.profiler.warm_up import Rest
from perframe.profiler.window import Observed


def summarise(
    measured: Measured,
    *,
    plan: MeasurementPlan,
    batch: int,
    inputs_sha256: str,
    sensor: Sensor | None,
    layers: Sequence[EngineLayer],
    execution: Execution | None = None,
) -> BatchResult:
    """Compute the result of one batch size from what was observed.

    Args:
        measured: The raw observations.
        plan: What was asked for.
        batch: Frames per inference.
        inputs_sha256: Of the inputs that were bound.
        sensor: What the windows' joules came from; `None` without one.
        layers: The engine's steps.
        execution: How the engine runs on its device, where it tells.
    """
    latency = _latency(measured.saturated, batch)
    energy = _energy(measured, sensor)
    rows = layer_results(measured.layers, layers, attributable_j(energy))
    total_s = math.fsum(row.latency_s for row in rows) if rows else None
    state = device_state(
        [each.stretch for each in measured.saturated],
        paced=[each.stretch for each in measured.paced],
        rest=[each.stretch for each in measured.rest or ()],
    )
    result = BatchResult(
        batch=batch,
        inputs_sha256=inputs_sha256,
        warm_up=measured.warm_up,
        latency=latency,
        energy=energy,
        paced=None
        if plan.fps is None or not measured.paced
        else _paced(measured, sensor, energy, plan.fps, batch),
        device_state=state,
        layers=rows,
        layers_sum_s=total_s,
        layers_gap_s=None if total_s is None else latency.p50_s - total_s,
        attributed_share=math.fsum(row.share for row in rows if row.module is not None) if rows else None,
        quality=(),
        device_time=device_time(measured.device, execution) if measured.device and execution else None,
        spent=measured.spent,
    )
    if rows and attributable_j(energy) is not None:
        result = replace(result, closures=(attributed_closure(result),))
    quality = quality_of(result, allow_others=plan.allow_other_processes)
    if plan.layer_s > 0 and not rows and measured.failure is None:
        quality = (*quality, layers_missing())
    if measured.failure is not None:
        quality = (ended_early(measured.failure, len(measured.saturated)), *quality)
    return replace(result, quality=quality)


def device_state(
    saturated: Sequence[Stretch], *, paced: Sequence[Stretch] = (), rest: Sequence[Stretch] = ()
) -> DeviceState | None:
    """Sum up what the device went through; `None` where its sensor does not tell.

    Args:
        saturated: The windows of back-to-back inferences.
        paced: The windows at a camera's pace.
        rest: The device at rest, where nothing but others' work matters.
    """
    edges = [
        (s.before, s.after) for s in (*saturated, *paced) if s.before is not None and s.after is not None
    ]
    busy = [s.after.busy_share for s in saturated if s.after is not None and s.after.busy_share is not None]
    if not edges:
        return None
    seen = [look for stretch in (*saturated, *paced) for look in stretch.conditions()]
    elapsed_s = math.fsum(after.t_s - before.t_s for before, after in edges)
    reasons = sorted(
        {reason for before, after in edges for reason in before.limited_s.keys() & after.limited_s.keys()}
    )
    limited_s = {
        r: math.fsum(a.limited_s[r] - b.limited_s[r] for b, a in edges if r in b.limited_s) for r in reasons
    }
    # Between the frames of a camera the clock comes down as it should.
    clocks = [s.after.clock_hz for s in saturated if s.after is not None and s.after.clock_hz is not None]
    return DeviceState(
        temperature_start_c=seen[0].temperature_c,
        temperature_end_c=seen[-1].temperature_c,
        clock_low_hz=min(clocks, default=None),
        clock_high_hz=max(clocks, default=None),
        busy_share=math.fsum(busy) / len(busy) if busy else None,
        limited_share={reason: seconds / elapsed_s for reason, seconds in limited_s.items()}
        if elapsed_s > 0
        else {},
        limits=_all_of(look.limits for look in seen),
        other_processes=_all_of(
            look.other_processes
            for look in (*seen, *(look for stretch in rest for look in stretch.conditions()))
        ),
    )


def _all_of(told: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """Everything that was named at least once; None where nobody ever told."""
    known = [names for names in told if names is not None]
    return tuple(sorted({name for names in known for name in names})) if known else None


def layer_results(
    timings: Sequence[LayerTiming], layers: Sequence[EngineLayer], epf_j: float | None
) -> tuple[LayerResult, ...]:
    """Join the profiling pass with what each step computes, in the engine's order.

    Args:
        timings: Per step, as measured; a step the engine's description lacks is kept, without a module.
        layers: The engine's description.
        epf_j: Joules per frame to apportion by time.
    """
    described = {layer.name: layer for layer in layers}
    order = {layer.name: i for i, layer in enumerate(layers)}
    medians = {timing.name: median(timing.latencies_s) for timing in timings if timing.latencies_s}
    total_s = math.fsum(medians.values())
    rows = []
    for name in sorted(medians, key=lambda each: order.get(each, len(order))):
        layer = described.get(name) or EngineLayer(
            name, "", None, (), False, None, None, None, None, None, None
        )
        share = medians[name] / total_s if total_s > 0 else 0.0
        activations = sum_or_none((layer.input_activations, layer.output_activations))
        touched = sum_or_none((activations, layer.params))
        rows.append(
            LayerResult(
                name=name,
                module=layer.module,
                op=layer.op,
                onnx_nodes=layer.onnx_nodes,
                overhead=layer.overhead,
                latency_s=medians[name],
                share=share,
                macs=layer.macs,
                params=layer.params,
                activations=activations,
                intensity=layer.macs / touched if layer.macs and touched else None,
                groups=layer.groups,
                group_size=layer.group_size,
                kernel=layer.kernel,
                format=layer.format,
                energy_j=None if epf_j is None else share * epf_j,
                energy_method=None if epf_j is None else "attributed",
            )
        )
    return tuple(rows)


@dataclass(frozen=True)
class ModuleTotal:
    """All steps of one source module together.

    Attributes:
        module: Its path; `None` collects what could not be led back.
        latency_s: Seconds per inference, overhead included.
        overhead_s: Of these, work the runtime added.
        share: Of all steps.
        macs: Multiply-accumulates per frame.
        intensity: Of the step with the most MACs.
        groups: Of the same step.
        group_size: Of the same step.
        energy_j: Joules per frame.
        tensor_cores: Whether that step's kernel is one for tensor cores, as far as its name tells.
    """

    module: str | None
    latency_s: float
    overhead_s: float
    share: float
    macs: int | None
    intensity: float | None
    groups: int | None
    group_size: int | None
    energy_j: float | None
    tensor_cores: bool | None


def by_module(layers: Sequence[LayerResult]) -> tuple[ModuleTotal, ...]:
    """Add up the steps of every source module, in the order of execution."""
    grouped: dict[str | None, list[LayerResult]] = {}
    for layer in layers:
        grouped.setdefault(layer.module, []).append(layer)
    totals = []
    for module, rows in grouped.items():
        main = max(rows, key=lambda row: row.macs or 0)
        energies = [row.energy_j for row in rows if row.energy_j is not None]
        totals.append(
            ModuleTotal(
                module=module,
                latency_s=math.fsum(row.latency_s for row in rows),
                overhead_s=math.fsum(row.latency_s for row in rows if row.overhead),
                share=math.fsum(row.share for row in rows),
                macs=sum_or_none(row.macs for row in rows),
                intensity=main.intensity,
                groups=main.groups,
                group_size=main.group_size,
                # A part of a module's energy would pass for all of it.
                energy_j=math.fsum(energies) if energies and len(energies) == len(rows) else None,
                tensor_cores=uses_tensor_cores(main.kernel),
            )
        )
    return tuple(totals)


def _latency(observed: Sequence[Observed], batch: int) -> Latency:
    seconds = [latency for each in observed for latency in each.latencies_s]
    windows = [each.window for each in observed]
    return Latency(
        p50_s=quantile(seconds, 0.5),
        p90_s=quantile(seconds, 0.9),
        p99_s=quantile(seconds, 0.99),
        mean=mean_interval([window.duration_s * batch / window.frames for window in windows]),
        frames_per_s=sum(w.frames for w in windows) / math.fsum(w.duration_s for w in windows),
        samples=len(seconds),
    )


def _energy(measured: Measured, sensor: Sensor | None) -> Energy:
    windows = tuple(each.window for each in measured.saturated)
    epf_j, power_w = _epf_and_power(windows)
    rest = measured.rest if epf_j else None
    idle_w = (rest[0].power_w + rest[1].power_w) / 2.0 if rest else None
    edge_error = _edge_error(measured, windows, power_w, idle_w)
    calibration = _calibration(sensor)
    counted = [window.counter_j / window.frames for window in windows if window.counter_j is not None]
    return Energy(
        kind=sensor.kind if sensor is not None and epf_j else "absent",
        sensor=sensor.name if sensor else None,
        domain=sensor.domain if sensor else None,
        epf_j=epf_j,
        epf_above_idle_j=_above_idle(windows, rest[0].power_w, rest[1].power_w) if rest else None,
        power_w=power_w,
        idle_w=idle_w,
        idle_before_w=rest[0].power_w if rest else None,
        idle_after_w=rest[1].power_w if rest else None,
        idle_settled=rest[0].settled and rest[1].settled if rest else None,
        relative_uncertainty=relative_uncertainty(
            epf_j, edge_error, polled=any(w.readings is not None for w in windows)
        ),
        absolute_uncertainty=_absolute(sensor, calibration, windows) if epf_j else None,
        counter_epf_j=math.fsum(counted) / len(counted) if counted and len(counted) == len(windows) else None,
        update_period_s=measured.update_period_s,
        averaging_window_s=measured.response.averaging_window_s,
        edge_error=edge_error,
        calibration=calibration,
        details=dict(sensor.details) if sensor else {},
        windows=windows,
        trace=power_trace(measured.readings, measured.origin_s) if epf_j else None,
        idle_spans_s=tuple(_span_s(each, measured.origin_s) for each in rest or ()),
    )


def _span_s(rest: Rest, origin_s: float) -> tuple[float, float]:
    start_s = rest.start_s - origin_s
    return start_s, start_s + rest.stretch.duration_s


def _edge_error(
    measured: Measured, windows: Sequence[Window], power_w: Estimate | None, idle_w: float | None
) -> float | None:
    """What may be missed at the windows' ends, see `perframe.profiler.loop.window_length_s`."""
    if power_w is None or measured.update_period_s is None:
        return None
    share = 1.0 - min(idle_w / power_w.value, 1.0) if idle_w is not None and power_w.value > 0 else 1.0
    lag_s = measured.update_period_s + measured.response.trailing_s
    return lag_s * share / min(window.duration_s for window in windows)


def _calibration(sensor: Sensor | None) -> CalibrationUse | None:
    return sensor.use() if isinstance(sensor, Calibrated) else None


def _absolute(
    sensor: Sensor | None, calibration: CalibrationUse | None, windows: Sequence[Window]
) -> float | None:
    """A calibration's uncertainty holds where it was made; beyond that the sensor is as good as without it."""
    if sensor is None:
        return None
    powers_w = [w.energy_j / w.duration_s for w in windows if w.energy_j is not None]
    accuracy = sensor.accuracy
    if isinstance(sensor, Calibrated) and calibration is not None:
        fits = holds(calibration, min(powers_w), max(powers_w))
        accuracy = sensor.accuracy if fits else sensor.uncorrected_accuracy
    return None if accuracy is None else accuracy.at(fmean(powers_w))


def _epf_and_power(windows: Sequence[Window]) -> tuple[Estimate | None, Estimate | None]:
    seen = [(window, window.energy_j) for window in windows if window.energy_j is not None]
    # A mean over the windows a sensor happened to see would be a mean over a choice of windows.
    if not seen or len(seen) < len(windows):
        return None, None
    return (
        mean_interval([energy_j / w.frames for w, energy_j in seen]),
        mean_interval([energy_j / w.duration_s for w, energy_j in seen]),
    )


def _above_idle(windows: Sequence[Window], before_w: float, after_w: float) -> Estimate:
    """What is left above idle power, which is known no better than to lie between before and after."""
    idle_w = (before_w + after_w) / 2.0
    above = mean_interval([((w.energy_j or 0.0) - idle_w * w.duration_s) / w.frames for w in windows])
    if above.low is None or above.high is None:
        return above
    seconds_per_frame = math.fsum(w.duration_s for w in windows) / sum(w.frames for w in windows)
    unknown_j = abs(after_w - before_w) / 2.0 * seconds_per_frame
    return replace(above, low=above.low - unknown_j, high=above.high + unknown_j)


def relative_uncertainty(epf_j: Estimate | None, edge_error: float | None, *, polled: bool) -> float | None:
    """Return how far an energy per frame may be off others of this device and sensor; `None` if that is not known.

    Args:
        epf_j: It, with its interval.
        edge_error: What may be missed at the windows' ends.
        polled: Whether it comes from power readings.
    """
    # What a polled sensor of unknown period may have missed is unknown, not nothing.
    if polled and edge_error is None:
        return None
    if epf_j is None or epf_j.low is None or epf_j.high is None or epf_j.value <= 0:
        return None
    return (epf_j.high - epf_j.low) / 2.0 / epf_j.value + (edge_error or 0.0)


def _paced(measured: Measured, sensor: Sensor | None, energy: Energy, fps: float, batch: int) -> Paced:
    windows = tuple(each.window for each in measured.paced)
    seconds = [latency for each in measured.paced for latency in each.latencies_s]
    epf_j, power_w = _epf_and_power(windows)
    closed_form_j = None
    # Where a frame takes longer than a tick there is no gap to account for.
    keeps_pace = sum(seconds) / len(seconds) <= 1.0 / fps
    if keeps_pace and energy.epf_above_idle_j is not None and energy.idle_w is not None:
        closed_form_j = energy.epf_above_idle_j.value + energy.idle_w / fps / batch
    edge_error = _edge_error(measured, windows, power_w, energy.idle_w)
    return Paced(
        fps=fps,
        epf_j=epf_j,
        power_w=power_w,
        relative_uncertainty=relative_uncertainty(
            epf_j, edge_error, polled=any(w.readings is not None for w in windows)
        ),
        absolute_uncertainty=_absolute(sensor, energy.calibration, windows) if epf_j else None,
        edge_error=edge_error,
        closed_form_epf_j=closed_form_j,
        missed_share=measured.missed,
        p50_s=quantile(seconds, 0.5),
        p99_s=quantile(seconds, 0.99),
        windows=windows,
    )


def attributable_j(energy: Energy) -> float | None:
    """What the layers share: the energy above idle, or all of it where the sensor knows no idle."""
    estimate = energy.epf_above_idle_j or energy.epf_j
    return estimate.value if estimate else None
