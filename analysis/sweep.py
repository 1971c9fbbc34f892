"""Many profiles on one device: every network built once, measured in random blocks, kept at once, and gone on with."""

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from perframe.analysis.sweep_plan import WORK, Configuration, SweepPlan, keep_plan
from perframe.engines.artifact import is_artifact, read_artifact
from perframe.engines.base import EngineArtifact
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.prepare import build_engine, check_device, check_regime
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
from perframe.profiler.identity import differing
from perframe.profiler.loop import bounds_s
from perframe.profiler.plan import of_training
from perframe.profiler.result import SCHEMA, Profile, Spent, read_profile, write_profile
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.session import knows_rest, profile
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
        spent: Of these, in the phases of the profiles that were measured now.
        builds_s: Of these, in making, exporting and building networks.
    """

    measured: int
    kept: int
    failures: tuple[Failure, ...]
    duration_s: float
    spent: Spent
    builds_s: float

    @property
    def overhead_s(self) -> float:
        """Seconds that were neither windows, nor warm-up, nor exports and builds."""
        return self.duration_s - self.spent.windows_s - self.spent.warm_up_s - self.builds_s

    @property
    def other_s(self) -> float:
        """Of `overhead_s`, what no phase accounts for: opening engines, pauses, saving, what failed and was lost."""
        return self.overhead_s - self.spent.rest_s - self.spent.layers_s


def check_sweep(plan: SweepPlan) -> None:
    """Refuse a sweep that could measure nothing here.

    Raises:
        UsageError: Device or engine is not known, or the engine does not train.
        UnavailableError: The engine's library is not there.
    """
    check_device(plan.device)
    backend_named(plan.engine)
    check_regime(plan.engine, plan.regime)


def sweep_bounds_s(plan: SweepPlan, sensor: Sensor | None) -> tuple[float, float]:
    """Return how many seconds the measurements take at least, and how many with the longest warm-up, rest and passes.

    Exports and builds are not counted; for the rest see `perframe.profiler.loop.bounds_s`.
    """
    each = of_training(plan.measurement) if plan.regime == "training" else plan.measurement
    times = plan.runs * len(plan.configurations) * len(each.batches)
    least_s, longest_s = bounds_s(each, idle=knows_rest(sensor))
    return times * least_s, times * longest_s


def sweep(
    plan: SweepPlan,
    sensor: Sensor | None,
    folder: Path,
    progress: Progress = silent,
    wait_s: float = 600.0,
) -> Sweep:
    """Measure what is not yet measured of `plan`, into `folder`/run-N/NAME.json.

    Every profile is written after each of its batch sizes, so that a run that ends in whatever way, kill -9 included,
    is gone on with by the same call: nothing finished is repeated or lost.

    Args:
        plan: What to measure.
        sensor: Where joules come from.
        folder: Of the results; made if missing.
        progress: Told what is going on and how long it will take.
        wait_s: How long to wait, each time, while another process measures on the device. A sweep of hours should not
            end because somebody measures for a minute.

    Raises:
        UsageError: The folder holds a sweep of another plan, or see `check_sweep`.
        UnavailableError: Device or library is not there, the disk is full, another sweep writes to the folder, or the
            device stays in use.
    """
    check_sweep(plan)
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
        return _Runner(plan, sensor, folder, progress, wait_s).run()
    finally:
        lock.release()


class _Runner:
    def __init__(
        self, plan: SweepPlan, sensor: Sensor | None, folder: Path, progress: Progress, wait_s: float
    ) -> None:
        self._plan, self._sensor, self._folder, self._progress = plan, sensor, folder, progress
        self._wait_s = wait_s
        self._total = plan.runs * len(plan.configurations)
        self._done = self._measured = self._kept = 0
        self._started_s = time.monotonic()
        self._spent = Spent()
        self._builds_s = 0.0

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
        return Sweep(
            measured=self._measured,
            kept=self._kept,
            failures=tuple(failures),
            duration_s=time.monotonic() - self._started_s,
            spent=self._spent,
            builds_s=self._builds_s,
        )

    def _one(self, configuration: Configuration, run: int) -> None:
        path = self._folder / f"run-{run}" / f"{configuration.name}.json"
        before = _so_far(path)
        if before is not None and before.complete:
            self._kept += 1
            return
        path.parent.mkdir(exist_ok=True)
        engines = self._engines(configuration)
        plan = self._plan.measurement
        finished = [] if before is None else [each for each in before.batches if not each.ended_early]
        missing = tuple(batch for batch in plan.batches if batch not in {each.batch for each in finished})
        spent: dict[int, Spent] = {}

        def keep(found: Profile) -> None:
            spent.update({each.batch: each.spent for each in found.batches if each.spent is not None})
            if before is not None and finished and before.identity != found.identity:
                unlike = sorted(differing(before.identity, found.identity))
                raise InputError(
                    f"{path}: begun under other conditions: {', '.join(unlike)}.",
                    "Remove it to measure this network again as a whole.",
                )
            batches = (*finished, *found.batches)
            complete = len(batches) == len(plan.batches) and found.complete
            followed = dataclasses.replace(found.plan or plan, batches=plan.batches)
            write_profile(dataclasses.replace(found, batches=batches, plan=followed, complete=complete), path)

        told = self._told(configuration, run)
        try:
            result = profile(
                engines,
                dataclasses.replace(plan, batches=missing),
                self._sensor,
                keep=keep,
                progress=told,
                wait_s=self._wait_s,
            )
        finally:
            self._spent = sum(spent.values(), self._spent)
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
            if is_artifact(path):
                artifact = read_artifact(path)
            else:
                started_s = time.monotonic()
                artifact = self._built(configuration, path, together)
                self._builds_s += time.monotonic() - started_s
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
        return self._folder / WORK

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
    """What an earlier call has measured; what is cut off or damaged is measured again.

    Raises:
        InputError: There is something else, or a profile of another version, which must not be overwritten.
    """
    if not path.exists():
        return None
    try:
        return read_profile(path)
    except InputError:
        if path.is_file() and _is_damaged(path):
            return None
        raise


def _is_damaged(path: Path) -> bool:
    """Whether a file that is no profile is what is left of one."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return True
    return isinstance(document, dict) and document.get("schema") == SCHEMA
