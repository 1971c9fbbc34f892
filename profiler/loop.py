"""The one loop: at rest, warm up until steady, windows, at rest again, then the passes that stand apart."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from perframe.engines.base import Engine, LayerTiming
from perframe.engines.clock import SystemClock
from perframe.engines.device_engine import DeviceEngine, DeviceTiming
from perframe.errors import MeasurementError
from perframe.profiler.characterise import Response
from perframe.profiler.energy import Meter
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import Spent, WarmUp
from perframe.profiler.sensors.base import PowerSample
from perframe.profiler.warm_up import Rest, at_rest, rest_bounds_s, rest_s, warm_up, warm_up_bounds_s
from perframe.profiler.window import Observed, layer_iterations, run_window
from perframe.progress import Progress

# As slow as the sensors of most cards, for one whose reading stood too still to say.
_UNKNOWN_PERIOD_S = 0.1
# Where the sensor sets no length: long enough for a scheduler's hiccup to weigh little.
_WINDOW_S = 0.5
# However little may be missed, a mean of fewer readings says little.
_WINDOW_UPDATES = 10


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
        device: Inferences timed by the device's own events, where it has some.
        failure: What ended the measurement early; what was observed until then is all there is.
        spent: How long it took; `None` on a virtual clock, or where several measurements took turns.
        readings: Of the sensor, from the first rest to the last; empty for a counter.
        origin_s: The moment that windows' starts are counted from, on the clock of `rest` and `readings`.
    """

    warm_up: WarmUp
    saturated: tuple[Observed, ...]
    paced: tuple[Observed, ...]
    missed: float
    rest: tuple[Rest, Rest] | None
    update_period_s: float | None
    response: Response
    layers: tuple[LayerTiming, ...]
    device: tuple[DeviceTiming, ...] = ()
    failure: MeasurementError | None = None
    spent: Spent | None = None
    readings: tuple[PowerSample, ...] = ()
    origin_s: float = 0.0


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
    clock = engine.clock
    before: Rest | None = None
    after: Rest | None = None
    paced: tuple[Observed, ...] = ()
    with meter.record() as readings:
        begun_s = clock.now_s()
        if idle:
            before = at_rest(clock, meter, plan, progress)
        resting_s = clock.now_s() - begun_s
        warmed, active_w = warm_up(engine, meter, plan, progress)
        period_s = meter.update_period_s() or (
            response.update_period_s or _UNKNOWN_PERIOD_S if meter.polls else None
        )
        window_s = window_length_s(
            plan, period_s, response.trailing_s, before.power_w if before else None, active_w
        )
        scheduled(_schedule(plan, batch, window_s, period_s, 2.0 * rest_s(meter, plan) if idle else 0.0))
        pacer = _Pacer(engine, meter, plan, batch, window_s)
        saturated = pacer.windows(None, f"measuring, {plan.windows} x {window_s:.1f} s", progress)
        if len(saturated) < 2 and pacer.failure is not None:
            # Two windows are the least that says anything; with fewer there is nothing to keep.
            raise pacer.failure
        if plan.fps is not None and pacer.failure is None:
            paced = pacer.windows(1.0 / plan.fps, f"measuring at {plan.fps:g} inferences/s", progress)
        failure = pacer.failure
        begun_s = clock.now_s()
        if idle and failure is None:
            try:
                after = at_rest(clock, meter, plan, progress)
            except MeasurementError as error:
                failure = error
        resting_s += clock.now_s() - begun_s
    begun_s = clock.now_s()
    device: tuple[DeviceTiming, ...] = ()
    layers: tuple[LayerTiming, ...] = ()
    iterations = layer_iterations(plan, saturated[-1].latencies_s)
    if isinstance(engine, DeviceEngine) and failure is None:
        progress("timing on the device", 0.0)
        device = tuple(engine.run_timed(iterations))
    if plan.layer_s > 0 and failure is None:
        progress("timing layers", 0.0)
        layers = tuple(engine.layer_timings(iterations))
    spent = Spent(
        rest_s=resting_s,
        warm_up_s=warmed.duration_s,
        windows_s=math.fsum(each.window.duration_s for each in (*saturated, *paced)),
        layers_s=clock.now_s() - begun_s,
    )
    return Measured(
        warm_up=warmed,
        saturated=saturated,
        # A mean needs two windows here as well.
        paced=paced if len(paced) > 1 else (),
        missed=sum(each.missed for each in paced) / max(sum(len(each.latencies_s) for each in paced), 1),
        rest=None if before is None or after is None else (before, after),
        update_period_s=meter.update_period_s(),
        response=response,
        layers=layers,
        device=device,
        failure=failure,
        spent=spent if isinstance(clock, SystemClock) else None,
        readings=tuple(readings),
        origin_s=pacer.origin_s,
    )


def bounds_s(plan: MeasurementPlan, *, idle: bool) -> tuple[float, float]:
    """Return how many seconds a batch size takes at least, and how many with the longest warm-up, rest and passes.

    A network or a sensor that needs longer windows than the plan's takes longer than either. `idle` is as in `measure`.
    """
    window_s = plan.window_s or _WINDOW_S
    paced_s = 0.0 if plan.fps is None else max(window_s, plan.window_iterations / plan.fps)
    windows_s = plan.windows * (window_s + paced_s)
    shortest_s, longest_s = warm_up_bounds_s(plan)
    least_rest_s, most_rest_s = rest_bounds_s(plan) if idle else (0.0, 0.0)
    return (
        windows_s + shortest_s + 2.0 * least_rest_s,
        windows_s + longest_s + 2.0 * most_rest_s + plan.layer_s,
    )


def _schedule(
    plan: MeasurementPlan, batch: int, window_s: float, period_s: float | None, after_s: float
) -> Schedule:
    """What is left of a batch size once its windows' length is known."""
    pause_s = (period_s or 0.0) / 2.0
    paced_s = 0.0 if plan.fps is None else max(window_s, plan.window_iterations / plan.fps) + pause_s
    left_s = plan.windows * (window_s + pause_s + paced_s) + after_s + plan.layer_s
    return Schedule(batch, plan.windows, window_s, left_s, period_s)


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


class PhaseShift:
    """When windows begin, so that between them they see every moment of the sensor's cycle.

    Each is placed against the one before: over the short time between two windows an update period that is known to
    some tenths of a per cent is enough, and since the machine was started no period is known well enough.

    Args:
        windows: How many.
        seed: Of their order.
    """

    def __init__(self, windows: int, seed: int) -> None:
        self._phases = iter(window_phases(windows, seed))
        self._previous: tuple[float, float] | None = None

    def pause_s(self, now_s: float, update_period_s: float | None) -> float:
        """Return how long to wait before the next window begins."""
        phase = next(self._phases)
        pause_s = 0.0
        if self._previous is not None and update_period_s:
            begun_s, before = self._previous
            pause_s = ((phase - before) * update_period_s - (now_s - begun_s)) % update_period_s
        self._previous = now_s + pause_s, phase
        return pause_s


class _Pacer:
    """Runs windows: back to back, or one inference per tick."""

    def __init__(
        self, engine: Engine, meter: Meter, plan: MeasurementPlan, batch: int, window_s: float
    ) -> None:
        self._engine, self._meter, self._plan, self._batch = engine, meter, plan, batch
        self._window_s = window_s
        self.origin_s = engine.clock.now_s()
        self.failure: MeasurementError | None = None

    def windows(self, tick_s: float | None, what: str, progress: Progress) -> tuple[Observed, ...]:
        """Measure windows until there are enough or the sensor fails, which is kept as `failure`."""
        observed = []
        clock, shift = self._engine.clock, PhaseShift(self._plan.windows, self._plan.seed)
        try:
            for index in range(self._plan.windows):
                progress(what, index / self._plan.windows)
                clock.sleep(shift.pause_s(clock.now_s(), self._meter.update_period_s()))
                found = run_window(
                    self._engine,
                    self._meter,
                    self._plan,
                    self._batch,
                    window_s=self._window_s,
                    origin_s=self.origin_s,
                    tick_s=tick_s,
                )
                observed.append(found)
        except MeasurementError as error:
            self.failure = error
        return tuple(observed)
