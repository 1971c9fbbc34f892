"""Several builds of one engine, and engines that fill the device's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from perframe.engines.base import EngineArtifact
from perframe.engines.fake import Fake, FakeEngine
from perframe.engines.prepare import build_engine
from perframe.errors import OutOfMemoryError
from perframe.profiler import session
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import Profile
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.session import profile

PLAN = MeasurementPlan(batches=(1, 4), windows=3, window_s=0.2, layer_s=0.1)


@pytest.fixture
def builds(onnx_file: Path, tmp_path: Path) -> tuple[EngineArtifact, ...]:
    """Three engines of one model that take different times, as if each had chosen other kernels."""
    made = []
    for index, factor in enumerate((1.0, 1.2, 0.9)):
        artifact = build_engine(onnx_file, tmp_path / f"{index}.engine", engine="fake")
        layers = tuple(
            replace(layer, macs=None if layer.macs is None else int(layer.macs * factor))
            for layer in artifact.layers
        )
        made.append(replace(artifact, layers=layers, sha256=str(index)))
    return tuple(made)


def test_builds_are_the_observations_of_every_mean(builds: tuple[EngineArtifact, ...]) -> None:
    alone = [profile(build, PLAN, Modelled(10.0)) for build in builds]
    together = profile(dict.fromkeys(PLAN.batches, builds), PLAN, Modelled(10.0))
    assert together.complete
    for index, batch in enumerate(together.batches):
        assert [build.artifact_sha256 for build in batch.builds] == ["0", "1", "2"]
        assert len(batch.energy.windows) == 3 * PLAN.windows
        assert batch.energy.epf_j is not None and batch.energy.epf_j.n == 3
        means = [build.epf_j for build in batch.builds if build.epf_j is not None]
        assert batch.energy.epf_j.value == pytest.approx(fmean(means))
        within = alone[0].batches[index].energy.relative_uncertainty
        across = batch.energy.relative_uncertainty
        # Windows of one build say nothing of the next.
        assert within is not None and across is not None and across > 5.0 * within
        assert batch.latency is not None and batch.latency.mean.n == 3


class Small(Fake):
    """A device whose memory takes two frames."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    @contextmanager
    def open(self, artifact: EngineArtifact) -> Iterator[FakeEngine]:
        with super().open(artifact) as engine:
            bind, most = engine.bind, self.most

            def limited(inputs: dict[str, object]) -> None:
                if len(next(iter(inputs.values()))) > most:  # type: ignore[arg-type]
                    raise OutOfMemoryError("The device's memory is full.", "Give a smaller batch.")
                bind(inputs)  # type: ignore[arg-type]

            engine.bind = limited  # type: ignore[method-assign,assignment]
            yield engine


def on_a_small_device(
    artifact: EngineArtifact, monkeypatch: pytest.MonkeyPatch, most: int, batches: tuple[int, ...]
) -> Profile:
    monkeypatch.setattr(session, "backend_named", lambda name: Small(most))
    return profile(artifact, replace(PLAN, batches=batches), None)


def test_a_batch_that_does_not_fit_leaves_the_others(
    builds: tuple[EngineArtifact, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = on_a_small_device(builds[0], monkeypatch, 2, (8, 4, 2, 1))
    assert [batch.batch for batch in found.batches] == [2, 1]
    assert [failed.batch for failed in found.failed] == [8, 4] and not found.complete
    assert "memory is full" in found.failed[0].message


def test_where_none_fits_there_is_no_profile(
    builds: tuple[EngineArtifact, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutOfMemoryError):
        on_a_small_device(builds[0], monkeypatch, 0, (2, 1))


def test_an_engine_shared_by_batch_sizes_is_opened_once(
    builds: tuple[EngineArtifact, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    class Counting(Fake):
        @contextmanager
        def open(self, artifact: EngineArtifact) -> Iterator[FakeEngine]:
            opened.append(artifact.path)
            with super().open(artifact) as engine:
                yield engine

    monkeypatch.setattr(session, "backend_named", lambda name: Counting())
    profile(builds[0], PLAN, None)
    assert opened == [builds[0].path]
    profile({1: (builds[0],), 4: (builds[1],)}, PLAN, None)
    assert opened[1:] == [builds[0].path, builds[1].path]
