"""Choosing a sensor by name."""

import subprocess
import sys
from pathlib import Path

import pytest

from perframe.errors import InputError, UnavailableError, UsageError
from perframe.profiler.sensors import rapl
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.sensors.rapl import Rapl
from perframe.profiler.sensors.registry import sensor_from, sensor_names
from perframe.profiler.sensors.replay import Replay
from perframe.profiler.sensors.simulated import Simulated
from perframe.profiler.sensors.simulated_gpu import Simulation
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml
from perframe.profiler.sensors.simulated_presets import PRESETS


def choose(spec: str, device: str = "cpu") -> Sensor | None:
    return sensor_from(spec, watts_per_core=10.0, device=device)


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    for file, text in {"name": "package-0", "energy_uj": "0", "max_energy_range_uj": "65532610987"}.items():
        (zone / file).write_text(text)
    return zone.parent


def test_names_choose_sensors(tmp_path: Path, powercap: Path) -> None:
    trace = tmp_path / "trace:1.csv"
    trace.write_text("t_s,power_w\n0,50\n1,50\n")
    assert choose("none") is None
    assert choose("modelled") == Modelled(10.0)
    assert choose(f"rapl:{powercap}") == Rapl(powercap)
    assert isinstance(choose(f"replay:{trace}", device="cuda:0"), Replay)
    assert isinstance(choose("sim:a100"), Simulated)
    assert sensor_names()[:6] == ("jetson", "modelled", "nvml", "rapl", "replay", "sim")


def test_auto_prefers_measured_and_falls_back_to_modelled_on_the_cpu(
    powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rapl, "POWERCAP", powercap)
    assert isinstance(choose("auto"), Rapl)
    (powercap / "intel-rapl:0" / "name").write_text("psys")
    assert choose("auto") == Modelled(10.0)


def test_a_sensor_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="found none") as caught:
        choose(f"rapl:{tmp_path}")
    assert "run on the host" in caught.value.hint


def test_auto_takes_nvml_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimulatedNvml([Simulation(PRESETS["a100"], Load())])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    sensor = choose("auto", device="cuda:0")
    assert sensor is not None and sensor.details["gpu"] == PRESETS["a100"].name


def test_auto_has_no_modelled_fallback_for_a_gpu() -> None:
    with pytest.raises(UnavailableError, match="cuda:0") as caught:
        choose("auto", device="cuda:0")
    assert "doctor" in caught.value.hint and "none" in caught.value.hint
    # What to do about each is for the hint and the doctor to say.
    assert "nvml" in caught.value.message and "jetson" in caught.value.message


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        choose("wattmeter")
    assert all(name in caught.value.hint for name in ("auto", "modelled", "none", "rapl", "replay"))


@pytest.mark.parametrize(
    ("spec", "device"), [("replay", "cpu"), ("modelled:5", "cpu"), ("modelled", "cuda:0"), ("none:x", "cpu")]
)
def test_requests_that_fit_no_sensor_are_usage_errors(spec: str, device: str) -> None:
    with pytest.raises(UsageError):
        choose(spec, device)


def test_missing_trace_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        choose(f"replay:{tmp_path / 'missing.csv'}")


def test_other_packages_plug_in_through_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "someones_meter.py").write_text(
        "from perframe.profiler.sensors.modelled import Modelled\n"
        "class Meter(Modelled):\n"
        "    name = 'meter'\n"
        "    @classmethod\n"
        "    def from_request(cls, request):\n"
        "        return cls(float(request.argument))\n"
    )
    info = tmp_path / "someones_meter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-meter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[perframe.sensors]\nmeter = someones_meter:Meter\nbroken = someones_meter:Absent\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sensor = choose("meter:42")
    assert sensor is not None and (sensor.name, sensor.details) == ("meter", {"watts_per_core": 42.0})
    assert {"meter", "broken"} <= set(sensor_names())
    with pytest.raises(UnavailableError, match="someones_meter:Absent"):
        choose("broken")


def test_choosing_one_sensor_loads_no_other() -> None:
    code = (
        "import sys\n"
        "from perframe.profiler.sensors.registry import sensor_from\n"
        "sensor_from('modelled', watts_per_core=1.0, device='cpu')\n"
        "loaded = set(sys.modules)\n"
        "assert 'perframe.profiler.sensors.rapl' not in loaded\n"
        "assert not loaded & {'torch', 'onnx', 'onnxruntime', 'pynvml'}, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
