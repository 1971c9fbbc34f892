"""The device before its windows: at rest until its power has settled, then at work until nothing rises or falls."""

from collections import deque
from dataclasses import dataclass
from statistics import median

from perframe.engines.base import Engine
from perframe.engines.clock import Clock
from perframe.profiler.energy import Meter, Stretch
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import WarmUp
from perframe.profiler.steadiness import is_stationary
from perframe.progress import Progress

# What changes by less than this from stretch to stretch, and over all that are held against each other, is steady.
_STEADY_WITHIN = 0.02
_STRETCH_S = 0.2
_STRETCH_ITERATIONS = 3
_STRETCH_UPDATES = 10
# A slow rise shows over several stretches and hides between two; slow networks' stretches are long as it is.
_HELD_AGAINST_S, _MOST_HELD = 5.0, 5
_TREND_ITERATIONS = 100
_IDLE_UPDATES = 20
_IDLE_STRETCHES = 8


@dataclass(frozen=True)
class Rest:
    """The device with nothing to do.

    Attributes:
        power_w: Mean of the last stretch.
        settled: Whether that stretch was like the one before it.
        start_s: When that stretch began, on the engine's clock.
        stretch: What was seen of the device in it.
    """

    power_w: float
    settled: bool
    start_s: float
    stretch: Stretch


def at_rest(clock: Clock, meter: Meter, plan: MeasurementPlan, progress: Progress) -> Rest | None:
    """Watch the device at rest until its power has settled: the reading lags, and clocks come down slowly.

    Returns:
        None where the sensor sees nothing of it.
    """
    before_w: float | None = None
    settled = False
    for attempt in range(_IDLE_STRETCHES):
        progress("at rest", attempt / _IDLE_STRETCHES)
        meter.start()
        start_s = clock.now_s()
        clock.sleep(rest_s(meter, plan))
        stretch = meter.stop()
        if stretch.energy_j is None:
            return None
        now_w = stretch.energy_j / stretch.duration_s
        settled = before_w is not None and abs(now_w - before_w) <= _STEADY_WITHIN * abs(before_w)
        if settled:
            break
        before_w = now_w
    return Rest(now_w, settled, start_s, stretch)


def rest_s(meter: Meter, plan: MeasurementPlan) -> float:
    """Return how long one stretch at rest takes."""
    return max(plan.idle_s, _IDLE_UPDATES * (meter.update_period_s() or 0.0))


def rest_bounds_s(plan: MeasurementPlan) -> tuple[float, float]:
    """Return how long watching the device at rest takes at least and at most, unless the sensor is slow."""
    # One stretch alone does not tell whether the power has settled.
    return 2 * plan.idle_s, _IDLE_STRETCHES * plan.idle_s


def warm_up_bounds_s(plan: MeasurementPlan) -> tuple[float, float]:
    """Return how long the warm-up takes at least and at most, unless the network is slow."""
    shortest_s = max(_STRETCH_S, min(_MOST_HELD * _STRETCH_S, plan.warm_up_s))
    return shortest_s, max(shortest_s, plan.warm_up_s)


def warm_up(
    engine: Engine, meter: Meter, plan: MeasurementPlan, progress: Progress
) -> tuple[WarmUp, float | None]:
    """Run the bound inputs until latency and power keep their level, or for as long as the plan allows.

    Returns:
        How it went, and the watts of the last stretch, if the sensor saw it.
    """
    clock = engine.clock
    start_s = clock.now_s()
    iterations = 0
    stretches: deque[_AtWork] = deque(maxlen=_MOST_HELD)
    steady = False
    while not steady:
        stretches.append(_at_work(engine, meter))
        iterations += len(stretches[-1].latencies_s)
        # The windows' length follows from the sensor's period, so warm-up lasts until that is known too.
        period_known = not meter.polls or meter.update_period_s() is not None
        steady = period_known and _is_steady(stretches)
        if not period_known:
            # These were shorter than the sensor takes to show anything.
            stretches = deque([stretches[-1]], maxlen=_MOST_HELD)
        elapsed_s = clock.now_s() - start_s
        progress("warming up", min(elapsed_s / plan.warm_up_s, 1.0) if plan.warm_up_s else 1.0)
        if elapsed_s >= plan.warm_up_s:
            break
    done = WarmUp(duration_s=clock.now_s() - start_s, iterations=iterations, steady=steady)
    return done, stretches[-1].power_w


@dataclass(frozen=True)
class _AtWork:
    latencies_s: tuple[float, ...]
    power_w: float | None
    duration_s: float


def _at_work(engine: Engine, meter: Meter) -> _AtWork:
    clock = engine.clock
    latencies: list[float] = []
    least_s = max(_STRETCH_S, _STRETCH_UPDATES * (meter.update_period_s() or 0.0))
    meter.start()
    start_s = clock.now_s()
    while len(latencies) < _STRETCH_ITERATIONS or clock.now_s() - start_s < least_s:
        begun_s = clock.now_s()
        engine.run(1)
        latencies.append(clock.now_s() - begun_s)
    seen = meter.stop()
    power_w = None if seen.energy_j is None else seen.energy_j / seen.duration_s
    return _AtWork(tuple(latencies), power_w, clock.now_s() - start_s)


def _is_steady(stretches: "deque[_AtWork]") -> bool:
    held = max(2, min(_MOST_HELD, round(_HELD_AGAINST_S / stretches[-1].duration_s)))
    if len(stretches) < held:
        return False
    levels = [(median(each.latencies_s), each.power_w) for each in stretches][-held:]
    if not (_alike(levels[-2], levels[-1]) and _alike(levels[0], levels[-1])):
        return False
    # Two stretches may be alike while both rise; few inferences are too few to say.
    last = [*stretches[-2].latencies_s, *stretches[-1].latencies_s]
    return len(last) < _TREND_ITERATIONS or is_stationary(last, tolerance=_STEADY_WITHIN)


def _alike(was: tuple[float, float | None], now: tuple[float, float | None]) -> bool:
    return all(
        before is None or after is None or abs(after - before) <= _STEADY_WITHIN * abs(before)
        for before, after in zip(was, now, strict=True)
    )
