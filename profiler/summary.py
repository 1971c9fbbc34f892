"""Raw observations -> the figures of one batch size. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from perframe.engines.base import EngineLayer, LayerTiming
from perframe.profiler.checks import quality_of
from perframe.profiler.loop import Measured
from perframe.profiler.result import BatchResult, Energy, Latency, LayerResult, Window
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.stats import Estimate, mean_interval, quantile


def summarise(
    measured: Measured,
    *,
    batch: int,
    inputs_sha256: str,
    sensor: Sensor | None,
    layers: Sequence[EngineLayer],
) -> BatchResult:
    """Compute the result of one batch size from what was observed.

    Args:
        measured: The raw observations.
        batch: Frames per inference.
        inputs_sha256: Of the inputs that were bound.
        sensor: What the windows' joules came from; `None` without one.
        layers: The engine's steps.
    """
    latency = _latency(measured, batch)
    energy = _energy(measured, sensor)
    rows = layer_results(measured.layers, layers, _attributable_j(energy))
    total_s = math.fsum(row.latency_s for row in rows) if rows else None
    return BatchResult(
        batch=batch,
        inputs_sha256=inputs_sha256,
        warm_up=measured.warm_up,
        latency=latency,
        energy=energy,
        layers=rows,
        layers_sum_s=total_s,
        layers_gap_s=None if total_s is None else latency.p50_s - total_s,
        attributed_share=math.fsum(row.share for row in rows if row.module is not None) if rows else None,
        quality=quality_of(measured.warm_up, latency, energy, rows),
    )


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
        activations = _sum(layer.input_activations, layer.output_activations)
        touched = _sum(activations, layer.params)
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
                macs=_sum(*(row.macs for row in rows)),
                intensity=main.intensity,
                groups=main.groups,
                group_size=main.group_size,
                energy_j=math.fsum(energies) if energies else None,
            )
        )
    return tuple(totals)


def _latency(measured: Measured, batch: int) -> Latency:
    seconds = measured.latencies_s
    per_window = [window.duration_s * batch / window.frames for window in measured.windows]
    return Latency(
        p50_s=quantile(seconds, 0.5),
        p90_s=quantile(seconds, 0.9),
        p99_s=quantile(seconds, 0.99),
        mean=mean_interval(per_window),
        frames_per_s=sum(w.frames for w in measured.windows)
        / math.fsum(w.duration_s for w in measured.windows),
        samples=len(seconds),
    )


def _energy(measured: Measured, sensor: Sensor | None) -> Energy:
    windows = measured.windows
    seen = [(window, window.energy_j) for window in windows if window.energy_j is not None]
    # A mean over the windows a sensor happened to see would be a mean over a choice of windows.
    whole = sensor is not None and len(seen) == len(windows)
    idle_w = sum(measured.idle_w) / 2.0 if whole and measured.idle_w is not None else None
    return Energy(
        kind=sensor.kind if sensor is not None and whole else "absent",
        sensor=sensor.name if sensor else None,
        domain=sensor.domain if sensor else None,
        epf_j=mean_interval([energy_j / w.frames for w, energy_j in seen]) if whole else None,
        epf_above_idle_j=_above_idle(seen, idle_w) if idle_w is not None else None,
        power_w=mean_interval([energy_j / w.duration_s for w, energy_j in seen]) if whole else None,
        idle_w=idle_w,
        absolute_uncertainty=None,
        details=dict(sensor.details) if sensor else {},
        windows=windows,
    )


def _above_idle(seen: Sequence[tuple[Window, float]], idle_w: float) -> Estimate:
    return mean_interval([(energy_j - idle_w * w.duration_s) / w.frames for w, energy_j in seen])


def _attributable_j(energy: Energy) -> float | None:
    """What the layers share: the energy above idle, or all of it where the sensor knows no idle."""
    estimate = energy.epf_above_idle_j or energy.epf_j
    return estimate.value if estimate else None


def _sum(*values: int | None) -> int | None:
    return None if any(value is None for value in values) else sum(value or 0 for value in values)
