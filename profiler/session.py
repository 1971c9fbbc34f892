"""One measurement from engines to a profile: the device held, every batch size measured, each kept at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import perframe
from perframe.engines.base import Backend, Engine, EngineArtifact
from perframe.engines.device_engine import DeviceEngine
from perframe.engines.inputs import inputs_sha256, seeded_inputs
from perframe.engines.registry import backend_named
from perframe.errors import OutOfMemoryError, UsageError
from perframe.export.onnx_model import resolve_input_shapes
from perframe.profiler.bench import bench_beside
from perframe.profiler.builds import across_builds, build_of
from perframe.profiler.characterise import Response, response_of
from perframe.profiler.checks import precision_quality
from perframe.profiler.energy import Meter, open_meter
from perframe.profiler.environment import environment
from perframe.profiler.identity import identity
from perframe.profiler.layer_energy import layer_energies
from perframe.profiler.lock import device_lock
from perframe.profiler.loop import Schedule, measure
from perframe.profiler.pieces import executed_network
from perframe.profiler.plan import MeasurementPlan, of_training
from perframe.profiler.result import BatchResult, EngineInfo, FailedBatch, Profile
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.summary import summarise
from perframe.progress import Progress, silent

Keep = Callable[[Profile], None]


def profile(
    engines: EngineArtifact | Mapping[int, Sequence[EngineArtifact]],
    plan: MeasurementPlan,
    sensor: Sensor | None,
    *,
    source: Path | None = None,
    keep: Keep | None = None,
    scheduled: Callable[[Schedule], None] = lambda _: None,
    progress: Progress = silent,
    wait_s: float = 0.0,
) -> Profile:
    """Measure engines at every batch size of the plan.

    Args:
        engines: The engine; or those for each batch size, several where an engine was built several times.
        plan: What to measure.
        sensor: Where joules come from; `None` for latency only.
        source: The ONNX file they were built from, for layers that are measured for themselves.
        keep: Called with the profile so far after every batch size, so that nothing finished is lost to
            whatever ends the run.
        scheduled: Told how long the windows of a batch size will be, before the first of them, and how long the rest
            of the measurement will take if every batch size takes as long.
        progress: Told what is going on.
        wait_s: How long to wait while another process measures on the device.

    Raises:
        UsageError: A batch size does not fit the model.
        UnavailableError: Device, library or sensor is not there, or the device is being measured.
        OutOfMemoryError: No batch size fits into the device's memory. Where some do, the others stand in the profile.
        MeasurementError: The measurement cannot be believed.
    """
    if isinstance(engines, EngineArtifact):
        engines = dict.fromkeys(plan.batches, (engines,))
    for batch in plan.batches:
        _shapes(engines[batch][0], batch)
    first = engines[plan.batches[0]][0]
    if first.regime == "training" and plan.layer_energy != "attributed":
        raise UsageError("Layers are measured for themselves in inference only.", "Leave --layer-energy out.")
    plan = of_training(plan) if first.regime == "training" else plan
    with device_lock(first.device, wait_s):
        return _Session(engines, plan, sensor, source, keep, scheduled, progress).run()


class _Session:
    def __init__(
        self,
        engines: Mapping[int, Sequence[EngineArtifact]],
        plan: MeasurementPlan,
        sensor: Sensor | None,
        source: Path | None,
        keep: Keep | None,
        scheduled: Callable[[Schedule], None],
        progress: Progress,
    ) -> None:
        self._engines, self._plan, self._sensor, self._source = engines, plan, sensor, source
        self._keep, self._scheduled, self._progress = keep, scheduled, progress
        self._artifact = engines[plan.batches[0]][0]
        self._backend: Backend = backend_named(self._artifact.backend)
        self._response: Response = response_of(sensor)
        self._environment, self._identity = environment(), identity(self._artifact, plan, sensor)
        self._results: dict[int, list[BatchResult]] = {}
        self._failed: dict[int, OutOfMemoryError] = {}

    def run(self) -> Profile:
        for artifact, batches in self._by_engine():
            try:
                with (
                    self._backend.open(artifact) as engine,
                    open_meter(self._sensor, engine.clock) as meter,
                ):
                    for batch in batches:
                        try:
                            self._measure(artifact, engine, meter, batch)
                        except OutOfMemoryError as error:
                            self._failed[batch] = error
            except OutOfMemoryError as error:
                self._failed |= dict.fromkeys(batches, error)
        if self._failed and not self._results:
            raise next(iter(self._failed.values()))
        self._kept()
        return self._so_far()

    def _by_engine(self) -> list[tuple[EngineArtifact, list[int]]]:
        """Every engine once, with the batch sizes it runs at."""
        found: dict[str, tuple[EngineArtifact, list[int]]] = {}
        for batch in self._plan.batches:
            for artifact in self._engines[batch]:
                found.setdefault(str(artifact.path), (artifact, []))[1].append(batch)
        return list(found.values())

    def _measure(self, artifact: EngineArtifact, engine: Engine, meter: Meter, batch: int) -> None:
        plan, sensor = self._plan, self._sensor
        on_device = engine if isinstance(engine, DeviceEngine) else None
        if on_device is not None:
            on_device.transfers = plan.transfers
        elif plan.transfers:
            raise UsageError(
                f"Engine {artifact.backend} does not tell transfers from computing.",
                "Leave --transfers out, or take --engine tensorrt.",
            )
        inputs = seeded_inputs(artifact.inputs, _shapes(artifact, batch), plan.seed)
        engine.bind(inputs)
        told = self._told(batch)
        measured = measure(
            engine,
            meter,
            plan,
            batch,
            idle=knows_rest(sensor),
            response=self._response,
            scheduled=self._schedule,
            progress=told,
        )
        result = summarise(
            measured,
            plan=plan,
            batch=batch,
            inputs_sha256=inputs_sha256(inputs),
            sensor=sensor,
            layers=on_device.layers() if on_device else artifact.layers,
            execution=on_device.execution() if on_device else None,
        )
        result = replace(result, quality=(*result.quality, *precision_quality(artifact)))
        builds = self._results.setdefault(batch, [])
        several = len(self._engines[batch]) > 1
        builds.append(replace(result, builds=(build_of(artifact, result),)) if several else result)
        self._kept()
        if measured.failure is not None:
            raise measured.failure
        if plan.layer_energy != "attributed" and len(builds) == 1:

            def keep(found: BatchResult) -> None:
                builds[0] = found
                self._kept()

            keep(
                layer_energies(
                    builds[0],
                    engine,
                    executed_network(self._backend, artifact, inputs, result.layers, self._source),
                    bench_beside(result, meter, plan, self._response),
                    method=plan.layer_energy,
                    budget_s=plan.layer_budget_s,
                    keep=keep,
                    progress=told,
                )
            )

    def _kept(self) -> None:
        if self._keep is not None and self._results:
            self._keep(self._so_far())

    def _so_far(self) -> Profile:
        results = {batch: across_builds(builds) for batch, builds in self._results.items()}
        finished = [
            batch
            for batch, builds in self._results.items()
            if len(builds) == len(self._engines[batch]) and not results[batch].ended_early
        ]
        return Profile(
            created=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
            perframe=perframe.__version__,
            complete=len(finished) == len(self._plan.batches),
            model=self._artifact.model,
            engine=_engine_info(self._artifact),
            environment=self._environment,
            regime=self._artifact.regime,
            identity=self._identity,
            plan=self._plan,
            batches=tuple(results[batch] for batch in self._plan.batches if batch in results),
            failed=tuple(
                FailedBatch(batch, error.message, error.hint) for batch, error in self._failed.items()
            ),
        )

    def _told(self, batch: int) -> Progress:
        def told(what: str, fraction: float) -> None:
            self._progress(f"batch {batch}: {what}", (self._finished + fraction * 0.9) / self._total)

        return told

    def _schedule(self, schedule: Schedule) -> None:
        left = self._total - self._finished
        self._scheduled(replace(schedule, remaining_s=schedule.remaining_s * left))

    @property
    def _total(self) -> int:
        return sum(len(self._engines[batch]) for batch in self._plan.batches)

    @property
    def _finished(self) -> int:
        return sum(map(len, self._results.values())) + len(self._failed)


def _shapes(artifact: EngineArtifact, batch: int) -> dict[str, tuple[int, ...]]:
    overrides = {name: shape[1:] for name, shape in artifact.input_shapes.items()}
    return resolve_input_shapes(artifact, batch, overrides)


def knows_rest(sensor: Sensor | None) -> bool:
    """Tell whether a sensor sees the device at rest: what is computed from this process's own work does not."""
    return sensor is not None and (sensor.kind == "measured" or sensor.poll_interval_s is not None)


def _engine_info(artifact: EngineArtifact) -> EngineInfo:
    return EngineInfo(
        backend=artifact.backend,
        version=artifact.version,
        device=artifact.device,
        provider=artifact.provider,
        threads=artifact.threads,
        artifact_sha256=artifact.sha256,
        build_s=artifact.build_s,
    )
