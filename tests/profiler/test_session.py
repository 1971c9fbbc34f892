"""The whole measurement: deterministic with the fake engine, for real with ONNX Runtime."""

import dataclasses
import json
from pathlib import Path

import pytest

from perframe.engines.base import EngineArtifact
from perframe.engines.prepare import build_engine
from perframe.errors import MeasurementError, UnavailableError, UsageError
from perframe.profiler.lock import device_lock
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import Profile, profile_to_json, read_profile, write_profile
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.sensors.replay import Replay
from perframe.profiler.session import profile
from perframe.profiler.summary import by_module

PLAN = MeasurementPlan(batches=(1, 4), windows=4, window_s=0.2)


@pytest.fixture
def fake(onnx_file: Path, tmp_path: Path) -> EngineArtifact:
    return build_engine(onnx_file, tmp_path / "engine", engine="fake")


def measured(
    artifact: EngineArtifact, plan: MeasurementPlan = PLAN, sensor: Sensor | None = None, wait_s: float = 0.0
) -> Profile:
    return profile(artifact, plan, sensor, wait_s=wait_s)


def test_the_fake_engine_gives_the_same_profile_every_time(fake: EngineArtifact) -> None:
    first, second = (measured(fake, sensor=Modelled(10.0)) for _ in range(2))
    assert first.batches == second.batches
    assert first.identity == second.identity


def test_windows_keep_their_length_and_warm_up_ends_when_steady(fake: EngineArtifact) -> None:
    for batch in measured(fake).batches:
        assert all(window.duration_s >= 0.2 for window in batch.energy.windows)
        assert len(batch.energy.windows) == PLAN.windows
        assert batch.warm_up is not None and batch.warm_up.steady
        assert batch.warm_up.duration_s < PLAN.warm_up_s


def test_every_figure_follows_from_the_windows(fake: EngineArtifact) -> None:
    result = measured(fake, sensor=Modelled(10.0))
    for batch in result.batches:
        energy, windows = batch.energy, batch.energy.windows
        assert energy.kind == "modelled"
        # One core is busy all the time, so the power is its stated watts.
        assert energy.power_w is not None and energy.power_w.value == pytest.approx(10.0, rel=1e-6)
        frames, seconds = sum(w.frames for w in windows), sum(w.duration_s for w in windows)
        assert batch.latency is not None
        assert batch.latency.frames_per_s == pytest.approx(frames / seconds)
        assert energy.epf_j is not None
        assert energy.epf_j.value == pytest.approx(10.0 * seconds / frames, rel=0.01)
        assert energy.epf_j.n == len(windows)
        assert energy.idle_w is None and energy.epf_above_idle_j is None


def test_layers_share_the_whole_and_their_energies_add_up(fake: EngineArtifact) -> None:
    for batch in measured(fake, sensor=Modelled(10.0)).batches:
        assert sum(layer.share for layer in batch.layers) == pytest.approx(1.0)
        assert batch.attributed_share == pytest.approx(1.0)
        assert {layer.energy_method for layer in batch.layers} == {"attributed"}
        assert batch.energy.epf_j is not None
        assert sum(layer.energy_j or 0.0 for layer in batch.layers) == pytest.approx(batch.energy.epf_j.value)
        assert sum(total.share for total in by_module(batch.layers)) == pytest.approx(1.0)


def test_larger_batches_take_longer_but_cost_a_frame_less(fake: EngineArtifact) -> None:
    one, four = measured(fake, sensor=Modelled(10.0)).batches
    assert four.latency and one.latency and four.latency.p50_s > one.latency.p50_s
    assert four.energy.epf_j and one.energy.epf_j and four.energy.epf_j.value < one.energy.epf_j.value


def test_without_a_sensor_there_is_no_energy_rather_than_zero(fake: EngineArtifact) -> None:
    for batch in measured(fake).batches:
        assert batch.energy.kind == "absent"
        assert batch.energy.epf_j is None and batch.energy.power_w is None
        assert {window.energy_j for window in batch.energy.windows} == {None}
        assert {layer.energy_j for layer in batch.layers} == {None}
        assert "energy-absent" in {quality.code for quality in batch.quality}


def write_trace(path: Path, seconds: float, watts: float = 30.0) -> Path:
    rows = [f"{i * 0.02:.2f},{watts + 0.1 * (i % 2):.1f}" for i in range(int(seconds / 0.02) + 1)]
    path.write_text("t_s,power_w\n" + "\n".join(rows) + "\n")
    return path


def test_a_replayed_trace_gives_its_watts_and_says_so(fake: EngineArtifact, tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace.csv", seconds=120)
    for batch in measured(fake, sensor=Replay(trace)).batches:
        energy = batch.energy
        assert energy.power_w is not None and energy.power_w.value == pytest.approx(30.0, rel=0.02)
        # The trace knows no load: at rest it reads the same watts.
        assert energy.idle_w == pytest.approx(30.0, rel=0.05)
        assert energy.epf_above_idle_j is not None
        assert abs(energy.epf_above_idle_j.value) < 0.1 * (energy.epf_j.value if energy.epf_j else 0.0)
        assert "energy-replayed" in {quality.code for quality in batch.quality}


def test_a_sensor_that_ends_half_way_costs_nothing_that_was_finished(
    fake: EngineArtifact, tmp_path: Path
) -> None:
    whole = measured(fake, sensor=Modelled(1.0)).batches[0]
    assert whole.warm_up is not None
    length_s = whole.warm_up.duration_s + sum(w.duration_s for w in whole.energy.windows) + 4 * PLAN.idle_s
    kept: list[Profile] = []
    sensor = Replay(write_trace(tmp_path / "short.csv", seconds=length_s + 0.5))
    with pytest.raises(MeasurementError):
        profile(fake, PLAN, sensor, keep=kept.append)
    assert [batch.batch for batch in kept[-1].batches] == [1]
    assert not kept[-1].complete


def test_the_result_reads_back_as_it_was(fake: EngineArtifact, tmp_path: Path) -> None:
    result = measured(fake, sensor=Modelled(10.0))
    write_profile(result, tmp_path / "profile.json")
    assert read_profile(tmp_path / "profile.json") == result


def test_a_result_promises_the_agreed_shape(fake: EngineArtifact) -> None:
    document = json.loads(profile_to_json(measured(fake, sensor=Modelled(10.0))))
    assert document["schema"] == "perframe.profile/1"
    assert document["regime"] == "inference"
    assert {"name", "family", "variant", "group_size", "groups", "precision", "input_shape", "sha256", "params",
            "macs", "activations"} <= document["model"].keys()  # fmt: skip
    assert {"backend", "version", "device", "artifact_sha256", "build_s"} <= document["engine"].keys()
    batch = document["batches"][0]
    assert {"p50_s", "p90_s", "p99_s", "mean", "frames_per_s"} <= batch["latency"].keys()
    assert {"kind", "sensor", "domain", "epf_j", "epf_above_idle_j", "power_w", "idle_w", "absolute_uncertainty",
            "windows"} <= batch["energy"].keys()  # fmt: skip
    assert {"start_s", "duration_s", "frames", "energy_j"} <= batch["energy"]["windows"][0].keys()
    assert {"name", "module", "op", "onnx_nodes", "latency_s", "share", "macs", "params", "activations",
            "intensity", "group_size", "energy_j", "energy_method"} <= batch["layers"][0].keys()  # fmt: skip
    assert {"code", "severity", "message", "hint"} <= batch["quality"][0].keys()


def test_a_device_that_is_being_measured_is_refused_and_the_holder_named(fake: EngineArtifact) -> None:
    with device_lock("fake"), pytest.raises(UnavailableError, match=r"another process: process \d+ since"):
        measured(fake)
    measured(fake, dataclasses.replace(PLAN, batches=(1,)))


def test_the_second_waits_if_told_to(fake: EngineArtifact) -> None:
    with device_lock("fake"), pytest.raises(UnavailableError):
        measured(fake, wait_s=0.1)


@pytest.mark.parametrize("batches", [(0,), (-1,), (), (1, 1)])
def test_impossible_batches_are_refused(batches: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        MeasurementPlan(batches=batches)


def test_the_deployed_engine_is_measured_and_led_back_to_modules(onnx_file: Path, tmp_path: Path) -> None:
    """The real thing, short: ONNX Runtime on the CPU at its highest optimisation level."""
    artifact = build_engine(onnx_file, tmp_path / "engine")
    plan = MeasurementPlan(batches=(1, 3), windows=3, window_s=0.05, warm_up_s=1.0)
    result = measured(artifact, plan, Modelled(10.0))
    assert result.complete
    for batch in result.batches:
        assert batch.attributed_share is not None and batch.attributed_share >= 0.99
        assert batch.layers_sum_s is not None and batch.layers_gap_s is not None and batch.latency is not None
        assert batch.layers_sum_s + batch.layers_gap_s == pytest.approx(batch.latency.p50_s)
        assert sum(layer.macs or 0 for layer in batch.layers) == result.model.macs
        assert batch.latency.p50_s <= batch.latency.p90_s <= batch.latency.p99_s
        assert batch.energy.power_w is not None and batch.energy.power_w.value > 0
    modules = {layer.module for layer in result.batches[0].layers}
    assert {"stem.conv", "blocks.0.grouped.conv", "blocks.12.pointwise.conv", "fc"} <= modules
