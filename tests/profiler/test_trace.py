import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from perframe.arrays import Array
from perframe.errors import UsageError
from perframe.profiler.power_series import mean_power_w
from perframe.profiler.trace import TraceReport, analyse, report_to_json, trace_command
from perframe.profiler.trace_files import read_trace


def analysed(path: Path, from_s: float | None = None, to_s: float | None = None) -> TraceReport:
    return analyse(read_trace(path), from_s, to_s)


def written(path: Path, t_s: Array, power_w: Array) -> Path:
    rows = (f"{t:.6f},{w:.4f}\n" for t, w in zip(t_s, power_w, strict=True))
    path.write_text("t_s,power_w\n" + "".join(rows))
    return path


def codes(report: TraceReport) -> set[str]:
    return {warning.code for warning in report.warnings}


@pytest.mark.parametrize(("card", "period_s"), [("v100", 0.020), ("a100", 0.101)])
def test_steady_traces_give_the_sensors_period_and_a_mean(
    data_folder: Path, card: str, period_s: float
) -> None:
    report = analysed(data_folder / f"power_traces/steady_load_{card}.csv.gz")
    assert report.update_period_s == pytest.approx(period_s, rel=0.05)
    assert report.stationary and report.trustworthy and not report.aliased
    assert report.mean_w.low is not None and report.mean_w.high is not None
    assert report.mean_w.low < report.mean_w.value < report.mean_w.high < 1.02 * report.mean_w.value
    assert report.energy_j == pytest.approx(report.mean_w.value * report.duration_s)
    assert report.distinct_samples < report.samples / 2


@pytest.mark.parametrize("span", [(None, None), (0.0, 7.9), (0.5, 6.5)])
def test_the_square_wave_that_beats_is_never_trusted(
    data_folder: Path, span: tuple[float | None, float | None]
) -> None:
    report = analysed(data_folder / "power_traces/square_wave_a100_sensor.csv.gz", *span)
    assert report.aliased and not report.trustworthy and not report.stationary
    assert report.mean_w.low is None
    assert {"aliased"} <= codes(report)
    assert report.beat_period_s == pytest.approx(3.4, rel=0.1)


@pytest.mark.parametrize("column", ["power_instant_w", "power_draw_w"])
def test_no_span_of_the_square_wave_is_trusted(data_folder: Path, column: str) -> None:
    folder = data_folder / "power_traces"
    trace = read_trace(folder / "square_wave_a100_sensor.csv.gz", power_column=column)
    meter = read_trace(folder / "square_wave_a100_meter.csv.gz")
    worst = 0.0
    for length_s in (0.5, 1.0, 2.0, 3.3, 5.0, 7.5):
        for from_s in np.arange(0.0, 7.93 - length_s, 0.4):
            report = analyse(trace, from_s, from_s + length_s)
            assert report.aliased and not report.trustworthy and not report.stationary
            truth_w = float(mean_power_w(meter.t_s, meter.power_w, np.array([from_s, from_s + length_s]))[0])
            off = abs(truth_w / report.mean_w.value - 1.0)
            assert report.beat_error is not None and report.absolute_uncertainty is not None
            assert off < report.beat_error + report.absolute_uncertainty
            worst = max(worst, off)
    assert worst > 0.4


@pytest.mark.parametrize("span", [(-1.5, -0.1), (8.0, 9.0), (8.0, 11.0)])
def test_rest_beside_a_load_that_beats_is_fine(data_folder: Path, span: tuple[float, float]) -> None:
    report = analysed(data_folder / "power_traces/square_wave_a100_sensor.csv.gz", *span)
    assert not report.aliased and report.trustworthy and report.beat_period_s is None
    assert report.mean_w.value == pytest.approx(59.5, abs=1.0)


@pytest.mark.parametrize(
    ("name", "spans"),
    [("step_a100_sensor", 60), ("step_4090_sensor", 60), ("step_a100_meter", 10), ("steady_load_v100", 15)],
)
def test_spans_of_other_loads_raise_no_false_alarm(data_folder: Path, name: str, spans: int) -> None:
    trace = read_trace(data_folder / f"power_traces/{name}.csv.gz")
    moments = np.random.default_rng(2).uniform(trace.t_s[0], trace.t_s[-1] - 0.5, size=(spans, 2))
    for from_s, to_s in np.sort(moments, axis=1):
        report = analyse(trace, from_s, to_s + 0.5)
        assert report.trustworthy and not report.aliased, (from_s, to_s)


def test_a_known_load_period_shows_a_beat_that_is_too_slow_to_see(data_folder: Path) -> None:
    whole = read_trace(data_folder / "power_traces/square_wave_a100_sensor.csv.gz")
    short = (whole.t_s > 0.5) & (whole.t_s < 4.0)
    trace = dataclasses.replace(whole, t_s=whole.t_s[short], power_w=whole.power_w[short])
    assert not analyse(trace).aliased
    assert analyse(trace, load_period_s=0.1044).aliased


@pytest.mark.parametrize(
    "name", ["step_a100_sensor", "step_4090_sensor", "step_a100_meter", "step_4090_meter"]
)
def test_a_load_switched_once_is_not_stationary_and_not_aliased(data_folder: Path, name: str) -> None:
    report = analysed(data_folder / f"power_traces/{name}.csv.gz")
    assert not report.stationary and not report.aliased and report.trustworthy
    assert report.mean_w.low is None
    assert "not-stationary" in codes(report)


def test_a_steady_span_of_a_step_has_an_interval(data_folder: Path) -> None:
    report = analysed(data_folder / "power_traces/step_4090_sensor.csv.gz", 1.5, 5.8)
    assert report.stationary
    assert report.mean_w.low is not None
    assert report.mean_w.value == pytest.approx(384.5, abs=0.2)
    assert (report.from_s, report.to_s) == (1.5, 5.8)
    assert report.duration_s == pytest.approx(4.3)


def test_repeated_readings_count_for_their_time_but_not_as_observations(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    updates = 60.0 + random.normal(size=300)
    t_s = np.arange(0.0, 29.9, 0.01)
    once = analysed(written(tmp_path / "a.csv", np.arange(300) * 0.1, updates))
    polled = analysed(written(tmp_path / "b.csv", t_s, updates[(t_s / 0.1 + 1e-6).astype(int)]))
    assert polled.samples == 2990 and polled.distinct_samples == 299
    assert polled.update_period_s == pytest.approx(0.1, rel=0.01)
    widths = [
        r.mean_w.high - r.mean_w.low for r in (once, polled) if r.mean_w.high is not None and r.mean_w.low
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.3)


def test_too_short_says_how_much_longer(tmp_path: Path) -> None:
    report = analysed(
        written(tmp_path / "a.csv", np.arange(22) * 0.1, 60.0 + np.random.default_rng(1).normal(size=22))
    )
    assert report.mean_w.low is None and report.longer_s is not None and report.longer_s > 0
    assert "too-short" in codes(report)


@pytest.mark.parametrize(("watts", "code", "trusted"), [(60.0, "constant", True), (0.0, "no-power", False)])
def test_a_reading_that_stands_still_has_no_interval(
    tmp_path: Path, watts: float, code: str, trusted: bool
) -> None:
    report = analysed(written(tmp_path / "a.csv", np.arange(100) * 0.1, np.full(100, watts)))
    assert report.update_period_s is None and report.mean_w.low is None
    assert code in codes(report) and report.trustworthy is trusted


@pytest.mark.parametrize("span", [(5.0, 2.0), (-3.0, None), (None, 99.0), (1.01, 1.02)])
def test_a_span_outside_of_the_trace_is_refused(
    tmp_path: Path, span: tuple[float | None, float | None]
) -> None:
    path = written(tmp_path / "a.csv", np.arange(100) * 0.1, np.arange(100.0))
    with pytest.raises(UsageError, match=r"between 0 and 9\.9 s"):
        analysed(path, *span)


def test_the_json_has_the_promised_fields(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", np.arange(100) * 0.1, 60.0 + np.arange(100) % 3)
    report, calibration = trace_command(path)
    document = json.loads(report_to_json(report))
    assert calibration is None and document["schema"] == "perframe.trace/1"
    promised = "update_period_s samples distinct_samples mean_w energy_j duration_s stationary warnings"
    assert set(promised.split()) <= set(document)
    assert set(document["mean_w"]) == {"value", "low", "high", "n"}


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", np.arange(10) * 0.1, np.arange(10.0))
    with pytest.raises(UsageError, match="--calibrate"):
        trace_command(path, calibrate=tmp_path / "out.json")
    with pytest.raises(UsageError, match="--meter"):
        trace_command(path, meter=path, calibration=path)
    with pytest.raises(UsageError, match="the output is also the input"):
        trace_command(path, meter=path, calibrate=path)
