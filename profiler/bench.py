"""Engines measured beside the network: by the same loop and sensor, against the same power at rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from perframe.engines.base import Engine
from perframe.profiler.characterise import Response
from perframe.profiler.energy import Meter
from perframe.profiler.loop import measure, window_length_s
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import BatchResult
from perframe.profiler.stats import Estimate, mean_interval
from perframe.progress import silent

# A layer is measured for itself many times over: enough windows for an interval, and no more.
_WINDOWS = 4


@dataclass(frozen=True)
class Runs:
    """What one run of an engine costs, once per measured window.

    Attributes:
        latencies_s: Seconds per run.
        energies_j: Joules per run, above idle where that is known; `None` where a window was not seen.
        steady: Whether latency and power had settled before.
    """

    latencies_s: tuple[float, ...]
    energies_j: tuple[float, ...] | None
    steady: bool

    @property
    def latency_s(self) -> Estimate:
        """Mean seconds per run."""
        return mean_interval(self.latencies_s)

    @property
    def energy_j(self) -> Estimate | None:
        """Mean joules per run."""
        return None if self.energies_j is None else mean_interval(self.energies_j)


@dataclass(frozen=True)
class Bench:
    """How engines are measured.

    Attributes:
        meter: The network's own.
        plan: For how long; the windows are as long as the network's.
        response: Of the sensor.
        idle_w: Watts at rest; `None` where the sensor does not see the device at rest.
    """

    meter: Meter
    plan: MeasurementPlan
    response: Response
    idle_w: float | None

    def runs(self, engine: Engine, windows: int | None = None) -> Runs:
        """Measure an engine on the inputs bound to it.

        Raises:
            MeasurementError: The sensor failed.
        """
        plan = self.plan if windows is None else replace(self.plan, windows=windows)
        measured = measure(
            engine,
            self.meter,
            plan,
            1,
            idle=False,
            response=self.response,
            scheduled=lambda _: None,
            progress=silent,
        )
        if measured.failure is not None:
            raise measured.failure
        seen = [each.window for each in measured.saturated]
        idle_w = self.idle_w or 0.0
        energies_j = [(w.energy_j - idle_w * w.duration_s) / w.frames for w in seen if w.energy_j is not None]
        return Runs(
            latencies_s=tuple(window.duration_s / window.frames for window in seen),
            energies_j=tuple(energies_j) if len(energies_j) == len(seen) else None,
            steady=measured.warm_up.steady,
        )


def bench_beside(result: BatchResult, meter: Meter, plan: MeasurementPlan, response: Response) -> Bench:
    """Return how layers are measured beside a network.

    Args:
        result: The network's figures.
        meter: The meter that they came from, which knows the sensor's update period by now.
        plan: The network's.
        response: Of the sensor.
    """
    energy = result.energy
    window_s = window_length_s(
        plan,
        meter.update_period_s(),
        response.trailing_s,
        energy.idle_w,
        energy.power_w.value if energy.power_w else None,
    )
    layer_plan = replace(
        plan,
        windows=min(plan.windows, _WINDOWS),
        window_s=window_s,
        layer_s=0.0,
        layer_energy="attributed",
        fps=None,
    )
    return Bench(meter, layer_plan, response, energy.idle_w)


def weighted_sum(terms: Sequence[tuple[float, Estimate]]) -> Estimate:
    """Add up independent estimates, each times a factor; their intervals' half-widths add in quadrature.

    Args:
        terms: At least one factor with its estimate.
    """
    value = math.fsum(factor * each.value for factor, each in terms)
    n = min(each.n for _, each in terms)
    squares = []
    for factor, each in terms:
        if each.low is None or each.high is None:
            return Estimate(value, None, None, n)
        squares.append((factor * (each.high - each.low) / 2.0) ** 2)
    half = math.sqrt(math.fsum(squares))
    return Estimate(value, value - half, value + half, n)
