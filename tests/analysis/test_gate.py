"""Stored profiles against thresholds, from real results of the fake engine."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perframe.analysis.gate import judge, read_runs
from perframe.analysis.metrics import METRICS
from perframe.analysis.verdict import Judgement, Outcome, Threshold
from perframe.engines.prepare import build_engine
from perframe.errors import InputError, UsageError
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import BatchResult, Profile, Quality, Window, write_profile
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.sensors.registry import sensor_from
from perframe.profiler.session import profile

EPF = Threshold("epf", max_increase=0.02)


@pytest.fixture(scope="module")
def result(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    artifact = build_engine(onnx_file, tmp_path_factory.mktemp("gate") / "engine", engine="fake")
    plan = MeasurementPlan(batches=(1, 4), windows=5, window_s=0.2)
    return profile(artifact, plan, Modelled(10.0))


def changed(
    result: Profile, batch: Callable[[BatchResult], BatchResult], only: tuple[int, ...] = (1, 4)
) -> Profile:
    """The result with some of its batch sizes changed."""
    batches = tuple(batch(each) if each.batch in only else each for each in result.batches)
    return replace(result, batches=batches)


def with_windows(
    result: Profile, window: Callable[[Window], Window], only: tuple[int, ...] = (1, 4)
) -> Profile:
    def batch(each: BatchResult) -> BatchResult:
        windows = tuple(window(w) for w in each.energy.windows)
        return replace(each, energy=replace(each.energy, windows=windows))

    return changed(result, batch, only)


def dearer(result: Profile, factor: float, only: tuple[int, ...] = (1, 4)) -> Profile:
    """The result of a network that takes so many times the energy and the time."""

    def window(each: Window) -> Window:
        assert each.energy_j is not None
        return replace(
            each, energy_j=each.energy_j * factor, p50_s=each.p50_s * factor, p99_s=each.p99_s * factor
        )

    return with_windows(result, window, only)


def judged(
    current: list[Profile], baseline: list[Profile], thresholds: list[Threshold], **options: Any
) -> Judgement:
    """The judgement where runs are known to differ by half a per cent."""
    return judge(current, baseline, thresholds, **{"run_spread": 0.005, **options})


def outcomes(judgement: Judgement) -> list[Outcome]:
    return [verdict.outcome for verdict in judgement.verdicts]


@pytest.mark.parametrize(
    ("factor", "outcome"),
    [(1.0, "pass"), (1.1, "regression"), (0.9, "improvement"), (1.02, "inconclusive"), (0.99, "pass")],
)
@pytest.mark.parametrize("metric", ["epf", "latency-p50"])
def test_every_batch_size_is_judged(result: Profile, metric: str, factor: float, outcome: Outcome) -> None:
    judgement = judged([dearer(result, factor)], [result], [Threshold(metric, max_increase=0.02)])
    assert [verdict.batch for verdict in judgement.verdicts] == [1, 4]
    assert outcomes(judgement) == [outcome, outcome]
    for verdict in judgement.verdicts:
        assert verdict.kind == ("modelled" if metric == "epf" else None)
        assert verdict.change is not None and verdict.change.value == pytest.approx(factor - 1.0)
        assert verdict.baseline is not None and verdict.current == pytest.approx(verdict.baseline * factor)


def test_figures_come_from_the_windows_and_not_from_what_was_printed(result: Profile) -> None:
    def printed(each: BatchResult) -> BatchResult:
        assert each.energy.epf_j is not None
        return replace(each, energy=replace(each.energy, epf_j=replace(each.energy.epf_j, value=99.0)))

    assert outcomes(judged([changed(result, printed)], [result], [EPF])) == ["pass", "pass"]


def test_one_worse_batch_size_is_enough_to_fail(result: Profile) -> None:
    judgement = judged([dearer(result, 1.2, only=(4,))], [result], [EPF])
    assert outcomes(judgement) == ["pass", "regression"]
    assert judgement.outcome == "regression"


def test_several_runs_of_the_same_spread_are_what_the_interval_rests_on(result: Profile) -> None:
    def runs(*factors: float) -> list[Profile]:
        return [dearer(result, factor) for factor in factors]

    steady = judge(runs(1.0, 1.0005, 0.9995), runs(1.0, 0.9995, 1.0005), [EPF]).verdicts[0]
    assert steady.outcome == "pass"
    assert steady.evidence is not None and steady.evidence.source == "measured"
    loose = judge(runs(1.0, 1.03, 0.97), runs(1.0, 0.97, 1.03), [EPF]).verdicts[0]
    assert loose.outcome == "inconclusive"
    stated = judge(runs(1.0), runs(1.0), [EPF], run_spread=0.02).verdicts[0]
    assert stated.outcome == "inconclusive"
    assert stated.evidence is not None and stated.evidence.source == "stated"


@pytest.mark.parametrize(("current", "baseline"), [(1, 1), (1, 2), (2, 1)])
def test_one_run_on_a_side_decides_nothing_however_large_the_change(
    result: Profile, current: int, baseline: int
) -> None:
    for factor in (0.5, 1.0, 2.0):
        verdict = judge([dearer(result, factor)] * current, [result] * baseline, [EPF]).verdicts[0]
        assert verdict.outcome == "inconclusive"
        assert verdict.change is not None and verdict.change.value == pytest.approx(factor - 1.0)
        assert verdict.evidence is not None and verdict.evidence.source == "unknown"


def test_one_run_tells_that_a_limit_is_far_away_and_no_more(result: Profile) -> None:
    mean = judge([result], [], [Threshold("epf", maximum=1.0)]).verdicts[0].current
    assert mean is not None
    for factor, outcome in ((1.4, "pass"), (1.1, "inconclusive"), (0.9, "inconclusive"), (0.7, "regression")):
        threshold = Threshold("epf", maximum=mean * factor, batches=(1,))
        assert outcomes(judge([result], [], [threshold])) == [outcome]


@pytest.mark.parametrize("run_spread", [-0.01, math.nan])
def test_a_spread_below_zero_is_none(result: Profile, run_spread: float) -> None:
    with pytest.raises(UsageError, match="--run-spread"):
        judge([result], [result], [EPF], run_spread=run_spread)


def test_a_key_that_nothing_has_is_not_ignored_in_silence(result: Profile) -> None:
    elsewhere = replace(result, identity={**result.identity, "gpu": "A100"})
    with pytest.raises(UsageError, match="nosuchkey") as refused:
        judged([elsewhere], [result], [EPF], ignore=["gpu", "nosuchkey"])
    assert "gpu, " in refused.value.hint and "inputs_sha256" in refused.value.hint
    assert (
        outcomes(judged([elsewhere], [result], [EPF], ignore=["gpu", "fps", "model_sha256"])) == ["pass"] * 2
    )


def test_absolute_limits_need_no_baseline(result: Profile) -> None:
    mean = judged([result], [result], [EPF]).verdicts[0].current
    assert mean is not None
    for factor, outcome in ((1.1, "pass"), (0.9, "regression"), (1.001, "inconclusive")):
        threshold = Threshold("epf", maximum=mean * factor, batches=(1,))
        assert outcomes(judged([result], [], [threshold])) == [outcome]
    with pytest.raises(UsageError, match="nothing to compare with"):
        judged([result], [], [EPF])


def test_a_limit_in_joules_counts_what_the_sensor_may_be_off(result: Profile) -> None:
    def unsure(each: BatchResult) -> BatchResult:
        return replace(each, energy=replace(each.energy, absolute_uncertainty=0.2))

    mean = judged([result], [result], [EPF]).verdicts[0].current
    assert mean is not None
    threshold = Threshold("epf", maximum=1.1 * mean, batches=(1,))
    assert outcomes(judged([changed(result, unsure)], [], [threshold])) == ["inconclusive"]
    # Against a baseline of the same sensor it cancels.
    assert outcomes(judged([changed(result, unsure)], [changed(result, unsure)], [EPF])) == ["pass", "pass"]


def test_every_key_of_the_identity_that_differs_is_named_and_can_be_ignored(result: Profile) -> None:
    for key, value in result.identity.items():
        other = "other" if value != "other" else "another"
        elsewhere = replace(result, identity={**result.identity, key: other})
        verdict = judged([elsewhere], [result], [EPF]).verdicts[0]
        assert verdict.outcome == "incomparable"
        assert [(each.key, each.baseline, each.current) for each in verdict.differences] == [
            (key, value, other)
        ]
        ignored = judged([elsewhere], [result], [EPF], ignore=[key])
        assert outcomes(ignored) == ["pass", "pass"]
        assert [each.key for each in ignored.ignored] == [key]


def test_other_inputs_are_incomparable(result: Profile) -> None:
    other = changed(result, lambda each: replace(each, inputs_sha256="0" * 64))
    verdict = judged([other], [result], [EPF]).verdicts[0]
    assert [each.key for each in verdict.differences] == ["inputs_sha256"]


def test_another_model_is_what_a_gate_is_for_but_not_among_runs_of_one_side(result: Profile) -> None:
    other = replace(result, model=replace(result.model, sha256="0" * 64), plan=MeasurementPlan(windows=7))
    assert outcomes(judged([other], [result], [EPF])) == ["pass", "pass"]
    verdict = judged([result, other], [result], [EPF]).verdicts[0]
    assert verdict.outcome == "incomparable"
    assert [each.key for each in verdict.differences] == ["model_sha256"]


def test_modelled_energy_never_meets_measured_whatever_is_ignored(result: Profile) -> None:
    measured = changed(result, lambda each: replace(each, energy=replace(each.energy, kind="measured")))
    measured = replace(measured, identity={**result.identity, "energy_kind": "measured"})
    for ignore in ([], ["energy_kind"]):
        verdict = judged([measured], [result], [EPF], ignore=ignore).verdicts[0]
        assert verdict.outcome == "incomparable"
        assert [each.key for each in verdict.differences] == ["energy_kind"]
    latency = Threshold("latency-p50", max_increase=0.02)
    assert outcomes(judged([measured], [result], [latency], ignore=["energy_kind"])) == ["pass", "pass"]


def test_a_batch_size_that_is_missing_on_one_side_does_not_slip_through(result: Profile) -> None:
    one = replace(result, batches=result.batches[:1])
    for current, baseline, which in ((one, result, "current"), (result, one, "baseline")):
        verdicts = judged([current], [baseline], [EPF]).verdicts
        assert [each.outcome for each in verdicts] == ["pass", "incomparable"]
        assert which in verdicts[1].reason and "batch 4" in verdicts[1].reason
    assert outcomes(judged([one], [result], [replace(EPF, batches=(1,))])) == ["pass"]
    assert outcomes(judged([one], [one], [replace(EPF, batches=(16,))])) == ["incomparable"]


def test_invalid_measurements_are_never_judged(result: Profile) -> None:
    bad = Quality("throttled", "invalid", "Clocks were held down.", "Cool it.")
    hot = changed(result, lambda each: replace(each, quality=(*each.quality, bad)), only=(4,))
    for current, baseline in ((hot, result), (result, hot), (dearer(hot, 2.0), result)):
        verdict = judged([current], [baseline], [EPF]).verdicts[1]
        assert verdict.outcome == "invalid" and verdict.findings == (bad,)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_window_that_is_no_number_is_invalid(result: Profile, value: float) -> None:
    def window(each: Window) -> Window:
        return replace(each, energy_j=value) if each.start_s == 0.0 else each

    broken = with_windows(result, window)
    assert judged([broken], [result], [EPF]).outcome == "invalid"
    assert judged([result], [broken], [EPF]).outcome == "invalid"


def test_one_window_gives_no_verdict_and_none_is_nothing_to_compare(result: Profile) -> None:
    def cut(windows: int) -> Profile:
        return changed(
            result,
            lambda each: replace(each, energy=replace(each.energy, windows=each.energy.windows[:windows])),
        )

    assert outcomes(judged([dearer(cut(1), 2.0)], [result], [EPF])) == ["inconclusive"] * 2
    assert outcomes(judged([result], [cut(1)], [EPF], run_spread=0.001)) == ["inconclusive"] * 2
    for name in ("epf", "latency-p50"):
        verdict = judged([result], [cut(0)], [Threshold(name, max_increase=0.02)]).verdicts[0]
        assert (verdict.outcome, verdict.reason) == (
            "incomparable",
            "The baseline holds no windows: profile again.",
        )
        empty = with_windows(result, lambda each: replace(each, frames=0))
        verdict = judged([empty], [result], [Threshold(name, max_increase=0.02)]).verdicts[0]
        assert verdict.outcome == "incomparable" and "current holds no frames" in verdict.reason


def test_energy_that_is_not_there_is_no_pass(result: Profile) -> None:
    without = with_windows(result, lambda each: replace(each, energy_j=None))
    without = changed(without, lambda each: replace(each, energy=replace(each.energy, kind="absent")))
    verdict = judged([without], [without], [EPF]).verdicts[0]
    assert verdict.outcome == "incomparable" and "--sensor" in verdict.reason
    for metric, hint in (("epf-above-idle", "at rest"), ("paced-epf", "--fps")):
        verdict = judged([result], [result], [Threshold(metric, max_increase=0.02)]).verdicts[0]
        assert verdict.outcome == "incomparable" and hint in verdict.reason


def test_energy_of_nothing_decides_nothing(result: Profile) -> None:
    nothing = with_windows(result, lambda each: replace(each, energy_j=0.0))
    assert outcomes(judged([result], [nothing], [EPF])) == ["inconclusive"] * 2
    assert outcomes(judged([nothing], [], [Threshold("epf", maximum=1.0)])) == ["inconclusive"] * 2


def test_a_regression_names_the_modules_that_rose_most(result: Profile) -> None:
    def slower(each: BatchResult) -> BatchResult:
        layers = tuple(
            replace(row, latency_s=row.latency_s * 3.0, energy_j=(row.energy_j or 0.0) * 3.0)
            if row.module == "blocks.2.grouped.conv"
            else row
            for row in each.layers
        )
        return replace(each, layers=layers)

    current = changed(dearer(result, 1.2), slower)
    for metric, unit in (("epf", "J"), ("latency-p50", "s")):
        verdict = judged([current], [result], [Threshold(metric, max_increase=0.02)]).verdicts[0]
        assert [(each.module, each.unit) for each in verdict.moved] == [("blocks.2.grouped.conv", unit)]
        assert verdict.moved[0].current == pytest.approx(3.0 * (verdict.moved[0].baseline or 0.0))
    without = changed(current, lambda each: replace(each, layers=()))
    assert judged([without], [result], [EPF]).verdicts[0].moved == ()


def test_energy_above_idle_and_at_a_pace_are_judged_from_their_own_windows(
    onnx_file: Path, tmp_path: Path
) -> None:
    artifact = build_engine(onnx_file, tmp_path / "engine", engine="fake")
    sensor = sensor_from("sim:v100,noise=0", watts_per_core=1.0, device="fake")
    plan = MeasurementPlan(windows=3, window_s=0.5, fps=200.0, layer_s=0.0, edge_error=0.1)
    result = profile(artifact, plan, sensor)
    thresholds = [Threshold(name, max_increase=0.3) for name in METRICS]
    judgement = judged([result], [result], thresholds)
    assert outcomes(judgement) == ["pass"] * len(METRICS), judgement.verdicts
    means = {verdict.threshold.metric: verdict.current or 0.0 for verdict in judgement.verdicts}
    assert means["epf-above-idle"] < means["epf"] < means["paced-epf"]
    paced = result.batches[0].paced
    assert paced is not None
    slower = changed(result, lambda each: replace(each, paced=replace(paced, fps=100.0)))
    verdict = judged([slower], [result], [Threshold("paced-epf", max_increase=0.05)]).verdicts[0]
    assert [each.key for each in verdict.differences] == ["fps"]


def test_files_are_read_before_anything_is_judged(result: Profile, tmp_path: Path) -> None:
    good, other, cut, newer, empty = (
        tmp_path / f"{name}.json" for name in ("good", "other", "cut", "newer", "empty")
    )
    write_profile(result, good)
    write_profile(again(result), other)
    assert read_runs([good], [other]) == ([result], [again(result)])
    cut.write_text(good.read_text()[:1000])
    newer.write_text(json.dumps({"schema": "perframe.profile/99"}))
    write_profile(dataclasses.replace(result, batches=()), empty)
    for bad in (tmp_path / "missing.json", cut, newer, empty, tmp_path):
        with pytest.raises(InputError):
            read_runs([good], [bad])
        with pytest.raises(InputError):
            read_runs([bad], [good])
    link = tmp_path / "link.json"
    link.symlink_to(good)
    for same in (good, link):
        with pytest.raises(UsageError, match="named twice"):
            read_runs([good], [same])
    with pytest.raises(UsageError, match="named twice"):
        read_runs([good], [other, other])


def again(result: Profile) -> Profile:
    """What the fake engine would give at another time."""
    return replace(result, created="2026-01-01T00:00:00+00:00")


def test_a_copy_is_no_second_run_and_no_baseline(result: Profile, tmp_path: Path) -> None:
    first, second, copy = (tmp_path / f"{name}.json" for name in ("first", "second", "copy"))
    write_profile(result, first)
    write_profile(again(result), second)
    shutil.copy(first, copy)
    for current, baseline in (([first], [copy]), ([first, copy], [second]), ([second], [first, copy])):
        with pytest.raises(InputError, match=r"copy\.json: the same measurement as .*first\.json"):
            read_runs(current, baseline)


def test_no_two_measurements_agree_to_the_last_digit(result: Profile, tmp_path: Path) -> None:
    real = replace(result, engine=replace(result.engine, backend="onnxruntime"))
    first, edited = tmp_path / "first.json", tmp_path / "edited.json"
    write_profile(real, first)
    write_profile(again(replace(real, batches=real.batches[1:])), edited)
    with pytest.raises(InputError, match="the same measurement"):
        read_runs([edited], [first])
    write_profile(dearer(real, 1.001), edited)
    assert read_runs([edited], [first]) == ([dearer(real, 1.001)], [real])
