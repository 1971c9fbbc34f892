"""One window: many inferences between two looks at the sensor. This is the timed path."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from perframe.engines.base import Engine
from perframe.profiler.energy import Meter, Stretch
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import Window
from perframe.profiler.stats import quantile

_LAYER_ITERATIONS = (5, 100)


@dataclass(frozen=True)
class Observed:
    """One measured stretch: the window, every latency in it, and what the sensor saw.

    Attributes:
        window: Its figures.
        latencies_s: Of every inference.
        stretch: What the sensor saw.
        missed: At a camera's pace, the inferences that began late because the one before was not done.
    """

    window: Window
    latencies_s: tuple[float, ...]
    stretch: Stretch
    missed: int = 0


def run_window(
    engine: Engine,
    meter: Meter,
    plan: MeasurementPlan,
    batch: int,
    *,
    window_s: float,
    origin_s: float,
    tick_s: float | None = None,
) -> Observed:
    """Run the bound inputs for one window.

    Args:
        engine: The engine.
        meter: Opened on the engine's clock.
        plan: How many inferences it takes at least.
        batch: Frames per inference.
        window_s: Least seconds.
        origin_s: The moment that its start is counted from.
        tick_s: Seconds from one inference to the next at a camera's pace; `None` runs back to back.

    Raises:
        MeasurementError: The sensor failed.
    """
    clock = engine.clock
    latencies: list[float] = []
    missed = 0
    meter.start()
    start_s = previous_s = clock.now_s()
    cpu_start_s = clock.cpu_s()
    while len(latencies) < plan.window_iterations or previous_s - start_s < window_s:
        if tick_s is not None:
            due_s = start_s + len(latencies) * tick_s
            if previous_s > due_s:
                missed += 1
            clock.sleep(max(due_s - previous_s, 0.0))
            previous_s = clock.now_s()
        engine.run(1)
        now_s = clock.now_s()
        latencies.append(now_s - previous_s)
        previous_s = now_s
    if tick_s is not None:
        # The last frame's gap belongs to it, as every other frame's does.
        clock.sleep(max(start_s + len(latencies) * tick_s - previous_s, 0.0))
        previous_s = clock.now_s()
    cpu_s = clock.cpu_s() - cpu_start_s
    stretch = meter.stop(previous_s)
    window = Window(
        start_s=start_s - origin_s,
        duration_s=previous_s - start_s,
        frames=len(latencies) * batch,
        energy_j=stretch.energy_j,
        counter_j=stretch.counter_j,
        readings=stretch.readings,
        cpu_s=cpu_s,
        p50_s=quantile(latencies, 0.5),
        p90_s=quantile(latencies, 0.9),
        p99_s=quantile(latencies, 0.99),
    )
    return Observed(window, tuple(latencies), stretch, missed)


def layer_iterations(plan: MeasurementPlan, latencies_s: Sequence[float]) -> int:
    """Return how many inferences the per-layer pass takes for the time that the plan gives it."""
    least, most = _LAYER_ITERATIONS
    return min(max(math.ceil(plan.layer_s / median(latencies_s)), least), most)
