"""Whether a job can be done on this machine: shown by doing it, on a network of one layer."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import onnx

from perframe.engines.base import EngineArtifact
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.inputs import seeded_inputs
from perframe.engines.installed import installed
from perframe.engines.prepare import build_engine
from perframe.engines.registry import backend_named
from perframe.errors import BuildError, InputError, MeasurementError, UnavailableError
from perframe.export.onnx_model import resolve_input_shapes
from perframe.profiler.fit import fit
from perframe.profiler.lock import device_lock
from perframe.profiler.sensors.registry import sensor_from
from perframe.progress import Progress, silent

# Eight channels in two groups: what perframe is made for, at a size that every runtime takes.
_MODEL = """
<ir_version: 8, opset_import: ["": 17]>
one_layer (float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y)
<float[8, 4, 3, 3] w = {%s}>
{ y = Conv <group = 2, kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w) }
"""
_WEIGHTS = ", ".join(str((i % 7 - 3) / 8) for i in range(8 * 4 * 3 * 3))


JobKind: TypeAlias = Literal["export", "build", "profile"]


@dataclass(frozen=True)
class Job:
    """What shall be done here.

    Attributes:
        kind: `export` a checkpoint, `build` an engine, or `profile` one.
        engine: Name of the backend.
        device: `cpu` or `cuda:N`; `None` is the backend's own.
        provider: ONNX Runtime's, see `perframe.engines.base.BuildSpec`.
        sensor: As `--sensor` takes it.
    """

    kind: JobKind
    engine: str = "onnxruntime"
    device: str | None = None
    provider: str | None = None
    sensor: str = "auto"


def require_job(job: Job, progress: Progress = silent) -> tuple[str, ...]:
    """Do a job in small.

    Args:
        job: What shall be done.
        progress: Told what is going on.

    Returns:
        What was done, one sentence each.

    Raises:
        UsageError: There is no such engine, device or sensor, or they do not go together.
        UnavailableError: It cannot be done here; the message names the first obstacle.
    """
    with tempfile.TemporaryDirectory(prefix="perframe-") as name, _obstacles(job):
        folder = Path(name)
        if job.kind == "export":
            _exported(folder)
            return ("A checkpoint was read and exported to ONNX.",)
        progress("building a network of one layer", 0.2)
        artifact = _built(job, folder)
        done = f"{job.engine} {artifact.version} built a network of one layer for {artifact.device}."
        if job.kind == "build":
            return (done,)
        progress("running it", 0.7)
        return (done, *_ran(job, artifact))


@contextmanager
def _obstacles(job: Job) -> Iterator[None]:
    """Whatever fails is what stands in the way, unless versions that do not fit are known to be behind it."""
    try:
        yield
    except (UnavailableError, BuildError, InputError, MeasurementError) as error:
        for misfit in fit(installed()):
            if not misfit.works and _matters(misfit.name, job):
                raise UnavailableError(f"{misfit.name}: {misfit.what}.", misfit.remedy) from error
        raise UnavailableError(error.message, error.hint) from error


def _matters(misfit: str, job: Job) -> bool:
    runtime, _, provider = misfit.partition(" ")
    if provider == "tensorrt" and job.provider != "tensorrt":
        return False
    return runtime.removesuffix("-gpu") == job.engine or (
        runtime == "cuda-bindings" and job.engine.startswith("tensorrt")
    )


def _exported(folder: Path) -> Path:
    checkpoint = folder / "small.pth.tar"
    small = (3, 32, 32)
    new_checkpoint("mobilenet-v1", checkpoint, group_size=8, width=0.25, classes=10, input_shape=small)
    convert(checkpoint, folder / "small.onnx", input_shape=small)
    return checkpoint


def _built(job: Job, folder: Path) -> EngineArtifact:
    model, checkpoint = folder / "small.onnx", None
    if job.engine == "torch":
        # It runs checkpoints.
        checkpoint = _exported(folder)
    else:
        onnx.save(onnx.parser.parse_model(_MODEL % _WEIGHTS), str(model))
    return build_engine(
        model,
        folder / "small.engine",
        engine=job.engine,
        device=job.device,
        provider=job.provider,
        checkpoint=checkpoint,
        batches=(1,),
        cache=False,
    )


def _ran(job: Job, artifact: EngineArtifact) -> Iterator[str]:
    shapes = resolve_input_shapes(artifact, 1, {name: s[1:] for name, s in artifact.input_shapes.items()})
    with device_lock(artifact.device), backend_named(job.engine).open(artifact) as engine:
        engine.bind(seeded_inputs(artifact.inputs, shapes, seed=0))
        engine.run(1)
        yield f"It ran on {artifact.device}."
        sensor = sensor_from(job.sensor, watts_per_core=10.0, device=artifact.device)
        if sensor is None:
            return
        with sensor.open(engine.clock) as reader:
            reader.read()
        yield f"The sensor {sensor.name} was read; energy is {sensor.kind}."
