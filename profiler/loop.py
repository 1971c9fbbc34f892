"""The one loop: at rest, warm up until steady, windows, at rest again, then the passes that stand apart."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from perframe.engines.base import Engine, LayerTiming
from perframe.errors import MeasurementError
from perframe.profiler.characterise import Response
from perframe.profiler.energy import Meter, Stretch
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import WarmUp, Window
from perframe.profiler.stats import quantile
from perframe.profiler.steadiness import is_stationary
from perframe.progress import Progress

# Warm-up has ended when latency and power of one stretch are this close to those of the stretch before it.
_STEADY_WITHIN = 0.02
_STRETCH_S = 0.2
_STRETCH_ITERATIONS = 3
_TREND_ITERATIONS = 100
_STRETCH_UPDATES = 10
_IDLE_UPDATES = 20
_IDLE_STRETCHES = 8
# As slow as the sensors of most cards, for one whose reading stood too still to say.
_UNKNOWN_PERIOD_S = 0.1
# Where the sensor sets no length: long enough for a scheduler's hiccup to weigh little.
_WINDOW_S = 0.5
# However little may be missed, a mean of fewer readings says little.
_WINDOW_UPDATES = 10
_LAYER_ITERATIONS = (5, 100)


@dataclass(frozen=True)
class Observed:
    """One measured stretch: the window, every latency in it, and what the sensor saw."""

    window: Window
    latencies_s: tuple[float, ...]
    stretch: Stretch


@dataclass(frozen=True)
class Rest:
    """The device with nothing to do.

    Attributes:
        power_w: Mean of the last stretch.
        settled: Whether that stretch was like the one before it.
        stretch: What was seen of the device in it.
    """

    power_w: float
    settled: bool
    stretch: Stretch


@dataclass(frozen=True)
class Schedule:
    """How the windows of one batch size will be, known once the device is warm.

    Attributes:
        batch: Frames per inference.
        windows: How many, back to back, and as many at a camera's pace where one is asked for.
        window_s: Least seconds of each.
        remaining_s: About how long it takes from now until this batch size is done.
        update_period_s: Of the sensor, which the length follows from; `None` without power readings.
    """

    batch: int
    windows: int
    window_s: float
    remaining_s: float
    update_period_s: float | None


@dataclass(frozen=True)
class Measured:
    """The raw observations of one batch size.

    Attributes:
        warm_up: How the warm-up went.
        saturated: Windows of back-to-back inferences, in order.
        paced: Windows at a camera's pace; empty where none was asked for.
        missed: Of the paced inferences, the share that began late because the one before was not done.
        rest: Before and after; `None` without a sensor that sees the device at rest.
        update_period_s: Of the sensor's reading, as far as it is known.
        response: Of the sensor.
        layers: The profiling pass; empty where none was asked for.
        failure: What ended the windows early; what was observed until then is all there is.
    """

    warm_up: WarmUp
    saturated: tuple[Observed, ...]
    paced: tuple[Observed, ...]
    missed: float
    rest: tuple[Rest, Rest] | None
    update_period_s: float | None
    response: Response
    layers: tuple[LayerTiming, ...]
    failure: MeasurementError | None = None


def measure(
    engine: Engine,
    meter: Meter,
    plan: MeasurementPlan,
    batch: int,
    *,
    idle: bool,
    response: Response,
    scheduled: Callable[[Schedule], None],
    progress: Progress,
) -> Measured:
    """Measure the inputs bound to `engine`.

    Args:
        engine: An open engine with inputs of `batch` frames bound.
        meter: Measures joules.
        plan: How long to measure.
        batch: Frames per inference.
        idle: Whether to measure the device at rest too.
        response: Of the sensor.
        scheduled: Told how long the windows will be, before the first of them.
        progress: Told what is going on.
    """
    before = _rest(engine, meter, plan, progress) if idle else None
    warm_up, active_w = _warm_up(engine, meter, plan, progress)
    period_s = meter.update_period_s() or (_UNKNOWN_PERIOD_S if meter.polls else None)
    window_s = window_length_s(
        plan, period_s, response.trailing_s, before.power_w if before else None, active_w
    )
    windows_s = plan.windows * (window_s + (period_s or 0.0) / 2.0) * (1 if plan.fps is None else 2)
    after_s = 2.0 * _rest_s(meter, plan) if idle else 0.0
    scheduled(
        Schedule(batch, plan.windows, window_s, windows_s + after_s + plan.layer_s, meter.update_period_s())
    )
    pacer = _Pacer(engine, meter, plan, batch, window_s)
    saturated = pacer.windows(None, f"measuring, {plan.windows} x {window_s:.1f} s", progress)
    if pacer.failure is not None:
        return Measured(
            warm_up, saturated, (), 0.0, None, meter.update_period_s(), response, (), pacer.failure
        )
    paced: tuple[Observed, ...] = ()
    if plan.fps is not None:
        paced = pacer.windows(1.0 / plan.fps, f"measuring at {plan.fps:g} inferences/s", progress)
    after = _rest(engine, meter, plan, progress) if idle else None
    layers: tuple[LayerTiming, ...] = ()
    if plan.layer_s > 0:
        progress("timing layers", 0.0)
        least, most = _LAYER_ITERATIONS
        wanted = math.ceil(plan.layer_s / median(saturated[-1].latencies_s))
        layers = tuple(engine.layer_timings(min(max(wanted, least), most)))
    return Measured(
        warm_up=warm_up,
        saturated=saturated,
        paced=paced,
        missed=pacer.missed / max(sum(len(each.latencies_s) for each in paced), 1),
        rest=None if before is None or after is None else (before, after),
        update_period_s=meter.update_period_s(),
        response=response,
        layers=layers,
    )


def window_length_s(
    plan: MeasurementPlan,
    update_period_s: float | None,
    trailing_s: float,
    idle_w: float | None,
    active_w: float | None,
) -> float:
    """Return how long a window must be for what is missed at its ends to stay below the plan's edge error.

    A reading lags by up to one update and by what it trails beyond that, so that so much active power is taken
    for idle power at a window's edge: error <= (period + trailing) x (1 - idle / active) / length.
    """
    if plan.window_s is not None:
        return plan.window_s
    if update_period_s is None:
        return _WINDOW_S
    share = 1.0
    if idle_w is not None and active_w is not None and active_w > 0:
        share = min(max(1.0 - idle_w / active_w, 0.0), 1.0)
    return max(
        _WINDOW_S, _WINDOW_UPDATES * update_period_s, (update_period_s + trailing_s) * share / plan.edge_error
    )


def window_phases(windows: int, seed: int) -> list[float]:
    """Return at which share of the sensor's update each window shall begin: evenly spread, in random order.

    A load in step with a sensor that looks only part of the time is seen at one moment of its cycle only. Windows
    that begin at evenly spread moments of the sensor's cycle see all of it between them (after arXiv 2312.02741,
    which shifts by one averaging window).
    """
    chance = random.Random(seed)
    phases = [(index + chance.random()) / windows for index in range(windows)]
    chance.shuffle(phases)
    return phases


def pause_s(now_s: float, update_period_s: float | None, phase: float) -> float:
    """Return how long to wait until the sensor's cycle of `update_period_s` is at `phase`."""
    if not update_period_s:
        return 0.0
    return (phase * update_period_s - now_s) % update_period_s


def _rest(engine: Engine, meter: Meter, plan: MeasurementPlan, progress: Progress) -> Rest | None:
    """Watch the device at rest until its power has settled: the reading lags, and clocks come down slowly."""
    before_w: float | None = None
    settled = False
    for attempt in range(_IDLE_STRETCHES):
        progress("at rest", attempt / _IDLE_STRETCHES)
        meter.start()
        engine.clock.sleep(_rest_s(meter, plan))
        stretch = meter.stop()
        if stretch.energy_j is None:
            return None
        now_w = stretch.energy_j / stretch.duration_s
        settled = before_w is not None and abs(now_w - before_w) <= _STEADY_WITHIN * abs(before_w)
        if settled:
            break
        before_w = now_w
    return Rest(now_w, settled, stretch)


def _rest_s(meter: Meter, plan: MeasurementPlan) -> float:
    return max(plan.idle_s, _IDLE_UPDATES * (meter.update_period_s() or 0.0))


def _warm_up(
    engine: Engine, meter: Meter, plan: MeasurementPlan, progress: Progress
) -> tuple[WarmUp, float | None]:
    clock = engine.clock
    start_s = clock.now_s()
    iterations = 0
    before: tuple[float, float | None] | None = None
    latencies_before: list[float] = []
    steady = False
    power_w: float | None = None
    while not steady:
        latencies: list[float] = []
        least_s = max(_STRETCH_S, _STRETCH_UPDATES * (meter.update_period_s() or 0.0))
        meter.start()
        stretch_s = clock.now_s()
        while len(latencies) < _STRETCH_ITERATIONS or clock.now_s() - stretch_s < least_s:
            begun_s = clock.now_s()
            engine.run(1)
            latencies.append(clock.now_s() - begun_s)
        seen = meter.stop()
        power_w = None if seen.energy_j is None else seen.energy_j / seen.duration_s
        iterations += len(latencies)
        now = (median(latencies), power_w)
        # The windows' length follows from the sensor's period, so warm-up lasts until that is known too.
        period_known = not meter.polls or meter.update_period_s() is not None
        steady = (
            period_known
            and before is not None
            and all(
                was is None or is_now is None or abs(is_now - was) <= _STEADY_WITHIN * abs(was)
                for was, is_now in zip(before, now, strict=True)
            )
            # Two stretches may be alike while both rise; few inferences are too few to say.
            and (
                len(latencies_before) + len(latencies) < _TREND_ITERATIONS
                or is_stationary([*latencies_before, *latencies], tolerance=_STEADY_WITHIN)
            )
        )
        before, latencies_before = now, latencies
        elapsed_s = clock.now_s() - start_s
        progress("warming up", min(elapsed_s / plan.warm_up_s, 1.0) if plan.warm_up_s else 1.0)
        if elapsed_s >= plan.warm_up_s:
            break
    return WarmUp(duration_s=clock.now_s() - start_s, iterations=iterations, steady=steady), power_w


class _Pacer:
    """Runs windows: back to back, or one inference per tick."""

    def __init__(
        self, engine: Engine, meter: Meter, plan: MeasurementPlan, batch: int, window_s: float
    ) -> None:
        self._engine, self._meter, self._plan, self._batch = engine, meter, plan, batch
        self._window_s = window_s
        self._origin_s = engine.clock.now_s()
        self._phases = window_phases(plan.windows, plan.seed)
        self.missed = 0
        self.failure: MeasurementError | None = None

    def windows(self, tick_s: float | None, what: str, progress: Progress) -> tuple[Observed, ...]:
        observed = []
        for index in range(self._plan.windows):
            progress(what, index / self._plan.windows)
            clock = self._engine.clock
            clock.sleep(pause_s(clock.now_s(), self._meter.update_period_s(), self._phases[index]))
            try:
                observed.append(self._window(tick_s))
            except MeasurementError as error:
                # Two windows are the least that says anything; with fewer there is nothing to keep.
                if tick_s is not None or len(observed) < 2:
                    raise
                self.failure = error
                break
        return tuple(observed)

    def _window(self, tick_s: float | None) -> Observed:
        clock = self._engine.clock
        latencies: list[float] = []
        self._meter.start()
        start_s = previous_s = clock.now_s()
        cpu_start_s = clock.cpu_s()
        while len(latencies) < self._plan.window_iterations or previous_s - start_s < self._window_s:
            if tick_s is not None:
                due_s = start_s + len(latencies) * tick_s
                if previous_s > due_s:
                    self.missed += 1
                clock.sleep(max(due_s - previous_s, 0.0))
                previous_s = clock.now_s()
            self._engine.run(1)
            now_s = clock.now_s()
            latencies.append(now_s - previous_s)
            previous_s = now_s
        if tick_s is not None:
            # The last frame's gap belongs to it, as every other frame's does.
            clock.sleep(max(start_s + len(latencies) * tick_s - previous_s, 0.0))
            previous_s = clock.now_s()
        cpu_s = clock.cpu_s() - cpu_start_s
        stretch = self._meter.stop(previous_s)
        window = Window(
            start_s=start_s - self._origin_s,
            duration_s=previous_s - start_s,
            frames=len(latencies) * self._batch,
            energy_j=stretch.energy_j,
            counter_j=stretch.counter_j,
            readings=stretch.readings,
            cpu_s=cpu_s,
            p50_s=quantile(latencies, 0.5),
            p90_s=quantile(latencies, 0.9),
            p99_s=quantile(latencies, 0.99),
        )
        return Observed(window, tuple(latencies), stretch)
