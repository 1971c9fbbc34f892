"""Profiles that look like the published tables, for what is computed from many of them."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perframe.analysis.published_series import published_series
from perframe.profiler.result import BatchResult, EnergyKind, Profile, Window, read_profile, write_profile

GOLDEN = Path(__file__).parents[1] / "data" / "profile-1.json"
# Joules per second, so that there is a latency.
POWER_W = 100.0

Change = Callable[[str, str, int, float], float]
"""Family, `G=8` or `g=4`, batch size and published EPF, to the EPF that the profile shall have."""

WriteResults = Callable[..., Path]
"""See `write_results`."""


def unchanged(family: str, label: str, batch: int, epf_j: float) -> float:
    return epf_j


def windows(epf_j: float, batch: int, spread: float, chance: random.Random, count: int) -> tuple[Window, ...]:
    frames = 10 * batch
    found = []
    for index in range(count):
        energy_j = epf_j * frames * chance.gauss(1.0, spread)
        second = energy_j / POWER_W
        p50_s = second * batch / frames
        found.append(
            Window(index * 2.0 * second, second, frames, energy_j, None, None, second, p50_s, p50_s, p50_s)
        )
    return tuple(found)


@pytest.fixture(scope="session")
def golden() -> Profile:
    """A real profile, whose figures are put aside."""
    return read_profile(GOLDEN)


@pytest.fixture(scope="session")
def write_results(golden: Profile) -> WriteResults:
    """Write a folder of profiles whose EPF are those of one published GPU, or what a function makes of them."""

    def batch_of(
        batch: int, epf_j: float, kind: EnergyKind, spread: float, chance: random.Random
    ) -> BatchResult:
        like = golden.batches[0]
        return replace(
            like,
            batch=batch,
            energy=replace(like.energy, kind=kind, windows=windows(epf_j, batch, spread, chance, 6)),
            layers=like.layers[:2],
            paced=None,
            quality=(),
        )

    def write(
        folder: Path,
        *,
        gpu: str = "P100",
        change: Change = unchanged,
        spread: float = 0.003,
        runs: int = 1,
        run_spread: float = 0.0,
        regime: str = "inference",
        precision: str = "fp32",
        kind: EnergyKind = "measured",
        labels: tuple[str, ...] = (),
        seed: int = 0,
    ) -> Path:
        chance = random.Random(seed)
        tables = [one for one in published_series() if one.conditions.device == gpu]
        identity = {
            **golden.identity,
            "regime": regime,
            "precision": precision,
            "energy_kind": kind,
            "backend": "torch" if regime == "training" else "onnxruntime",
            "sensor": "nvml",
            "sensor_gpu": "Test GPU",
        }
        for run in range(runs):
            to = folder / f"run-{run + 1}"
            to.mkdir(parents=True, exist_ok=True)
            for family in ("mobilenet_v1", "resnext50"):
                of_family = [
                    one for one in tables if one.backbone is not None and one.backbone.family == family
                ]
                for column, network in enumerate(of_family[0].networks):
                    if labels and network.label not in labels:
                        continue
                    factor = chance.gauss(1.0, run_spread)
                    batches = tuple(
                        batch_of(
                            one.batch,
                            factor * change(family, network.label, one.batch, float(one.epf_j[0, column])),
                            kind,
                            spread,
                            chance,
                        )
                        for one in of_family
                    )
                    profile = replace(
                        golden,
                        created=f"2026-01-01T00:00:{run:02d}+00:00",
                        model=replace(network.model, precision=precision),
                        regime="training" if regime == "training" else "inference",
                        identity=identity,
                        batches=batches,
                    )
                    write_profile(profile, to / f"{network.model.name}-{regime}-{precision}.json")
        return folder

    return write
