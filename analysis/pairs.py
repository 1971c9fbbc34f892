"""Windows of two engines in turn on one device.

Both engines are open at once. A pair is one window of each, in an order drawn by lot, so that being second
favours neither. Before its window an engine runs until caches are its own again and the sensor's reading has
caught up with it, and for a random part of the sensor's cycle more, so that a load in step with the sensor is seen
whole. The device never rests: nothing is missed at a window's ends but the difference between two engines, and
windows can be short.
"""

import math
import random
from dataclasses import dataclass, replace
from statistics import median

from perframe.arrays import Array
from perframe.engines.base import Engine, EngineArtifact, LayerTiming
from perframe.engines.inputs import inputs_sha256, seeded_inputs
from perframe.export.onnx_model import resolve_input_shapes
from perframe.profiler.characterise import Response
from perframe.profiler.energy import Meter
from perframe.profiler.loop import Measured, Observed, window_length_s
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import BatchResult, WarmUp, Window
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.stats import quantile
from perframe.profiler.summary import summarise
from perframe.profiler.warm_up import warm_up
from perframe.progress import Progress

_RUN_IN_S = 0.1
_RUN_IN_ITERATIONS = 2
_LAYER_ITERATIONS = (5, 100)


@dataclass(frozen=True)
class Pairs:
    """The raw observations at one batch size.

    Attributes:
        planned: Pairs there would have been at most.
        baseline_first: Of each pair, which window came first.
        baseline: What was measured of the baseline; its windows are those of the pairs, in order.
        current: The same of the candidate.
    """

    planned: int
    baseline_first: tuple[bool, ...]
    baseline: BatchResult
    current: BatchResult


class Side:
    """One engine, and what was seen of it at one batch size.

    Args:
        artifact: What it was opened from.
        engine: Open on its device.
    """

    def __init__(self, artifact: EngineArtifact, engine: Engine) -> None:
        self.artifact, self.engine = artifact, engine
        self.inputs: dict[str, Array] = {}
        self.warm_up: WarmUp | None = None
        self.latency_s = 0.0
        self.observed: list[Observed] = []


class PairBench:
    """Measures pairs of windows at one batch size.

    Args:
        baseline: The engine compared against.
        candidate: The engine judged.
        meter: Opened on the clock that both share.
        plan: Length of windows, warm-up, seed.
        batch: Frames per inference.
        sensor: What the meter reads.
        response: Of the sensor.
        progress: Told what is going on.
    """

    def __init__(
        self,
        baseline: Side,
        candidate: Side,
        meter: Meter,
        plan: MeasurementPlan,
        batch: int,
        sensor: Sensor | None,
        response: Response,
        progress: Progress,
    ) -> None:
        self.sides = baseline, candidate
        self._meter, self._plan, self._batch = meter, plan, batch
        self._sensor, self._response, self._progress = sensor, response, progress
        self._lot = random.Random(f"{plan.seed}/{batch}")
        self._first: list[bool] = []
        for side in self.sides:
            self._warm(side)
        self._period_s = meter.update_period_s() or 0.0
        # As for a device that draws at rest what it draws at work, since it does not rest.
        self._window_s = window_length_s(plan, self._period_s or None, 0.0, 1.0, 1.0)
        self._run_in_s = max(_RUN_IN_S, self._period_s + response.trailing_s)
        self._origin_s = baseline.engine.clock.now_s()

    @property
    def pair_s(self) -> float:
        """About how long a pair takes."""
        latency_s = max(side.latency_s for side in self.sides)
        window_s = max(self._window_s, self._plan.window_iterations * latency_s)
        return 2.0 * (self._run_in_s + _RUN_IN_ITERATIONS * latency_s + self._period_s / 2.0 + window_s)

    def measure_pair(self) -> None:
        """Add one window of each engine.

        Raises:
            MeasurementError: The sensor failed.
        """
        self._first.append(self._lot.random() < 0.5)
        for side in self.sides if self._first[-1] else self.sides[::-1]:
            self._run_in(side.engine, self._run_in_s + self._lot.random() * self._period_s)
            side.observed.append(self._window(side.engine))

    def pairs(self, planned: int, *, with_layers: bool) -> Pairs:
        """Return what was measured, with everything there is to say against it.

        Args:
            planned: Pairs there would have been at most.
            with_layers: Whether to time the layers too.
        """
        return Pairs(planned, tuple(self._first), *(self._result(side, with_layers) for side in self.sides))

    def _warm(self, side: Side) -> None:
        side.inputs = inputs_of(side.artifact, self._batch, self._plan.seed)
        side.engine.bind(side.inputs)
        side.observed = []
        begun_s = side.engine.clock.now_s()
        side.warm_up, _ = warm_up(side.engine, self._meter, self._plan, self._progress)
        side.latency_s = (side.engine.clock.now_s() - begun_s) / side.warm_up.iterations

    def _run_in(self, engine: Engine, seconds: float) -> None:
        until_s = engine.clock.now_s() + seconds
        runs = 0
        while runs < _RUN_IN_ITERATIONS or engine.clock.now_s() < until_s:
            engine.run(1)
            runs += 1

    def _window(self, engine: Engine) -> Observed:
        """One window of back-to-back inferences."""
        clock, latencies = engine.clock, list[float]()
        self._meter.start()
        start_s = previous_s = clock.now_s()
        cpu_start_s = clock.cpu_s()
        while len(latencies) < self._plan.window_iterations or previous_s - start_s < self._window_s:
            engine.run(1)
            now_s = clock.now_s()
            latencies.append(now_s - previous_s)
            previous_s = now_s
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

    def _result(self, side: Side, with_layers: bool) -> BatchResult:
        layers: tuple[LayerTiming, ...] = ()
        if with_layers and self._plan.layer_s > 0:
            self._progress("timing layers", 1.0)
            least, most = _LAYER_ITERATIONS
            wanted = math.ceil(self._plan.layer_s / median(side.observed[-1].latencies_s))
            layers = tuple(side.engine.layer_timings(min(max(wanted, least), most)))
        assert side.warm_up is not None, "warmed up before the windows"
        measured = Measured(
            warm_up=side.warm_up,
            saturated=tuple(side.observed),
            paced=(),
            missed=0.0,
            rest=None,
            update_period_s=self._meter.update_period_s(),
            response=self._response,
            layers=layers,
        )
        return summarise(
            measured,
            plan=replace(self._plan, fps=None),
            batch=self._batch,
            inputs_sha256=inputs_sha256(side.inputs),
            sensor=self._sensor,
            layers=side.artifact.layers,
        )


def inputs_of(artifact: EngineArtifact, batch: int, seed: int) -> dict[str, Array]:
    """Return random inputs of an engine at a batch size."""
    overrides = {name: shape[1:] for name, shape in artifact.input_shapes.items()}
    return seeded_inputs(artifact.inputs, resolve_input_shapes(artifact, batch, overrides), seed)
