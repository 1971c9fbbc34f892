"""Windows of two engines in turn on one device.

A pair is one window of each engine, in an order drawn by lot, so that being second favours neither. For its
window an engine is opened anew, alone: where its memory happens to lie moves a network by some tenths of a per
cent for as long as it stays open, so that the windows of one opening are alike and wrong together. With ONNX
Runtime on a CPU, an engine that stayed open differed from its own copy by up to 0.5 %, at a standard error of
0.03 %; opened anew it did not.

Before its window an engine runs until caches are its own and the sensor's reading has caught up with it, and for
a random part of the sensor's cycle more, so that a load in step with the sensor is seen whole. So nothing is
missed at a window's ends, and windows can be short.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from perframe.arrays import Array
from perframe.engines.base import Backend, Engine, EngineArtifact, LayerTiming
from perframe.engines.clock import Clock
from perframe.engines.inputs import inputs_sha256, seeded_inputs
from perframe.export.onnx_model import resolve_input_shapes
from perframe.profiler.characterise import Response
from perframe.profiler.energy import Meter
from perframe.profiler.loop import Measured, window_length_s
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import BatchResult, WarmUp
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.summary import summarise
from perframe.profiler.warm_up import warm_up
from perframe.profiler.window import Observed, layer_iterations, run_window
from perframe.progress import Progress

# Long enough for clocks that came down meanwhile to be up again.
_RUN_IN_S = 0.2


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
        artifact: What it is opened from.
        backend: What opens it.
        inputs: What it runs on.
    """

    def __init__(self, artifact: EngineArtifact, backend: Backend, inputs: Mapping[str, Array]) -> None:
        self.artifact, self._backend, self.inputs = artifact, backend, inputs
        self.observed: list[Observed] = []

    @contextmanager
    def opened(self) -> Iterator[Engine]:
        """Give the engine with its inputs bound, its first run done: some runtimes prepare themselves in it."""
        with self._backend.open(self.artifact) as engine:
            engine.bind(self.inputs)
            engine.run(1)
            yield engine


class PairBench:
    """Measures pairs of windows at one batch size. Making it warms the device up.

    Args:
        baseline: The engine compared against.
        candidate: The engine judged.
        meter: Opened on `clock`.
        clock: What both share.
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
        clock: Clock,
        plan: MeasurementPlan,
        batch: int,
        sensor: Sensor | None,
        response: Response,
        progress: Progress,
    ) -> None:
        self.sides = baseline, candidate
        self._meter, self.clock, self._plan, self._batch = meter, clock, plan, batch
        self._sensor, self._response, self._progress = sensor, response, progress
        self._lot = random.Random(f"{plan.seed}/{batch}")
        self._first: list[bool] = []
        self._warm_ups: list[WarmUp] = []
        self._opening_s = self._latency_s = 0.0
        for side in self.sides:
            self._warm(side)
        self._period_s = meter.update_period_s() or response.update_period_s or 0.0
        # As for a device that draws at rest what it draws at work, since it does not rest around a window.
        self._window_s = window_length_s(plan, self._period_s or None, 0.0, 1.0, 1.0)
        self._origin_s = clock.now_s()
        # Trailing is the middle of what a reading averages over; all of it must be of this engine.
        self._run_in_s = max(_RUN_IN_S, self._period_s + 2.0 * response.trailing_s)

    @property
    def pair_s(self) -> float:
        """About how long a pair takes."""
        run_in_s = self._run_in_s + self._period_s / 2.0 + self._latency_s
        window_s = max(self._window_s, self._plan.window_iterations * self._latency_s)
        return self._opening_s + 2.0 * (run_in_s + window_s)

    def measure_pair(self) -> None:
        """Add one window of each engine.

        Raises:
            MeasurementError: The sensor failed.
        """
        self._first.append(self._lot.random() < 0.5)
        for side in self.sides if self._first[-1] else self.sides[::-1]:
            with side.opened() as engine:
                self._run_in(engine)
                found = run_window(
                    engine,
                    self._meter,
                    self._plan,
                    self._batch,
                    window_s=self._window_s,
                    origin_s=self._origin_s,
                )
                side.observed.append(found)

    def pairs(self, planned: int, *, with_layers: bool) -> Pairs:
        """Return what was measured, with everything there is to say against it.

        Args:
            planned: Pairs there would have been at most.
            with_layers: Whether to time the layers too.
        """
        return Pairs(
            planned,
            tuple(self._first),
            *(
                self._result(side, warmed, with_layers)
                for side, warmed in zip(self.sides, self._warm_ups, strict=True)
            ),
        )

    def _warm(self, side: Side) -> None:
        begun_s = self.clock.now_s()
        with side.opened() as engine:
            opened_s = self.clock.now_s()
            warmed, _ = warm_up(engine, self._meter, self._plan, self._progress)
            self._latency_s = max(self._latency_s, (self.clock.now_s() - opened_s) / warmed.iterations)
        self._opening_s += opened_s - begun_s
        self._warm_ups.append(warmed)

    def _run_in(self, engine: Engine) -> None:
        until_s = self.clock.now_s() + self._run_in_s + self._lot.random() * self._period_s
        engine.run(1)
        while self.clock.now_s() < until_s:
            engine.run(1)

    def _result(self, side: Side, warmed: WarmUp, with_layers: bool) -> BatchResult:
        layers: tuple[LayerTiming, ...] = ()
        if with_layers and self._plan.layer_s > 0:
            self._progress("timing layers", 1.0)
            iterations = layer_iterations(self._plan, side.observed[-1].latencies_s)
            with side.opened() as engine:
                layers = tuple(engine.layer_timings(iterations))
        measured = Measured(
            warm_up=warmed,
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
