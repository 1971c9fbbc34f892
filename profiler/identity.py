"""What must agree before two results may be compared: device and its settings, runtime, engine, inputs, sensor."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict

from perframe.engines.base import EngineArtifact, ModelInfo
from perframe.profiler.environment import cpu_model, usable_cpus
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.power_state import power_state
from perframe.profiler.sensors.base import Sensor


def identity(
    artifact: EngineArtifact, plan: MeasurementPlan, sensor: Sensor | None
) -> dict[str, str | float | None]:
    """Return what must agree before two results may be compared.

    Args:
        artifact: What is measured.
        plan: How.
        sensor: Where joules come from; `None` for none.
    """
    return {
        "device": artifact.device,
        "device_name": cpu_model() if artifact.device == "cpu" else artifact.device,
        "cpus": float(usable_cpus()),
        **power_state(),
        "backend": artifact.backend,
        "backend_version": artifact.version,
        "provider": artifact.provider,
        "threads": artifact.threads,
        **_compiled(artifact),
        "precision": artifact.model.precision,
        "quantised": _quantised(artifact.model),
        "input_shape": "x".join(map(str, artifact.model.input_shape)),
        "seed": plan.seed,
        "regime": artifact.regime,
        "transfers": "in every inference" if plan.transfers else "none",
        "sensor": sensor.name if sensor else None,
        "energy_kind": sensor.kind if sensor else "absent",
        **{f"sensor_{key}": value for key, value in (sensor.details if sensor else {}).items()},
    }


def differing(one: Mapping[str, str | float | None], other: Mapping[str, str | float | None]) -> list[str]:
    """Return the names in which two identities differ, in their order.

    What an older version did not record is as unknown as what a device did not tell.
    """
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def _compiled(artifact: EngineArtifact) -> dict[str, str | float | None]:
    """What an engine that was compiled for a GPU was compiled for, and how."""
    if artifact.tensorrt is None:
        return {}
    told = {name: str(value) for name, value in asdict(artifact.tensorrt).items() if value not in (None, ())}
    return {
        "gpu": None if artifact.gpu is None else artifact.gpu.name,
        "gpu_uuid": None if artifact.gpu is None else artifact.gpu.uuid,
        "engine_batches": "one" if len(artifact.batches) == 1 else ", ".join(map(str, artifact.batches)),
        **{f"tensorrt_{name}": value for name, value in told.items()},
    }


def _quantised(model: ModelInfo) -> str | None:
    """Which layers compute in int8: a set that depends on the group size would make group sizes incomparable."""
    if not model.quantised:
        return None
    digest = hashlib.sha256("\n".join(sorted(model.quantised)).encode()).hexdigest()[:12]
    return f"{len(model.quantised)} layers, {digest}"
