"""The one loop: warm up until steady, then windows, then the per-layer pass."""

import math
from dataclasses import dataclass
from statistics import median

from perframe.engines.base import Engine, LayerTiming
from perframe.profiler.energy import Meter
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import WarmUp, Window
from perframe.profiler.stats import quantile
from perframe.progress import Progress

# Warm-up has ended when the median latency of one stretch is this close to that of the stretch before it.
_STEADY_WITHIN = 0.02
_STRETCH_S = 0.2
_STRETCH_ITERATIONS = 3
_LAYER_ITERATIONS = (5, 100)


@dataclass(frozen=True)
class Measured:
    """The raw observations of one batch size.

    Attributes:
        warm_up: How the warm-up went.
        windows: The measured windows, in order.
        latencies_s: Seconds of every inference in the windows, in order.
        idle_w: Watts at rest, before and after; `None` without a sensor that sees the device at rest.
        layers: The profiling pass; empty where none was asked for.
    """

    warm_up: WarmUp
    windows: tuple[Window, ...]
    latencies_s: tuple[float, ...]
    idle_w: tuple[float, float] | None
    layers: tuple[LayerTiming, ...]


def measure(
    engine: Engine, meter: Meter, plan: MeasurementPlan, batch: int, *, idle: bool, progress: Progress
) -> Measured:
    """Measure the inputs bound to `engine`.

    Args:
        engine: An open engine with inputs of `batch` frames bound.
        meter: Measures joules.
        plan: How long to measure.
        batch: Frames per inference.
        idle: Whether to measure the device at rest too.
        progress: Told what is going on.
    """
    before_w = _idle_w(engine, meter, plan) if idle else None
    warm_up = _warm_up(engine, plan, progress)
    windows: list[Window] = []
    latencies: list[float] = []
    origin_s = engine.clock.now_s()
    for index in range(plan.windows):
        progress("measuring", index / plan.windows)
        window, inside = _window(engine, meter, plan, batch, origin_s)
        windows.append(window)
        latencies += inside
    after_w = _idle_w(engine, meter, plan) if idle else None
    layers: tuple[LayerTiming, ...] = ()
    if plan.layer_s > 0:
        progress("timing layers", 0.0)
        least, most = _LAYER_ITERATIONS
        wanted = math.ceil(plan.layer_s / median(latencies))
        layers = tuple(engine.layer_timings(min(max(wanted, least), most)))
    return Measured(
        warm_up=warm_up,
        windows=tuple(windows),
        latencies_s=tuple(latencies),
        idle_w=None if before_w is None or after_w is None else (before_w, after_w),
        layers=layers,
    )


def _idle_w(engine: Engine, meter: Meter, plan: MeasurementPlan) -> float | None:
    start_s = engine.clock.now_s()
    meter.start()
    engine.clock.sleep(plan.idle_s)
    energy_j = meter.stop()
    return None if energy_j is None else energy_j / (engine.clock.now_s() - start_s)


def _timed(engine: Engine) -> float:
    start_s = engine.clock.now_s()
    engine.run(1)
    return engine.clock.now_s() - start_s


def _warm_up(engine: Engine, plan: MeasurementPlan, progress: Progress) -> WarmUp:
    start_s = engine.clock.now_s()
    iterations = 0
    before: float | None = None
    steady = False
    while not steady:
        stretch: list[float] = []
        while len(stretch) < _STRETCH_ITERATIONS or sum(stretch) < _STRETCH_S:
            stretch.append(_timed(engine))
        iterations += len(stretch)
        now = median(stretch)
        steady = before is not None and abs(now / before - 1.0) <= _STEADY_WITHIN
        before = now
        elapsed_s = engine.clock.now_s() - start_s
        progress("warming up", min(elapsed_s / plan.warm_up_s, 1.0) if plan.warm_up_s else 1.0)
        if elapsed_s >= plan.warm_up_s:
            break
    return WarmUp(duration_s=engine.clock.now_s() - start_s, iterations=iterations, steady=steady)


def _window(
    engine: Engine, meter: Meter, plan: MeasurementPlan, batch: int, origin_s: float
) -> tuple[Window, list[float]]:
    clock = engine.clock
    latencies: list[float] = []
    meter.start()
    start_s = clock.now_s()
    cpu_start_s = clock.cpu_s()
    previous_s = start_s
    while len(latencies) < plan.window_iterations or previous_s - start_s < plan.window_s:
        engine.run(1)
        now_s = clock.now_s()
        latencies.append(now_s - previous_s)
        previous_s = now_s
    cpu_s = clock.cpu_s() - cpu_start_s
    energy_j = meter.stop()
    window = Window(
        start_s=start_s - origin_s,
        duration_s=previous_s - start_s,
        frames=len(latencies) * batch,
        energy_j=energy_j,
        cpu_s=cpu_s,
        p50_s=quantile(latencies, 0.5),
        p90_s=quantile(latencies, 0.9),
        p99_s=quantile(latencies, 0.99),
    )
    return window, latencies
