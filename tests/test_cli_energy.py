"""`perframe trace`, `perframe doctor` and calibrated profiles, as a user types them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from perframe.cli import run


def perframe(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(("name", "period_s"), [("steady_load_v100", 0.020), ("steady_load_a100", 0.101)])
def test_the_recorded_steady_traces(
    data_folder: Path, capsys: pytest.CaptureFixture[str], name: str, period_s: float
) -> None:
    code, out, _ = perframe(capsys, "trace", data_folder / "power_traces" / f"{name}.csv.gz", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["update_period_s"] == pytest.approx(period_s, rel=0.05)
    assert report["stationary"] and report["trustworthy"] and not report["aliased"]
    assert report["mean_w"]["low"] < report["mean_w"]["value"] < report["mean_w"]["high"]
    assert {"samples", "distinct_samples", "energy_j", "duration_s", "warnings"} <= report.keys()


def switches(path: Path) -> tuple[float, float]:
    with path.open(newline="") as file:
        times = [float(row["t_s"]) for row in csv.DictReader(file)]
    return times[0], times[-1]


@pytest.mark.parametrize("card", ["a100", "4090"])
def test_a_calibration_brings_a_step_within_a_per_cent_of_the_meter(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], card: str
) -> None:
    folder = data_folder / "power_traces"
    sensor, meter = folder / f"step_{card}_sensor.csv.gz", folder / f"step_{card}_meter.csv.gz"
    first_s, last_s = switches(folder / f"step_{card}_load.csv")
    span = ("--from", first_s, "--to", last_s, "--json")
    found = tmp_path / "calibration.json"
    assert perframe(capsys, "trace", sensor, "--meter", meter, "--calibrate", found)[0] == 0
    truth_j = json.loads(perframe(capsys, "trace", meter, *span)[1])["energy_j"]
    raw = json.loads(perframe(capsys, "trace", sensor, *span)[1])
    corrected = json.loads(perframe(capsys, "trace", sensor, *span, "--calibration", found)[1])
    assert abs(corrected["energy_j"] / truth_j - 1.0) <= 0.01
    # Uncorrected, what is stated as the absolute uncertainty contains the true error.
    assert 0.03 < abs(raw["energy_j"] / truth_j - 1.0) <= raw["absolute_uncertainty"]


def test_a_load_that_beats_with_its_sensor_is_never_trusted(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data_folder / "power_traces" / "square_wave_a100_sensor.csv.gz"
    report = json.loads(perframe(capsys, "trace", path, "--json")[1])
    assert report["aliased"] and not report["trustworthy"]
    assert report["mean_w"]["low"] is None
    assert "NO" in perframe(capsys, "trace", path)[1]


def steady(path: Path, rows: int = 6000, step_s: float = 0.01) -> Path:
    noise = np.random.default_rng(0).normal(60.0, 2.0, rows)
    path.write_text("t_s,power_w\n" + "".join(f"{i * step_s:.3f},{w:.3f}\n" for i, w in enumerate(noise)))
    return path


def test_a_steady_trace_gives_an_honest_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = perframe(capsys, "trace", steady(tmp_path / "t.csv"))
    assert code == 0
    assert "mean power" in out and "95 %" in out


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("", 5, "empty"),
        ("t_s,power_w\n0.0,50\n", 5, "sample"),
        ("t_s,power_w\n0.0,50\n2.0,51\n1.0,50\n", 5, "line 4"),
        ("when,what\n0,1\n1,2\n", 5, "what"),
        ("t_s,power_w\n0,[N/A]\n1,[N/A]\n2,[Unknown Error]\n", 5, "t.csv"),
        ("t_s,power_w\n0,-5\n1,nan\n2,inf\n", 5, "t.csv"),
    ],
)
def test_a_bad_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, word: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    found, out, err = perframe(capsys, "trace", path)
    assert found == code, err
    assert out == "" and word in err and len(err.splitlines()) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--calibrate", "c.json"),
        ("--from", "nan"),
        ("--from", "5", "--to", "1"),
        ("--power", "no_such_column"),
    ],
)
def test_contradicting_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, out, err = perframe(capsys, "trace", steady(tmp_path / "t.csv", rows=500), *arguments)
    assert code in (2, 5) and out == "" and len(err.splitlines()) == 2


CALIBRATION = {
    "schema": "perframe.calibration/1",
    "gain": 1.1,
    "offset_w": 5.0,
    "uncertainty": 0.01,
    "idle": {"sensor_w": 40.0, "meter_w": 49.0, "duration_s": 5.0},
    "load": {"sensor_w": 290.0, "meter_w": 324.0, "duration_s": 5.0},
    "column": "power_instant_w",
    "card": None,
    "uuid": None,
    "sensor_sha256": "0",
    "meter_sha256": "1",
}


def profiled(capsys: pytest.CaptureFixture[str], onnx_file: Path, *more: object) -> tuple[int, str, str]:
    common = ("--engine", "fake", "--windows", 3, "--window-s", 10, "--json")
    return perframe(capsys, "profile", onnx_file, *common, *more)


def test_a_profile_is_corrected_by_a_calibration(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(CALIBRATION))
    sensor = ("--sensor", "sim:v100,noise=0.2")
    raw = json.loads(profiled(capsys, onnx_file, *sensor)[1])["batches"][0]["energy"]
    code, out, err = profiled(capsys, onnx_file, *sensor, "--calibration", path)
    assert code == 0, err
    document = json.loads(out)
    corrected = document["batches"][0]["energy"]
    assert corrected["power_w"]["value"] == pytest.approx(1.1 * raw["power_w"]["value"] + 5.0, rel=0.002)
    assert corrected["idle_w"] == pytest.approx(1.1 * raw["idle_w"] + 5.0, rel=0.01)
    # The counter is corrected too, so the two sources still agree.
    assert corrected["counter_epf_j"] == pytest.approx(corrected["epf_j"]["value"], rel=0.03)
    assert corrected["absolute_uncertainty"] == 0.01
    codes = {quality["code"] for quality in document["batches"][0]["quality"]}
    # The file says nothing of the card, nor which of its readings it is of beyond "instant".
    assert "calibration-unidentified" in codes and not codes & {"beyond-calibration", "other-column"}
    assert document["identity"]["sensor_calibration_gain"] == 1.1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"column": "power.draw.average [W]"}, "other-column"),
        ({"load": {"sensor_w": 100.0, "meter_w": 115.0, "duration_s": 5.0}}, "beyond-calibration"),
    ],
)
def test_a_calibration_that_does_not_fit_claims_no_accuracy(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], code: str
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**CALIBRATION, **change}))
    done, out, err = profiled(
        capsys, onnx_file, "--sensor", "sim:v100,noise=0.2", "--calibration", path, "--fps", 50
    )
    assert done == 0, err
    batch = json.loads(out)["batches"][0]
    assert code in {quality["code"] for quality in batch["quality"]}
    # What an uncalibrated V100 is stated at.
    assert batch["energy"]["absolute_uncertainty"] == pytest.approx(0.10, abs=0.01)
    assert batch["paced"]["relative_uncertainty"] >= batch["paced"]["edge_error"] > 0.0


def test_the_windows_are_announced_with_the_time_they_take(
    onnx_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = perframe(
        capsys, "profile", onnx_file, "--engine", "fake", "--sensor", "sim:a100", "-b", 1, "-b", 2
    )
    assert code == 0, err
    first = next(line for line in out.splitlines() if line.startswith("batch 1: 10 windows of 16."))
    assert "the sensor updates every 10" in first and first.endswith("to go") and " 5 min" in first


@pytest.mark.parametrize(
    ("change", "sensor", "code"),
    [
        ({"uuid": "GPU-another"}, "sim:v100", 5),
        ({"schema": "perframe.calibration/9"}, "sim:v100", 5),
        ({"gain": -1.0}, "sim:v100", 5),
        ({}, "modelled", 2),
        ({}, "none", 2),
    ],
)
def test_a_calibration_that_does_not_fit(
    onnx_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    sensor: str,
    code: int,
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**CALIBRATION, **change}))
    found, out, err = profiled(capsys, onnx_file, "--sensor", sensor, "--calibration", path)
    assert found == code and out == "" and len(err.splitlines()) == 2, err


def test_doctor_tells_what_works_and_what_would_mend_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = perframe(capsys, "doctor", "--json")
    assert code == 0
    findings = {(each["topic"], each["name"]): each for each in json.loads(out)["findings"]}
    assert findings["engine", "onnxruntime"]["works"]
    assert findings["sensor", "modelled"]["works"]
    assert {"nvml", "rapl", "jetson"} <= {name for topic, name in findings if topic == "sensor"}
    for finding in findings.values():
        assert finding["what"]
        assert finding["works"] or finding["remedy"]
    assert "What can be used here" in perframe(capsys, "doctor")[1]


def test_doctor_characterises_only_what_gives_watts(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = perframe(capsys, "doctor", "--characterise", "modelled")
    assert code == 2 and out == "" and len(err.splitlines()) == 2
