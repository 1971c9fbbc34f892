"""What the machine is said to do, and what each GPU answers."""

import io
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from perframe.cli import run
from perframe.engines.clock import VirtualClock
from perframe.engines.cuda import cuda_unavailable
from perframe.engines.registry import backend_names
from perframe.errors import UnavailableError
from perframe.profiler.doctor import Diagnosis, examine, gpu_answers
from perframe.profiler.finding import Finding
from perframe.profiler.sensors.nvml import capabilities
from perframe.profiler.sensors.nvml_library import load_pynvml
from perframe.profiler.sensors.simulated_gpu import Simulation
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml
from perframe.profiler.sensors.simulated_presets import PRESETS
from perframe.report.doctor import diagnosis_table


def printed(diagnosis: Diagnosis) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(diagnosis_table(diagnosis))
    return console.export_text()


@pytest.mark.parametrize("preset", ["p100", "a100", "orin"])
def test_every_question_is_shown_with_its_answer(preset: str) -> None:
    clock = VirtualClock()
    clock.sleep(100.0)
    library = SimulatedNvml([Simulation(PRESETS[preset], Load([(0.0, 1.0)]), clock.now_s)])
    (gpu,) = gpu_answers(lambda: library)
    (asked,) = capabilities(lambda: library)
    assert gpu.answers.keys() == asked.answers.keys()
    assert all(gpu.answers.values())
    shown = printed(Diagnosis({}, (), (gpu,)))
    for question, told in gpu.answers.items():
        line = next(line for line in shown.splitlines() if line.strip().startswith(question))
        assert told.split()[0] in line
    # Nobody's files or names: a process is counted, not named.
    assert "pid" not in shown


def test_a_machine_without_gpus_has_none_to_ask() -> None:
    try:
        found = capabilities(load_pynvml)
    except UnavailableError:
        assert gpu_answers() == ()
    else:
        assert len(gpu_answers()) == len(found)


def test_everything_is_looked_at_and_what_fails_has_a_remedy() -> None:
    steps: list[float] = []
    found = examine(progress=lambda what, fraction: steps.append(fraction)).findings
    subjects = {(each.topic, each.name) for each in found}
    assert subjects >= {("engine", name) for name in backend_names()}
    assert subjects >= {("sensor", name) for name in ("rapl", "nvml", "jetson", "modelled")}
    assert subjects >= {("device", "cpu"), ("energy", "cpu"), ("checkpoints", "torch")}
    assert all(each.what for each in found)
    assert all(each.remedy for each in found if not each.works)
    assert steps == sorted(steps) and len(steps) > len(backend_names())


def test_energy_is_measured_only_where_a_sensor_measures_it() -> None:
    found = examine().findings
    (cpu,) = (each for each in found if (each.topic, each.name) == ("energy", "cpu"))
    (rapl,) = (each for each in found if (each.topic, each.name) == ("sensor", "rapl"))
    assert cpu.works is rapl.works
    # What would let it be measured is what would mend the sensor.
    assert cpu.remedy == rapl.remedy


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_is_printed_can_be_shown_to_strangers(tmp_path: Path, form: tuple[str, ...]) -> None:
    home = tmp_path / "zebra"
    # A package of the user's that cannot be loaded, and says from where.
    broken = home / "site" / "tensorrt"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError(f'{__file__}: broken')\n")
    private = {"HOME": str(home), "USER": "zebra", "LOGNAME": "zebra", "API_TOKEN": "hunter2"}
    private["XDG_CACHE_HOME"] = str(home / ".cache")
    path = os.pathsep.join([str(home / "site"), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-m", "perframe", "doctor", *form],
        env={**os.environ, **private, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    flat = "".join(ended.stdout.split())
    assert "TensorRTcannotbeloaded" in flat
    for name in ("zebra", str(tmp_path), "hunter2"):
        assert name not in flat
    # A machine called "vm" or "cpu" shares its name with words.
    assert len(platform.node()) < 4 or platform.node() not in flat


def test_torch_is_not_imported_to_say_that_it_is_there() -> None:
    program = "import sys; from perframe.cli import run; run(['doctor']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_the_document_names_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "perframe.doctor/1"
    assert {"topic", "name", "works", "what", "remedy", "builds"} == document["findings"][0].keys()


def test_facts_are_shown_as_people_read_them() -> None:
    shown = printed(Diagnosis({"cpus": 2.0, "memory_bytes": 25276514304.0, "power_mode": None}, (), ()))
    facts = dict(line.split(maxsplit=1) for line in shown.splitlines()[:3])
    assert {key: value.strip() for key, value in facts.items()} == {
        "cpus": "2",
        "memory_bytes": "25.3 GB",
        "power_mode": "–",
    }


def test_what_only_builds_has_a_mark_of_its_own() -> None:
    findings = (
        Finding("engine", "whole", True, "is there"),
        Finding("engine", "half", False, "can build", "a driver", builds=True),
        Finding("engine", "none", False, "is missing", "install it"),
    )
    lines = printed(Diagnosis({}, findings, ())).splitlines()
    marks = {line.split()[2]: line.split()[0] for line in lines if " engine " in line}
    assert len(set(marks.values())) == 3 and marks["whole"] == "✓"


@pytest.mark.tensorrt
def test_an_engine_that_cannot_run_here_is_no_engine_that_works() -> None:
    pytest.importorskip("tensorrt_rtx")
    (found,) = (each for each in examine().findings if each.name == "tensorrt-rtx")
    if cuda_unavailable() is None:
        assert found.works and not found.builds
    else:
        assert found.builds and not found.works and found.remedy
