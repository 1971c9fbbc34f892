import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from perframe.arrays import Array
from perframe.errors import InputError
from perframe.profiler.calibrate import derive
from perframe.profiler.calibration import (
    default_accuracy,
    holds,
    read_calibration,
    write_calibration,
)
from perframe.profiler.power_series import mean_power_w
from perframe.profiler.sensors.base import Accuracy
from perframe.profiler.trace import TraceReport, analyse, trace_command
from perframe.profiler.trace_files import PowerTrace, read_trace

# When the load is switched off, and when the recording of the run ends.
OFF = {"a100": 5.969917, "4090": 5.981277}
RUNS = {"a100": 11.969999, "4090": 11.981386}


def recorded(data_folder: Path, name: str) -> PowerTrace:
    return read_trace(data_folder / f"power_traces/{name}.csv.gz")


def written(path: Path, t_s: Array, power_w: Array) -> PowerTrace:
    rows = (f"{t:.4f},{w:.3f}\n" for t, w in zip(t_s, power_w, strict=True))
    path.write_text("t_s,power_w\n" + "".join(rows))
    return read_trace(path)


def run(tmp_path: Path, *, gain: float = 0.95, offset_w: float = -5.0) -> tuple[PowerTrace, PowerTrace]:
    """A sensor and a meter beside a load of 60 and 200 W that is on from 3 to 9 of 14 seconds."""
    random = np.random.default_rng(0)
    meter_s, sensor_s = np.arange(0.0, 14.0, 0.005), np.arange(0.0, 14.0, 0.1)

    def truth_w(t_s: Array) -> Array:
        return np.where((t_s >= 3.0) & (t_s < 9.0), 200.0, 60.0) + random.normal(0.0, 0.5, size=len(t_s))

    return (
        written(tmp_path / "sensor.csv", sensor_s, (truth_w(sensor_s) - offset_w) / gain),
        written(tmp_path / "meter.csv", meter_s, truth_w(meter_s)),
    )


def codes(report: TraceReport) -> set[str]:
    return {warning.code for warning in report.warnings}


@pytest.mark.parametrize("card", ["a100", "4090"])
def test_a_calibration_brings_the_run_to_the_meter(data_folder: Path, card: str) -> None:
    sensor, meter = recorded(data_folder, f"step_{card}_sensor"), recorded(data_folder, f"step_{card}_meter")
    true_j = analyse(meter, 0.0, RUNS[card]).energy_j
    raw = analyse(sensor, 0.0, RUNS[card])
    corrected = analyse(sensor, 0.0, RUNS[card], derive(sensor, meter))
    assert corrected.energy_j == pytest.approx(true_j, rel=0.01)
    assert corrected.absolute_uncertainty is not None and corrected.absolute_uncertainty < 0.03
    assert abs(corrected.energy_j / true_j - 1.0) < corrected.absolute_uncertainty
    assert raw.absolute_uncertainty is not None
    assert 0.03 < abs(raw.energy_j / true_j - 1.0) < raw.absolute_uncertainty


def test_a_calibration_does_not_make_the_aliased_square_wave_trustworthy(
    data_folder: Path, tmp_path: Path
) -> None:
    folder, out = data_folder / "power_traces", tmp_path / "a100.json"
    trace_command(folder / "step_a100_sensor.csv.gz", meter=folder / "step_a100_meter.csv.gz", calibrate=out)
    report, calibration = trace_command(
        folder / "square_wave_a100_sensor.csv.gz", calibration=out, from_s=0.0, to_s=7.9
    )
    assert calibration is not None and report.gain == calibration.gain
    assert report.aliased and not report.trustworthy


@pytest.mark.parametrize(
    ("sensor", "meter", "says"),
    [
        ("square_wave_a100_sensor", "square_wave_a100_meter", "too little load"),
        ("steady_load_a100", "steady_load_a100", "one level"),
        ("step_a100_sensor", "step_4090_meter", "no sensor error"),
        ("steady_load_a100", "step_a100_meter", "does not follow"),
    ],
)
def test_what_cannot_calibrate_is_refused(data_folder: Path, sensor: str, meter: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        derive(recorded(data_folder, sensor), recorded(data_folder, meter))


def test_gain_and_offset_are_found(tmp_path: Path) -> None:
    calibration = derive(*run(tmp_path))
    assert calibration.gain == pytest.approx(0.95, rel=0.005)
    assert calibration.offset_w == pytest.approx(-5.0, abs=0.5)
    assert calibration.uncertainty == 0.01
    assert calibration.energy_j(100.0, 2.0) == pytest.approx(
        100.0 * calibration.gain + 2.0 * calibration.offset_w
    )


def test_a_meter_on_another_clock_is_refused(tmp_path: Path) -> None:
    sensor, meter = run(tmp_path)
    with pytest.raises(InputError, match="in common"):
        derive(sensor, dataclasses.replace(meter, t_s=meter.t_s + 100.0))
    with pytest.raises(InputError, match="does not follow"):
        derive(sensor, dataclasses.replace(meter, t_s=meter.t_s - 3.0))
    with pytest.raises(InputError, match="dates in only one"):
        derive(sensor, dataclasses.replace(meter, started="2026-11-21T02:58:11"))
    dated = dataclasses.replace(sensor, started="2026-11-21T02:58:11")
    late = dataclasses.replace(meter, t_s=meter.t_s - 1.0, started="2026-11-21T02:58:12")
    assert derive(dated, late).gain == pytest.approx(0.95, rel=0.005)


def test_a_calibration_of_another_card_is_refused(tmp_path: Path) -> None:
    sensor, meter = run(tmp_path)
    mine = derive(dataclasses.replace(sensor, card="A100", uuid="GPU-1"), meter)
    assert analyse(sensor, 0.0, 2.5, mine).mean_w.value == pytest.approx(60.0, abs=0.5)
    assert analyse(dataclasses.replace(sensor, uuid="GPU-1"), calibration=mine).gain == mine.gain
    for other in ({"uuid": "GPU-2"}, {"card": "H100"}):
        with pytest.raises(InputError, match="expected the card of the calibration"):
            analyse(dataclasses.replace(sensor, **other), calibration=mine)  # type: ignore[arg-type]


def test_an_offset_carries_no_reading_below_zero(tmp_path: Path) -> None:
    calibration = derive(*run(tmp_path))
    assert calibration.correct(np.array([0.0, 100.0]))[0] == 0.0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"column": "power.draw.average"}, "other-column"),
        ({"column": "module.power.draw.instant"}, "other-column"),
        ({}, "beyond-calibration"),
    ],
)
def test_where_a_calibration_does_not_fit_its_uncertainty_is_not_claimed(
    tmp_path: Path, change: dict[str, str], code: str
) -> None:
    sensor, meter = run(tmp_path)
    sensor = dataclasses.replace(sensor, column="power.draw.instant", domain="gpu", card="NVIDIA A100")
    calibration = derive(sensor, meter)
    assert analyse(sensor, calibration=calibration).absolute_uncertainty == calibration.uncertainty
    # The load twice as far above rest as the calibrated one.
    factor = 1.0 if change else 2.0
    other = dataclasses.replace(sensor, power_w=factor * sensor.power_w, **change)  # type: ignore[arg-type]
    report = analyse(other, calibration=calibration)
    assert code in codes(report) and "calibration-unidentified" not in codes(report)
    expected = default_accuracy("NVIDIA A100").at(report.mean_w.value)
    assert report.absolute_uncertainty == pytest.approx(expected)
    elsewhere = analyse(dataclasses.replace(other, domain="board"), calibration=calibration)
    assert elsewhere.absolute_uncertainty is None


def test_a_calibration_of_an_unnamed_card_is_said_to_be_one(tmp_path: Path) -> None:
    sensor, meter = run(tmp_path)
    calibration = derive(sensor, meter)
    assert "calibration-unidentified" not in codes(analyse(sensor, calibration=calibration))
    again = written(tmp_path / "again.csv", sensor.t_s, sensor.power_w + 0.25)
    report = analyse(again, calibration=calibration)
    assert codes(report) & {"other-column", "beyond-calibration", "calibration-unidentified"} == {
        "calibration-unidentified"
    }
    # The user vouches for it.
    assert report.absolute_uncertainty == calibration.uncertainty


def test_the_calibration_of_another_unnamed_card_claims_no_accuracy(
    data_folder: Path, tmp_path: Path
) -> None:
    folder, out = data_folder / "power_traces", tmp_path / "cal_4090.json"
    sensor = folder / "step_4090_sensor.csv.gz"
    trace_command(sensor, meter=folder / "step_4090_meter.csv.gz", calibrate=out)
    report, _ = trace_command(
        folder / "step_a100_sensor.csv.gz", from_s=0.0, to_s=RUNS["a100"], calibration=out
    )
    true_j = analyse(recorded(data_folder, "step_a100_meter"), 0.0, RUNS["a100"]).energy_j
    assert {"other-column", "calibration-unidentified"} <= codes(report)
    assert report.absolute_uncertainty is not None
    assert 0.05 < abs(report.energy_j / true_j - 1.0) < report.absolute_uncertainty


def test_how_a_calibration_is_used_does_not_depend_on_the_spelling_of_the_field(tmp_path: Path) -> None:
    sensor, meter = run(tmp_path)
    calibration = derive(dataclasses.replace(sensor, column="power_instant_w", uuid="GPU-1"), meter)
    for field, same in {"186 instant": True, "power.draw.instant": True, "185 average": False}.items():
        assert calibration.use(field, None, None).same_field is same
    used = calibration.use(None, None, "GPU-1")
    assert used.same_field and used.identified and not calibration.use(None, "A100", None).identified
    assert [used.low_w, used.high_w] == pytest.approx([46.0, 214.0], abs=1.0)
    assert holds(used, 60.0, 200.0) and not holds(used, 30.0, 200.0) and not holds(used, 60.0, 240.0)
    assert not holds(calibration.use("185 average", None, None), 60.0, 200.0)


def test_calibrations_are_kept_in_versioned_files(tmp_path: Path) -> None:
    calibration, path = derive(*run(tmp_path)), tmp_path / "calibration.json"
    write_calibration(calibration, path)
    assert read_calibration(path) == calibration
    document = json.loads(path.read_text())
    assert document["schema"] == "perframe.calibration/1"
    for change, says in [
        ({"schema": "perframe.calibration/9"}, "perframe.calibration/9"),
        ({"gain": "much"}, "gain"),
        ({"gain": -1.0}, "gain above 0"),
    ]:
        path.write_text(json.dumps(document | change))
        with pytest.raises(InputError, match=says):
            read_calibration(path)
    path.write_text("{")
    with pytest.raises(InputError, match="not a JSON document"):
        read_calibration(path)


def test_uncertainty_without_a_calibration_is_that_of_the_kind_of_card() -> None:
    assert default_accuracy("NVIDIA A100-SXM4-40GB").relative == 0.08
    assert default_accuracy("NVIDIA B200").relative == default_accuracy(None).relative == 0.13
    assert default_accuracy("NVIDIA GeForce RTX 4090 Laptop GPU").relative == 0.13


def test_watts_that_a_sensor_is_off_matter_more_at_low_power() -> None:
    accuracy = Accuracy(0.05, 10.0)
    assert accuracy.at(500.0) == pytest.approx(0.054, rel=0.01)
    assert accuracy.at(50.0) == pytest.approx(0.206, rel=0.01)
    assert accuracy.at(5.0) == accuracy.at(0.0) == 1.0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("card", ["a100", "4090"])
def test_without_a_calibration_the_truth_lies_within_what_is_stated(
    data_folder: Path, card: str, known: bool
) -> None:
    sensor, meter = recorded(data_folder, f"step_{card}_sensor"), recorded(data_folder, f"step_{card}_meter")
    names = {"a100": "NVIDIA A100", "4090": "NVIDIA GeForce RTX 4090"}
    accuracy = default_accuracy(names[card] if known else None)
    # Half a second after a switch the sensor shows the new level.
    levels_s = ((meter.t_s[0], 0.0), (0.5, OFF[card]), (OFF[card] + 0.5, RUNS[card]))
    closest = 1.0
    for begin_s, end_s in levels_s:
        for from_s in np.arange(begin_s, end_s - 1.0, 0.1):
            for to_s in np.arange(from_s + 1.0, end_s, 0.1):
                span = np.array([from_s, to_s])
                read_w, true_w = (float(mean_power_w(t.t_s, t.power_w, span)[0]) for t in (sensor, meter))
                # Of the truth as of the reading: readers take it for either.
                off = max(abs(read_w / true_w - 1.0), abs(true_w / read_w - 1.0))
                closest = min(closest, accuracy.at(read_w) - off)
    assert 0.0 < closest < 0.2


def test_a_span_at_rest_states_what_it_may_be_off(data_folder: Path) -> None:
    report = analyse(recorded(data_folder, "step_4090_sensor"), 8.0, 11.5)
    truth_w = analyse(recorded(data_folder, "step_4090_meter"), 8.0, 11.5).mean_w.value
    assert report.absolute_uncertainty is not None
    assert 0.25 < 1.0 - report.mean_w.value / truth_w < report.absolute_uncertainty < 0.6
