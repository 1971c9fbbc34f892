"""What the machine is said to do, and what each GPU answers."""

import io

import pytest
from rich.console import Console

from perframe.engines.clock import VirtualClock
from perframe.errors import UnavailableError
from perframe.profiler.doctor import Diagnosis, gpu_answers
from perframe.profiler.sensors.nvml import capabilities
from perframe.profiler.sensors.nvml_library import load_pynvml
from perframe.profiler.sensors.simulated_gpu import Simulation
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml
from perframe.profiler.sensors.simulated_presets import PRESETS
from perframe.report.tables import diagnosis_table


@pytest.mark.parametrize("preset", ["p100", "a100", "orin"])
def test_every_question_is_shown_with_its_answer(preset: str) -> None:
    clock = VirtualClock()
    clock.sleep(100.0)
    library = SimulatedNvml([Simulation(PRESETS[preset], Load([(0.0, 1.0)]), clock.now_s)])
    (gpu,) = gpu_answers(lambda: library)
    (asked,) = capabilities(lambda: library)
    assert gpu.answers.keys() == asked.answers.keys()
    assert all(gpu.answers.values())
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(diagnosis_table(Diagnosis({}, (), (gpu,))))
    shown = console.export_text()
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
