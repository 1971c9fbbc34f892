"""Which networks a sweep measures and how: settled before the first of them, and kept beside the results."""

import dataclasses
import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perframe.engines.base import Regime
from perframe.engines.lower import PrecisionSpec
from perframe.errors import UsageError
from perframe.export.architecture import FAMILIES, make_architecture
from perframe.files import write_text
from perframe.profiler.plan import MeasurementPlan
from perframe.typed_json import from_json, read_document

SCHEMA = "perframe.sweep/1"
PLAN_FILE = "sweep.json"
WORK = ".work"


@dataclass(frozen=True)
class Configuration:
    """One network of a sweep.

    Attributes:
        name: What its results are called.
        family: As `perframe new` takes it.
        group_size: Constant group size G; `None` for FgGC.
        groups: Constant number of groups g; `None` for E2GC.
        checkpoint: Trained weights; `None` measures an untrained network, whose cost is the same.
        precision: What it is exported in.
    """

    name: str
    family: str
    group_size: int | None
    groups: int | None
    checkpoint: Path | None = None
    precision: PrecisionSpec = field(default_factory=PrecisionSpec)


@dataclass(frozen=True)
class SweepPlan:
    """One sweep.

    Attributes:
        configurations: The networks.
        measurement: How each is measured; `windows` are those of one run.
        runs: Blocks. Each measures every network once, in an order of its own, so that what drifts with time falls
            on all alike and the spread between runs is seen.
        engine: Name of the backend.
        device: `cpu` or `cuda:N`.
        provider: See `perframe.engines.base.BuildSpec`.
        threads: See `perframe.engines.base.BuildSpec`.
        regime: `inference` or `training`.
        sensor: As `--sensor` takes it.
        watts: Of one busy core, for the modelled sensor.
        calibration: Gain and offset of the sensor.
        input_shape: Channels, height, width.
        width: Multiplies every channel count of untrained networks.
        classes: Outputs of untrained networks.
        seed: Of weights, inputs and order.
    """

    configurations: tuple[Configuration, ...]
    measurement: MeasurementPlan = field(default_factory=MeasurementPlan)
    runs: int = 2
    engine: str = "onnxruntime"
    device: str = "cpu"
    provider: str | None = None
    threads: int | None = None
    regime: Regime = "inference"
    sensor: str = "auto"
    watts: float = 10.0
    calibration: Path | None = None
    input_shape: tuple[int, ...] = (3, 224, 224)
    width: float = 1.0
    classes: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a plan without networks or with two of one name.

        Raises:
            UsageError: There is nothing to measure, or the same twice.
        """
        names = [each.name for each in self.configurations]
        if not names:
            raise UsageError("A sweep of no network.", "Give --group-sizes, --groups or --checkpoint.")
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise UsageError(f"A sweep of {', '.join(twice)} twice.", "Give every network once.")
        if not 1 <= self.runs <= 1000:
            raise UsageError(f"{self.runs} runs: expected 1 to 1000.", "Give --runs 2.")

    def order(self, run: int) -> list[Configuration]:
        """Return the networks in the order of one run, the same whenever it is asked."""
        order = list(self.configurations)
        random.Random(f"{self.seed}/{run}").shuffle(order)
        return order


def grid(
    families: tuple[str, ...],
    group_sizes: tuple[int, ...],
    groups: tuple[int, ...],
    *,
    width: float = 1.0,
    classes: int = 1000,
) -> tuple[Configuration, ...]:
    """Return every combination of family and G or g that is a network.

    Raises:
        UsageError: A family is not known, or G or g does not divide a layer's channels.
    """
    found: dict[str, Configuration] = {}
    for family in families:
        wanted = [(size, None) for size in group_sizes] + [(None, number) for number in groups]
        for size, number in wanted:
            name = make_architecture(
                family, group_size=size, groups=number, width=width, classes=classes
            ).name
            found.setdefault(name, Configuration(name, family, size, number))
    return tuple(found.values())


def with_checkpoints(
    configurations: tuple[Configuration, ...], checkpoints: tuple[Path, ...]
) -> tuple[Configuration, ...]:
    """Let trained weights take the place of the untrained network of the same architecture, or join the others.

    Raises:
        InputError: A checkpoint is not readable or not one of the two families.
    """
    from perframe.export.checkpoint import load_checkpoint
    from perframe.export.recognise import recognise

    found = {each.name: each for each in configurations}
    for path in checkpoints:
        architecture = recognise(load_checkpoint(path).shapes, str(path)).architecture
        family = next(name for name, known in FAMILIES.items() if known == architecture.family)
        found[architecture.name] = Configuration(
            architecture.name,
            family,
            architecture.group_size if architecture.variant == "E2GC" else None,
            architecture.groups if architecture.variant == "FgGC" else None,
            path.resolve(),
        )
    return tuple(found.values())


def in_precisions(
    configurations: tuple[Configuration, ...], precisions: tuple[PrecisionSpec, ...]
) -> tuple[Configuration, ...]:
    """Return every network in every precision; those that are not fp32 say so in their name."""
    return tuple(
        dataclasses.replace(
            each,
            name=each.name if precision.name == "fp32" else f"{each.name}-{precision.name}",
            precision=precision,
        )
        for precision in precisions
        for each in configurations
    )


def keep_plan(plan: SweepPlan, folder: Path) -> None:
    """Write the plan into the results folder, or check that it is the one that is there.

    The number of runs may be another: each run has its order whatever their number, so more of them are added, and
    fewer are there already. A plan that has no results yet is replaced, with all that was made for it.

    Raises:
        UsageError: The folder holds the results of another plan.
        InputError: The plan in it is damaged.
    """
    if (folder / PLAN_FILE).exists():
        kept = read_plan(folder)
        differing = [
            f.name
            for f in dataclasses.fields(plan)
            if f.name != "runs" and getattr(kept, f.name) != getattr(plan, f.name)
        ]
        if not differing and plan.runs <= kept.runs:
            return
        if differing and any(folder.glob("run-*/*.json")):
            raise UsageError(
                f"{folder}: it holds a sweep of another plan, which differs in {', '.join(differing)}.",
                "Give another -o, or the same options to go on with it.",
            )
        if differing:
            shutil.rmtree(folder / WORK, ignore_errors=True)
    document = {"schema": SCHEMA, **dataclasses.asdict(plan)}
    write_text(folder / PLAN_FILE, json.dumps(document, indent=1, default=str) + "\n")


def read_plan(folder: Path) -> SweepPlan:
    """Read the plan that a folder's results belong to.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path = folder / PLAN_FILE
    document: Mapping[str, Any] = read_document(
        path, "sweep plan", SCHEMA, "A newer perframe may have written it: upgrade."
    )
    return from_json(SweepPlan, dict(document), str(path))
