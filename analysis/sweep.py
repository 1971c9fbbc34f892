"""Many profiles on one device: every network built once, measured in random blocks, kept at once, and gone on with."""

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from perframe.analysis.sweep_plan import Configuration, SweepPlan, keep_plan
from perframe.engines.artifact import is_artifact, read_artifact
from perframe.engines.base import EngineArtifact
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.prepare import build_engine, check_device
from perframe.engines.registry import backend_named
from perframe.errors import (
    BuildError,
    InputError,
    MeasurementError,
    OutOfMemoryError,
    PerframeError,
    UnavailableError,
)
from perframe.profiler.checks import require_valid
from perframe.profiler.result import BatchResult, Profile, read_profile, write_profile
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.session import profile
from perframe.progress import Progress, silent

# What goes wrong with one network leaves the others; what goes wrong with the machine does not.
_OF_ONE_NETWORK = (BuildError, InputError, MeasurementError, OutOfMemoryError)


@dataclass(frozen=True)
class Failure:
    """A network that could not be measured in one run."""

    name: str
    run: int
    error: PerframeError


@dataclass(frozen=True)
class Sweep:
    """How a sweep went.

    Attributes:
        measured: Profiles that were measured now.
        kept: Profiles that were there already, complete.
        failures: What could not be measured.
        duration_s: Seconds it took now.
        overhead_s: Of these, neither in measurements nor in exports and builds.
    """

    measured: int
    kept: int
    failures: tuple[Failure, ...]
    duration_s: float
    overhead_s: float


def sweep(plan: SweepPlan, sensor: Sensor | None, folder: Path, progress: Progress = silent) -> Sweep:
    """Measure what is not yet measured of `plan`, into `folder`/run-N/NAME.json.

    Every profile is written after each of its batch sizes, so that a run that ends in whatever way, kill -9 included,
    is gone on with by the same call: nothing finished is repeated or lost.

    Args:
        plan: What to measure.
        sensor: Where joules come from.
        folder: Of the results; made if missing.
        progress: Told what is going on and how long it will take.

    Raises:
        UsageError: The folder holds a sweep of another plan.
        UnavailableError: Device or library is not there, the disk is full, or another sweep writes to the folder.
    """
    check_device(plan.device)
    backend_named(plan.engine)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UnavailableError(
            f"{folder}: another sweep is writing to it.", "Let it finish, or give another -o."
        ) from error
    try:
        keep_plan(plan, folder)
        return _Runner(plan, sensor, folder, progress).run()
    finally:
        lock.release()


class _Runner:
    def __init__(self, plan: SweepPlan, sensor: Sensor | None, folder: Path, progress: Progress) -> None:
        self._plan, self._sensor, self._folder, self._progress = plan, sensor, folder, progress
        self._total = plan.runs * len(plan.configurations)
        self._done = self._measured = self._kept = 0
        self._started_s = time.monotonic()
        self._profiling_s = 0.0

    def run(self) -> Sweep:
        failures = []
        for run in range(1, self._plan.runs + 1):
            for configuration in self._plan.order(run):
                try:
                    self._one(configuration, run)
                except _OF_ONE_NETWORK as error:
                    failures.append(Failure(configuration.name, run, error))
                self._done += 1
        if not failures:
            # Networks and engines of a finished sweep are only large; they can be made again from the plan.
            shutil.rmtree(self._work, ignore_errors=True)
        duration_s = time.monotonic() - self._started_s
        return Sweep(self._measured, self._kept, tuple(failures), duration_s, duration_s - self._profiling_s)

    def _one(self, configuration: Configuration, run: int) -> None:
        path = self._folder / f"run-{run}" / f"{configuration.name}.json"
        before = _so_far(path)
        if before is not None and before.complete:
            self._kept += 1
            return
        path.parent.mkdir(exist_ok=True)
        started_s = time.monotonic()
        engines = self._engines(configuration)
        plan = self._plan.measurement
        finished = [] if before is None else [each for each in before.batches if not _ended_early(each)]
        missing = tuple(batch for batch in plan.batches if batch not in {each.batch for each in finished})

        def keep(found: Profile) -> None:
            if before is not None and finished and before.identity != found.identity:
                raise InputError(
                    f"{path}: begun under other conditions: {', '.join(_differing(before, found))}.",
                    "Remove it to measure this network again as a whole.",
                )
            batches = (*finished, *found.batches)
            complete = len(batches) == len(plan.batches) and found.complete
            write_profile(dataclasses.replace(found, batches=batches, plan=plan, complete=complete), path)

        told = self._told(configuration, run)
        result = profile(
            engines, dataclasses.replace(plan, batches=missing), self._sensor, keep=keep, progress=told
        )
        self._profiling_s += time.monotonic() - started_s
        self._measured += 1
        require_valid(result)

    def _engines(self, configuration: Configuration) -> dict[int, tuple[EngineArtifact, ...]]:
        """The engines of a network by batch size, built on first use and kept until the sweep is finished."""
        self._work.mkdir(exist_ok=True)
        batches = self._plan.measurement.batches
        apart = backend_named(self._plan.engine).tunes
        engines: dict[int, tuple[EngineArtifact, ...]] = {}
        for together in ((batch,) for batch in batches) if apart else (batches,):
            path = self._work / f"{configuration.name}{f'-b{together[0]}' if apart else ''}.engine"
            artifact = (
                read_artifact(path) if is_artifact(path) else self._built(configuration, path, together)
            )
            engines |= dict.fromkeys(together, (artifact,))
        return engines

    def _built(self, configuration: Configuration, path: Path, batches: tuple[int, ...]) -> EngineArtifact:
        plan, onnx_file = self._plan, self._work / f"{configuration.name}.onnx"
        checkpoint = configuration.checkpoint or self._work / f"{configuration.name}.pth.tar"
        if not checkpoint.exists():
            new_checkpoint(
                configuration.family,
                checkpoint,
                group_size=configuration.group_size,
                groups=configuration.groups,
                width=plan.width,
                classes=plan.classes,
                seed=plan.seed,
                input_shape=plan.input_shape,
            )
        if not onnx_file.exists():
            convert(checkpoint, onnx_file, input_shape=plan.input_shape, precision=configuration.precision)
        return build_engine(
            onnx_file,
            path,
            engine=plan.engine,
            device=plan.device,
            provider=plan.provider,
            threads=plan.threads,
            regime=plan.regime,
            checkpoint=checkpoint,
            batches=batches,
        )

    @property
    def _work(self) -> Path:
        return self._folder / ".work"

    def _told(self, configuration: Configuration, run: int) -> Progress:
        def told(what: str, fraction: float) -> None:
            done = self._done + fraction
            fresh = done - self._kept
            elapsed_s = time.monotonic() - self._started_s
            left = ""
            if self._measured:
                minutes = elapsed_s / fresh * (self._total - done) / 60.0
                left = f", {minutes:.0f} min left" if minutes >= 1.0 else ", under a minute left"
            where = f"run {run} of {self._plan.runs}: {configuration.name}{left}: {what}"
            self._progress(where, done / self._total)

        return told


def _so_far(path: Path) -> Profile | None:
    """What an earlier call has measured; what cannot be read is measured again."""
    try:
        return read_profile(path)
    except InputError:
        return None


def _ended_early(batch: BatchResult) -> bool:
    return any(quality.code == "ended-early" for quality in batch.quality)


def _differing(before: Profile, now: Profile) -> list[str]:
    keys = {**before.identity, **now.identity}
    return sorted(key for key in keys if before.identity.get(key) != now.identity.get(key))
