"""Folders of results for reports: the published grid as if measured here, with the layers of a real profile."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perframe.analysis.accuracy_table import published_table
from perframe.analysis.published_series import published_series
from perframe.profiler.result import BatchResult, EnergyKind, Profile, Window, read_profile, write_profile
from perframe.report.collect import Collected, collect

GOLDEN = Path(__file__).parents[1] / "data" / "profile-1.json"
POWER_W = 100.0

Edit = Callable[[Profile], Profile]


def measured_at(
    like: BatchResult, batch: int, epf_j: float, kind: EnergyKind, chance: random.Random
) -> BatchResult:
    """A batch size with windows of this energy, and the layers of another profile."""
    windows = []
    for i in range(4):
        frames, each_j = 10 * batch, epf_j * chance.gauss(1.0, 0.002)
        second = each_j * frames / POWER_W
        energy_j = None if kind == "absent" else each_j * frames
        p50_s = second / 10
        windows.append(
            Window(i * 1.5 * second, second, frames, energy_j, None, None, second, p50_s, p50_s, p50_s)
        )
    energy = replace(like.energy, kind=kind, windows=tuple(windows))
    layers = like.layers if kind != "absent" else tuple(replace(each, energy_j=None) for each in like.layers)
    return replace(like, batch=batch, energy=energy, layers=layers, paced=None)


def published_grid(
    folder: Path, *, runs: int = 2, kind: EnergyKind = "measured", edit: Edit = lambda profile: profile
) -> Path:
    """Write 22 networks at 3 batch sizes, their energy that of the published P100."""
    golden, chance = read_profile(GOLDEN), random.Random(0)
    tables = [each for each in published_series() if each.conditions.device == "P100"]
    identity = {**golden.identity, "energy_kind": kind, "sensor_gpu": "Test GPU", "backend": "onnxruntime"}
    for run in range(1, runs + 1):
        (folder / f"run-{run}").mkdir(parents=True)
        found: dict[str, Profile] = {}
        for series in tables:
            for network in series.networks:
                assert network.epf_j is not None, "that is what is published"
                batch = measured_at(golden.batches[0], series.batch, network.epf_j.value, kind, chance)
                before = found.get(network.model.name)
                found[network.model.name] = replace(
                    golden,
                    created=f"2026-01-01T00:00:{run:02d}+00:00",
                    model=network.model,
                    engine=replace(golden.engine, backend="onnxruntime"),
                    identity=identity,
                    batches=(*(before.batches if before else ()), batch),
                )
        for name, profile in found.items():
            write_profile(edit(profile), folder / f"run-{run}" / f"{name}.json")
    return folder


@pytest.fixture(scope="session")
def golden() -> Profile:
    """A real profile."""
    return read_profile(GOLDEN)


@pytest.fixture(scope="session")
def write_grid() -> Callable[..., Path]:
    """See `published_grid`."""
    return published_grid


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published grid, measured twice."""
    return published_grid(tmp_path_factory.mktemp("grid") / "results")


@pytest.fixture(scope="session")
def modelled_grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a sensor."""
    return published_grid(tmp_path_factory.mktemp("modelled") / "results", runs=1, kind="modelled")


@pytest.fixture(scope="session")
def collected(grid: Path) -> Collected:
    """What a report of the grid is made of."""
    return collect([grid], published_table("imagenet-1k"))
