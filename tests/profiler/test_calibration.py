import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from perframe.arrays import Array
from perframe.errors import InputError
from perframe.profiler.calibrate import derive
from perframe.profiler.calibration import default_uncertainty, read_calibration, write_calibration
from perframe.profiler.trace import analyse, trace_command
from perframe.profiler.trace_files import PowerTrace, read_trace

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
    assert mine.apply(sensor).power_w[0] == pytest.approx(60.0, abs=2.0)
    assert mine.apply(dataclasses.replace(sensor, uuid="GPU-1")) is not None
    for other in ({"uuid": "GPU-2"}, {"card": "H100"}):
        with pytest.raises(InputError, match="expected the card of the calibration"):
            mine.apply(dataclasses.replace(sensor, **other))  # type: ignore[arg-type]


def test_readings_beyond_the_calibrated_ones_are_named(tmp_path: Path) -> None:
    sensor, meter = run(tmp_path)
    brighter = dataclasses.replace(sensor, power_w=2.0 * sensor.power_w, column="power_draw_w")
    codes = {warning.code for warning in analyse(brighter, calibration=derive(sensor, meter)).warnings}
    assert {"beyond-calibration", "other-column"} <= codes


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
    assert default_uncertainty("NVIDIA A100-SXM4-40GB") == 0.08
    assert default_uncertainty("NVIDIA B200") == default_uncertainty(None) == 0.13
