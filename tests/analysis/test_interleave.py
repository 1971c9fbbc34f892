"""Two engines measured in turn: quickly with the fake engine, for real with ONNX Runtime."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from perframe.analysis.interleave import Budget, Interleaved, interleave
from perframe.analysis.paired import FIRST_LOOK
from perframe.analysis.verdict import Threshold
from perframe.engines.base import EngineArtifact
from perframe.engines.clock import Clock
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.prepare import build_engine
from perframe.errors import MeasurementError, UnavailableError, UsageError
from perframe.profiler.lock import device_lock
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.sensors.base import EnergySample, Reader, Sensor
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.sensors.registry import sensor_from

EPF = Threshold("epf", max_increase=0.02)
PLAN = MeasurementPlan(window_s=0.05, warm_up_s=1.0, layer_s=0.05)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `onnx_file` with larger groups: more MACs in the grouped layers, same inputs."""
    folder = tmp_path_factory.mktemp("larger")
    new_checkpoint(
        "mobilenet-v1", folder / "c.pth.tar", group_size=32, width=0.25, classes=10, input_shape=(3, 64, 64)
    )
    convert(folder / "c.pth.tar", folder / "larger.onnx", input_shape=(3, 64, 64), parity=False)
    return folder / "larger.onnx"


def engines(tmp_path: Path, *models: Path, engine: str = "fake") -> list[EngineArtifact]:
    return [
        build_engine(model, tmp_path / f"{index}.engine", engine=engine, threads=1)
        for index, model in enumerate(models)
    ]


def gated(
    artifacts: list[EngineArtifact],
    thresholds: Sequence[Threshold] = (EPF,),
    plan: MeasurementPlan = PLAN,
    sensor: Sensor | None = Modelled(10.0),  # noqa: B008 - frozen
    **options: object,
) -> Interleaved:
    return interleave(artifacts[0], artifacts[1], plan, sensor, thresholds, **options)  # type: ignore[arg-type]


def test_the_same_network_passes_at_the_first_look(onnx_file: Path, tmp_path: Path) -> None:
    found = gated(engines(tmp_path, onnx_file, onnx_file), (EPF, Threshold("latency-p50", max_increase=0.02)))
    assert [verdict.outcome for verdict in found.judgement.verdicts] == ["pass", "pass"]
    (pairs,) = found.pairs
    assert len(pairs.baseline_first) == FIRST_LOOK < pairs.planned == 20
    assert len(pairs.baseline.energy.windows) == len(pairs.current.energy.windows) == FIRST_LOOK


def test_a_dearer_network_fails_and_its_layers_are_named(
    onnx_file: Path, larger: Path, tmp_path: Path
) -> None:
    plan = dataclasses.replace(PLAN, batches=(1, 4))
    found = gated(engines(tmp_path, onnx_file, larger), plan=plan)
    assert [(each.batch, each.outcome, each.kind) for each in found.judgement.verdicts] == [
        (1, "regression", "modelled"),
        (4, "regression", "modelled"),
    ]
    for verdict in found.judgement.verdicts:
        assert verdict.evidence is not None and verdict.evidence.design == "pairs"
        assert verdict.moved and all("grouped" in (each.module or "") for each in verdict.moved)
    backwards = gated(engines(tmp_path, larger, onnx_file))
    assert backwards.judgement.outcome == "improvement"


def test_windows_alternate_in_random_order_without_overlap(
    onnx_file: Path, larger: Path, tmp_path: Path
) -> None:
    (pairs,) = gated(
        engines(tmp_path, onnx_file, larger),
        (Threshold("latency-p99", max_increase=0.1447),),
        budget=Budget(pairs=12),
    ).pairs
    before, after = pairs.baseline.energy.windows, pairs.current.energy.windows
    assert True in pairs.baseline_first and False in pairs.baseline_first
    end_s = 0.0
    for first, one, other in zip(pairs.baseline_first, before, after, strict=True):
        for window in (one, other) if first else (other, one):
            # Each engine runs in before its window, so the sensor sees nothing of the other.
            assert window.start_s >= end_s + 0.2
            end_s = window.start_s + window.duration_s


def test_pairs_end_with_the_time_and_leave_it_inconclusive(onnx_file: Path, tmp_path: Path) -> None:
    artifacts = engines(tmp_path, onnx_file, onnx_file)
    found = gated(artifacts, budget=Budget(seconds=2.0))
    (verdict,) = found.judgement.verdicts
    assert verdict.outcome == "inconclusive" and "pairs of windows only" in verdict.reason
    assert found.pairs == ()


def test_what_stays_unclear_uses_all_pairs(onnx_file: Path, larger: Path, tmp_path: Path) -> None:
    artifacts = engines(tmp_path, onnx_file, larger)
    noisy = sensor_from("sim:v100,noise=5", watts_per_core=1.0, device="fake")
    change = gated(artifacts, sensor=noisy).judgement.verdicts[0].change
    assert change is not None
    # The tolerance is the change, so that there is nothing to tell apart.
    same = (Threshold("epf", max_increase=change.value),)
    found = gated(artifacts, same, sensor=noisy, budget=Budget(pairs=8))
    assert found.judgement.outcome == "inconclusive"
    assert len(found.pairs[0].baseline_first) == found.pairs[0].planned == 8


def test_a_power_sensor_is_given_time_to_catch_up(onnx_file: Path, larger: Path, tmp_path: Path) -> None:
    sensor = sensor_from("sim:v100", watts_per_core=1.0, device="fake")
    found = gated(
        engines(tmp_path, onnx_file, larger),
        plan=MeasurementPlan(layer_s=0.0),
        sensor=sensor,
        budget=Budget(pairs=8),
    )
    (verdict,) = found.judgement.verdicts
    assert verdict.outcome == "regression" and verdict.kind == "modelled"
    period_s = found.pairs[0].baseline.energy.update_period_s
    assert period_s == pytest.approx(0.02, rel=0.1)
    assert period_s is not None
    assert all(window.duration_s >= 10 * period_s for window in found.pairs[0].current.energy.windows)


def test_what_the_device_went_through_can_spoil_it(onnx_file: Path, larger: Path, tmp_path: Path) -> None:
    sensor = sensor_from("sim:v100,throttle=3+2", watts_per_core=1.0, device="fake")
    found = gated(engines(tmp_path, onnx_file, larger), plan=MeasurementPlan(layer_s=0.0), sensor=sensor)
    (verdict,) = found.judgement.verdicts
    assert verdict.outcome == "invalid"
    assert "throttled" in {finding.code for finding in verdict.findings}


def test_engines_that_differ_in_more_than_the_network_are_not_measured(
    onnx_file: Path, tmp_path: Path
) -> None:
    one, other = engines(tmp_path, onnx_file, onnx_file)
    other = dataclasses.replace(other, model=dataclasses.replace(other.model, precision="fp16"))
    found = gated([one, other])
    (verdict,) = found.judgement.verdicts
    assert verdict.outcome == "incomparable" and found.pairs == ()
    assert [(each.key, each.baseline, each.current) for each in verdict.differences] == [
        ("precision", "fp32", "fp16")
    ]
    ignored = gated([one, other], ignore=["precision"])
    assert ignored.judgement.outcome == "pass"
    assert [each.key for each in ignored.judgement.ignored] == ["precision"]


def test_a_key_that_is_not_compared_cannot_be_ignored(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nosuchkey"):
        gated(engines(tmp_path, onnx_file, onnx_file), ignore=["precision", "nosuchkey"])


@dataclasses.dataclass(frozen=True)
class Broken(Modelled):
    """Its counter is no number after so many readings."""

    good: int = 20

    @contextmanager
    def open(self, clock: Clock) -> Iterator[Reader]:  # type: ignore[override]
        with super().open(clock) as reader:
            left = iter(range(self.good))

            class Counter:
                def read(self) -> EnergySample:
                    good = reader.read()
                    return good if next(left, None) is not None else EnergySample(good.t_s, math.nan)

            yield Counter()


def test_a_sensor_that_gives_no_number_ends_it(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="epf: a window gave nan"):
        gated(engines(tmp_path, onnx_file, onnx_file), sensor=Broken(10.0))


@pytest.mark.parametrize(
    "threshold",
    [
        Threshold("epf", maximum=0.3),
        Threshold("epf-above-idle", max_increase=0.02),
        Threshold("paced-epf", max_increase=0.02),
        Threshold("epf", max_increase=0.02, batches=(16,)),
    ],
)
def test_what_pairs_cannot_judge_is_refused(onnx_file: Path, tmp_path: Path, threshold: Threshold) -> None:
    with pytest.raises(UsageError):
        gated(engines(tmp_path, onnx_file, onnx_file), (threshold,))


def test_energy_without_a_sensor_is_refused(onnx_file: Path, tmp_path: Path) -> None:
    artifacts = engines(tmp_path, onnx_file, onnx_file)
    with pytest.raises(UsageError, match="without a sensor"):
        gated(artifacts, sensor=None)
    latency = (Threshold("latency-p50", max_increase=0.02),)
    assert gated(artifacts, latency, sensor=None).judgement.outcome == "pass"


def test_the_device_is_held_and_devices_do_not_mix(onnx_file: Path, tmp_path: Path) -> None:
    artifacts = engines(tmp_path, onnx_file, onnx_file)
    with device_lock("fake"), pytest.raises(UnavailableError):
        gated(artifacts)
    with pytest.raises(UsageError, match="built for cpu"):
        gated([artifacts[0], dataclasses.replace(artifacts[1], device="cpu")])


def test_two_deployed_engines_are_measured_in_turn_for_real(
    onnx_file: Path, larger: Path, tmp_path: Path
) -> None:
    artifacts = engines(tmp_path, onnx_file, larger, engine="onnxruntime")
    plan = dataclasses.replace(PLAN, window_s=0.02, warm_up_s=0.2)
    wide = (Threshold("latency-p50", max_increase=1.0), Threshold("epf", max_increase=1.0))
    first, second = (gated(pair, wide, plan) for pair in (artifacts, artifacts[::-1]))
    for one, other in zip(first.judgement.verdicts, second.judgement.verdicts, strict=True):
        # Whichever is dearer, it is so from either side.
        assert one.change is not None and other.change is not None
        assert (1.0 + one.change.value) * (1.0 + other.change.value) == pytest.approx(1.0, abs=0.3)
    for window in first.pairs[0].current.energy.windows:
        assert window.energy_j == pytest.approx(10.0 * (window.cpu_s or 0.0), rel=0.2)
