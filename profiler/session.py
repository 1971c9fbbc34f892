"""One measurement from an artifact to a profile: the device held, every batch size measured, each kept at once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

import perframe
from perframe.engines.base import EngineArtifact
from perframe.engines.inputs import inputs_sha256, seeded_inputs
from perframe.engines.registry import backend_named
from perframe.export.onnx_model import resolve_input_shapes
from perframe.profiler.characterise import response_of
from perframe.profiler.energy import open_meter
from perframe.profiler.environment import cpu_model, environment, usable_cpus
from perframe.profiler.lock import device_lock
from perframe.profiler.loop import Schedule, measure
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.power_state import power_state
from perframe.profiler.result import BatchResult, EngineInfo, Profile
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.summary import summarise
from perframe.progress import Progress, silent


def profile(
    artifact: EngineArtifact,
    plan: MeasurementPlan,
    sensor: Sensor | None,
    *,
    keep: Callable[[Profile], None] | None = None,
    scheduled: Callable[[Schedule], None] = lambda _: None,
    progress: Progress = silent,
    wait_s: float = 0.0,
) -> Profile:
    """Measure an engine at every batch size of the plan.

    Args:
        artifact: The engine.
        plan: What to measure.
        sensor: Where joules come from; `None` for latency only.
        keep: Called with the profile so far after every batch size, so that nothing finished is lost to
            whatever ends the run.
        scheduled: Told how long the windows of a batch size will be, before the first of them, and how long the rest
            of the measurement will take if every batch size takes as long.
        progress: Told what is going on.
        wait_s: How long to wait while another process measures on the device.

    Raises:
        UsageError: A batch size does not fit the model.
        UnavailableError: Device, library or sensor is not there, or the device is being measured.
        MeasurementError: The measurement cannot be believed.
    """
    overrides = {name: shape[1:] for name, shape in artifact.input_shapes.items()}
    shapes = {batch: resolve_input_shapes(artifact, batch, overrides) for batch in plan.batches}
    backend = backend_named(artifact.backend)
    done: list[BatchResult] = []

    def so_far() -> Profile:
        return Profile(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            perframe=perframe.__version__,
            complete=len(done) == len(plan.batches) and not any(_ended_early(batch) for batch in done),
            model=artifact.model,
            engine=_engine_info(artifact),
            environment=machine,
            regime=artifact.regime,
            identity=identity,
            plan=plan,
            batches=tuple(done),
        )

    with device_lock(artifact.device, wait_s):
        machine, identity = environment(), _identity(artifact, plan, sensor)
        response = response_of(sensor)
        with backend.open(artifact) as engine, open_meter(sensor, engine.clock) as meter:
            for batch in plan.batches:

                def told(what: str, fraction: float, batch: int = batch) -> None:
                    progress(f"batch {batch}: {what}", (len(done) + fraction * 0.9) / len(plan.batches))

                def told_length(schedule: Schedule) -> None:
                    left = len(plan.batches) - len(done)
                    scheduled(replace(schedule, remaining_s=schedule.remaining_s * left))

                inputs = seeded_inputs(artifact.inputs, shapes[batch], plan.seed)
                engine.bind(inputs)
                measured = measure(
                    engine,
                    meter,
                    plan,
                    batch,
                    idle=_knows_rest(sensor),
                    response=response,
                    scheduled=told_length,
                    progress=told,
                )
                result = summarise(
                    measured,
                    plan=plan,
                    batch=batch,
                    inputs_sha256=inputs_sha256(inputs),
                    sensor=sensor,
                    layers=artifact.layers,
                )
                done.append(result)
                if keep is not None:
                    keep(so_far())
                if measured.failure is not None:
                    raise measured.failure
    return so_far()


def _knows_rest(sensor: Sensor | None) -> bool:
    """A counter that is computed from this process's own work has no device that could be watched at rest."""
    return sensor is not None and (sensor.kind == "measured" or sensor.poll_interval_s is not None)


def _identity(
    artifact: EngineArtifact, plan: MeasurementPlan, sensor: Sensor | None
) -> dict[str, str | float | None]:
    return {
        "device": artifact.device,
        "device_name": cpu_model() if artifact.device == "cpu" else artifact.device,
        "cpus": float(usable_cpus()),
        **power_state(),
        "backend": artifact.backend,
        "backend_version": artifact.version,
        "provider": artifact.provider,
        "threads": artifact.threads,
        "precision": artifact.model.precision,
        "input_shape": "x".join(map(str, artifact.model.input_shape)),
        "seed": plan.seed,
        "regime": artifact.regime,
        "sensor": sensor.name if sensor else None,
        "energy_kind": sensor.kind if sensor else "absent",
        **{f"sensor_{key}": value for key, value in (sensor.details if sensor else {}).items()},
    }


def _ended_early(batch: BatchResult) -> bool:
    return any(quality.code == "ended-early" for quality in batch.quality)


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
