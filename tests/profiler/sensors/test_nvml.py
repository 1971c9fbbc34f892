"""The NVML sensor on every kind of GPU: an explicit status for every question, and never a silent zero."""

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest

from perframe.engines.clock import VirtualClock
from perframe.errors import MeasurementError, UnavailableError, UsageError
from perframe.profiler.sensors.base import Monitor, Sensor
from perframe.profiler.sensors.nvml import GpuCapabilities, Nvml, capabilities
from perframe.profiler.sensors.nvml_answers import Status
from perframe.profiler.sensors.nvml_library import (
    POWER_AVERAGE,
    POWER_INSTANT,
    SCOPE_GPU,
    SCOPE_MODULE,
    ErrorCode,
    ThrottleField,
    Virtualization,
)
from perframe.profiler.sensors.simulated_gpu import SimulatedGpu, Simulation, Throttle
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import TENANT_PID, SimulatedNvml, SimulatedNvmlError
from perframe.profiler.sensors.simulated_presets import PRESETS

NO = int(ErrorCode.NOT_SUPPORTED)
INSTANT, MODULE = (POWER_INSTANT, SCOPE_GPU), (POWER_INSTANT, SCOPE_MODULE)
AVERAGE = (POWER_AVERAGE, SCOPE_GPU)
COUNTER, LEGACY = "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"
PROCESSES = [f"nvmlDeviceGetComputeRunningProcesses{version}" for version in ("", "_v2", "_v3")]


def failing(gpu: SimulatedGpu, *calls: str | tuple[int, int], code: int = NO) -> SimulatedGpu:
    return replace(gpu, failures={**gpu.failures, **dict.fromkeys(calls, code)})


@dataclass
class Machine:
    """A machine with one simulated GPU at work for ever, and a clock."""

    gpu: SimulatedGpu

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.clock.sleep(100.0)
        simulation = Simulation(self.gpu, Load([(0.0, 1.0)]), self.clock.now_s)
        self.library = SimulatedNvml([simulation])

    @property
    def sensor(self) -> Nvml:
        return Nvml("0", None, lambda: self.library)

    @property
    def capabilities(self) -> GpuCapabilities:
        (found,) = capabilities(lambda: self.library)
        return found


# Which of the readings each kind answers: instant, module, average, legacy, counter; and what is then used.
KINDS: dict[str, tuple[SimulatedGpu, str, str]] = {
    "Pascal P100": (PRESETS["p100"], "i--l-", "186 instant"),
    "Pascal P4000": (
        replace(PRESETS["gtx1080"], name="Quadro P4000"),
        "---l-",
        "nvmlDeviceGetPowerUsage",
    ),
    "Volta": (PRESETS["v100"], "i--lc", "186 instant"),
    "Turing": (PRESETS["rtx2080ti"], "i--lc", "186 instant"),
    "Ampere GA100": (PRESETS["a100"], "i--lc", "186 instant"),
    "Ampere GA102": (PRESETS["rtx3090"], "i-alc", "186 instant"),
    "Ampere GA102, driver without 186": (failing(PRESETS["rtx3090"], INSTANT), "--alc", "185 average"),
    "Ada": (PRESETS["rtx4090"], "i-alc", "186 instant"),
    "Hopper": (PRESETS["h100"], "i-alc", "186 instant"),
    "Grace Hopper": (PRESETS["gh200"], "imalc", "186 instant"),
    "WSL": (
        failing(PRESETS["rtx3090"], COUNTER, "nvmlDeviceGetPersistenceMode", *PROCESSES),
        "i-al-",
        "186 instant",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_question_has_an_explicit_answer(kind: str) -> None:
    gpu, pattern, field = KINDS[kind]
    machine = Machine(gpu)
    answers = machine.capabilities.answers
    statuses = {what: told.status for what, told in answers.items()}
    readings = [name for name in answers if name.endswith(("power (W)", "module (W)", "counter (J)"))]
    assert [statuses[name] for name in readings] == [
        Status.NOT_SUPPORTED if letter == "-" else Status.OK for letter in pattern
    ]
    for what, told in answers.items():
        assert (told.value is not None) == (told.status is Status.OK), what
        assert told.value is not None or told.reason, what
    assert all(answers[name].value != 0 for name in readings)
    assert machine.sensor.unavailable() is None
    assert machine.sensor.details["field"] == field


@pytest.mark.parametrize("kind", KINDS)
def test_watts_and_joules_are_those_of_the_gpu(kind: str) -> None:
    gpu, pattern, _ = KINDS[kind]
    machine = Machine(replace(gpu, noise_w=0.0))
    with machine.sensor.open(machine.clock) as reader:
        assert isinstance(reader, Monitor)
        sample, before = reader.read(), reader.counter()
        machine.clock.sleep(10 * (gpu.counter_period_s or 1.0))
        after = reader.counter()
    seen_w = gpu.gain * gpu.active_w + gpu.offset_w
    assert sample.t_s == 100.0
    assert sample.power_w == pytest.approx(seen_w, abs=1e-3)
    if pattern.endswith("c") and "m" not in pattern:
        assert before is not None and after is not None
        watts = (after.energy_j - before.energy_j) / (after.t_s - before.t_s)
        assert watts == pytest.approx(seen_w, rel=1e-3)
    else:
        assert before is None and after is None
        assert machine.sensor.details["counter"] != "ok"


def test_average_power_is_used_with_a_warning_only() -> None:
    assert "warning" not in Machine(PRESETS["rtx3090"]).sensor.details
    details = Machine(failing(PRESETS["rtx3090"], INSTANT)).sensor.details
    assert "averages" in str(details["warning"])


def test_grace_hopper_is_labelled_module_where_only_that_answers() -> None:
    module = Machine(failing(PRESETS["gh200"], INSTANT)).sensor
    assert (module.domain, module.details["scope"]) == ("module", "module")
    assert "whole module" in str(module.details["warning"]) and module.details["counter"] == "ok"
    # Where both answer, the module's counter is not held against the GPU's watts.
    gpu = Machine(PRESETS["gh200"]).sensor
    assert gpu.domain == "gpu"
    assert "covers the module" in str(gpu.details["counter"])


def test_orin_answers_nothing_and_is_led_to_its_rails() -> None:
    machine = Machine(PRESETS["orin"])
    found = machine.capabilities
    assert {told.status for told in found.answers.values()} == {Status.NOT_SUPPORTED}
    reason = machine.sensor.unavailable()
    assert reason is not None and found.unavailable == reason
    assert "instant power: not supported" in reason and "--sensor jetson" in reason
    with pytest.raises(UnavailableError):
        _ = machine.sensor.domain


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (replace(PRESETS["a100"], mig=True), "MIG is on"),
        (replace(PRESETS["a100"], virtualization=Virtualization.VGPU), "vGPU"),
        (replace(PRESETS["a100"], virtualization=Virtualization.HOST_VGPU), "vGPU"),
    ],
)
def test_shared_gpus_are_refused(gpu: SimulatedGpu, said: str) -> None:
    machine = Machine(gpu)
    reason = machine.sensor.unavailable()
    assert reason is not None and said in reason and reason.count("\n") == 1
    assert machine.capabilities.unavailable == reason
    with pytest.raises(UnavailableError, match=said), machine.sensor.open(machine.clock):
        pass


def test_passthrough_is_a_whole_gpu() -> None:
    gpu = replace(PRESETS["a100"], virtualization=Virtualization.PASSTHROUGH)
    assert Machine(gpu).sensor.unavailable() is None


def test_no_permission_is_told_apart_from_not_supported() -> None:
    readings = (INSTANT, MODULE, AVERAGE, LEGACY)
    machine = Machine(failing(PRESETS["h100"], *readings, COUNTER, code=ErrorCode.NO_PERMISSION))
    answers = machine.capabilities.answers
    assert answers["instant power (W)"].status is Status.NO_PERMISSION
    assert answers["energy counter (J)"].status is Status.NO_PERMISSION
    assert "instant power: no permission" in (machine.sensor.unavailable() or "")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (ErrorCode.LIBRARY_NOT_FOUND, "Install the NVIDIA driver"),
        (ErrorCode.DRIVER_NOT_LOADED, "modprobe nvidia"),
        (ErrorCode.LIB_RM_VERSION_MISMATCH, "Reboot"),
        (ErrorCode.NO_PERMISSION, "/dev/nvidia"),
        (ErrorCode.UNKNOWN, "nvidia-smi"),
    ],
)
def test_a_driver_that_cannot_be_used_has_its_own_remedy(code: ErrorCode, remedy: str) -> None:
    reason = Nvml("0", None, lambda: SimulatedNvml([], failure=code)).unavailable()
    assert reason is not None and remedy in reason.split("\n")[1]


def test_a_machine_without_gpus_is_unavailable() -> None:
    assert "no NVIDIA GPU" in (Nvml("0", None, lambda: SimulatedNvml([])).unavailable() or "")


def test_a_gpu_lost_half_way_invalidates_the_measurement() -> None:
    machine = Machine(replace(PRESETS["a100"], lost_from_s=105.0))
    with machine.sensor.open(machine.clock) as reader:
        assert reader.read().power_w > 0
        machine.clock.sleep(10.0)
        for asked in (reader.read, reader.counter, reader.conditions):
            with pytest.raises(MeasurementError, match="stopped answering"):
                asked()
    with pytest.raises(UnavailableError):
        _ = machine.sensor.details


@dataclass(frozen=True)
class Odd:
    """A field's answer, as it should not be."""

    valueType: int  # noqa: N815
    value: Any
    nvmlReturn: int = 0  # noqa: N815


@dataclass(frozen=True)
class Union:
    """What the union of a field may hold."""

    dVal: float = 0.0  # noqa: N815
    uiVal: int = 0  # noqa: N815
    ullVal: int = 0  # noqa: N815


class OddNvml(SimulatedNvml):
    """Gives one answer to every field and as legacy power."""

    def __init__(self, odd: Odd, gpus: Sequence[Simulation]) -> None:
        super().__init__(gpus)
        self.odd = odd

    def nvmlDeviceGetFieldValues(self, handle: object, fields: Sequence[tuple[int, int]], /) -> Any:
        return [self.odd for _ in fields]

    def nvmlDeviceGetPowerUsage(self, handle: object, /) -> int:
        raise SimulatedNvmlError(ErrorCode.NO_DATA)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (Odd(1, Union(uiVal=0)), "answered 0, which cannot be"),
        (Odd(1, Union(uiVal=2**32 - 1)), "no number"),
        (Odd(3, Union(ullVal=2**64 - 1)), "no number"),
        (Odd(0, Union(dVal=math.nan)), "no number"),
        (Odd(1, Union(uiVal=60_000_000)), "60000 W, which cannot be"),
        (Odd(9, Union()), "unknown type 9"),
        (Odd(1, Union(), nvmlReturn=777), "NVML error 777"),
    ],
)
def test_a_reading_that_cannot_be_is_an_error_with_a_reason(odd: Odd, said: str) -> None:
    simulation = Simulation(PRESETS["h100"], Load())
    library = OddNvml(odd, [simulation])
    (found,) = capabilities(lambda: library)
    told = found.answers["instant power (W)"]
    assert told.status is Status.ERROR and told.value is None and said in told.reason
    assert found.answers["legacy power (W)"].reason == "NVML NO_DATA"
    assert said in (Nvml("0", None, lambda: library).unavailable() or "")


def test_a_reading_that_turns_to_zero_is_no_value() -> None:
    clock = VirtualClock()
    simulation = Simulation(PRESETS["h100"], Load())
    library = OddNvml(Odd(1, Union(uiVal=60_000)), [simulation])
    with Nvml("0", None, lambda: library).open(clock) as reader:
        assert reader.read().power_w == 60.0
        library.odd = Odd(1, Union(uiVal=0))
        with pytest.raises(MeasurementError, match="answered 0"):
            reader.read()


def test_conditions_tell_what_holds_the_clocks_down() -> None:
    throttles = (Throttle("thermal", 101.0, 2.0), Throttle("power_cap", 110.0, 5.0))
    machine = Machine(replace(PRESETS["a100"], throttles=throttles, tenant_from_s=105.0))
    with machine.sensor.open(machine.clock) as reader:
        before = reader.conditions()
        machine.clock.sleep(2.0)
        during = reader.conditions()
        machine.clock.sleep(9.0)
        after = reader.conditions()
    assert before.limits == () and before.other_processes == ()
    assert before.limited_s == {"thermal": 0.0, "power_brake": 0.0, "power_cap": 0.0, "sync_boost": 0.0}
    assert during.limits == ("thermal",) and during.limited_s["thermal"] == pytest.approx(1.0)
    assert after.limits == ("power_cap",) and after.limited_s["thermal"] == pytest.approx(2.0)
    assert after.limited_s["power_cap"] == pytest.approx(1.0)
    assert after.other_processes == (f"other-job (pid {TENANT_PID})",)
    assert (before.clock_hz, after.clock_hz) == (1.41e9, 1.005e9)
    assert before.temperature_c is not None and 20 < before.temperature_c < 100


def test_without_counters_the_bitmask_is_all_there_is_and_says_so() -> None:
    gpu = failing(PRESETS["a100"], *((field, SCOPE_GPU) for field in ThrottleField))
    gpu = failing(gpu, "nvmlDeviceGetCurrentClocksEventReasons")  # an older driver's name is tried next
    machine = Machine(replace(gpu, throttles=(Throttle("power_brake", 0.0, 200.0),)))
    with machine.sensor.open(machine.clock) as reader:
        found = reader.conditions()
    assert found.limited_s == {} and found.limits == ("power_brake",)
    assert machine.sensor.details["throttle_counters"] == "not supported (NVML NOT_SUPPORTED)"
    assert machine.sensor.details["throttle_reasons"] == "ok"


def test_half_a_thermal_counter_is_none() -> None:
    machine = Machine(failing(PRESETS["a100"], (ThrottleField.HW_THERM_SLOWDOWN, SCOPE_GPU)))
    with machine.sensor.open(machine.clock) as reader:
        assert "thermal" not in reader.conditions().limited_s


def test_being_idle_or_set_by_the_user_is_no_limit_and_an_unnamed_slowdown_is() -> None:
    class Masked(SimulatedNvml):
        bits = 0x1 | 0x2

        def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object, /) -> int:
            return self.bits

    library = Masked([Simulation(PRESETS["a100"], Load())])
    with Nvml("0", None, lambda: library).open(VirtualClock()) as reader:
        assert reader.conditions().limits == ()
        library.bits = 0x8 | 0x100
        assert reader.conditions().limits == ("display_clock", "hw_slowdown")
        library.bits = 0x8 | 0x40
        assert reader.conditions().limits == ("thermal",)


def test_processes_are_others_only_and_older_calls_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = failing(PRESETS["a100"], "nvmlDeviceGetComputeRunningProcesses_v3")
    machine = Machine(replace(gpu, tenant_from_s=0.0))
    with machine.sensor.open(machine.clock) as reader:
        assert reader.conditions().other_processes == (f"other-job (pid {TENANT_PID})",)
        monkeypatch.setattr(os, "getpid", lambda: TENANT_PID)
        assert reader.conditions().other_processes == ()
    unnamed = Machine(failing(machine.gpu, *PROCESSES))
    assert unnamed.sensor.details["processes"] == "not supported"


def test_an_older_pynvml_without_a_function_has_the_capability_missing() -> None:
    class Older(SimulatedNvml):
        def __getattribute__(self, name: str) -> Any:
            if name in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetMigMode"):
                raise AttributeError(f"no attribute {name}", name=name)
            return super().__getattribute__(name)

    (found,) = capabilities(lambda: Older([Simulation(PRESETS["a100"], Load())]))
    assert found.answers["temperature (C)"].status is Status.OK
    assert found.answers["MIG"].status is Status.NOT_SUPPORTED
    assert "nvidia-ml-py is too old" in found.answers["MIG"].reason


def test_details_hold_what_must_agree_between_two_results() -> None:
    details = Machine(PRESETS["a100"]).sensor.details
    assert details["gpu"] == PRESETS["a100"].name and details["uuid"] == PRESETS["a100"].uuid
    expected = {
        "driver": "simulated",
        "power_limit_w": 250.0,
        "ecc": "on",
        "persistence": "on",
        "counter": "ok",
    }
    assert {key: details[key] for key in expected} == expected
    bare = Machine(failing(PRESETS["a100"], "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetEccMode"))
    assert bare.sensor.details["power_limit_w"] == bare.sensor.details["ecc"] == "not supported"


@pytest.mark.parametrize(
    ("name", "uncertainty"),
    [
        ("Tesla V100-SXM2-16GB", 0.08),
        ("NVIDIA A100-SXM4-40GB", 0.08),
        ("NVIDIA H100 80GB HBM3", 0.08),
        ("NVIDIA GeForce RTX 3090", 0.08),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 0.08),
        ("NVIDIA GeForce RTX 3050 Laptop GPU", 0.13),
        ("NVIDIA GeForce RTX 2060 SUPER", 0.13),
        ("NVIDIA RTX A1000", 0.13),
        ("NVIDIA H200", 0.13),
        ("NVIDIA GeForce RTX 5090", 0.13),
    ],
)
def test_accuracy_is_that_of_cards_held_against_a_meter(name: str, uncertainty: float) -> None:
    assert Machine(replace(PRESETS["h100"], name=name)).sensor.accuracy.relative == uncertainty


def test_polls_no_more_than_half_as_often_as_the_sensor_may_update() -> None:
    intervals = {
        name: Machine(PRESETS[name]).sensor.poll_interval_s for name in ("p100", "v100", "a100", "h100")
    }
    assert intervals == {"p100": 0.01, "v100": 0.01, "a100": 0.025, "h100": 0.025}


def test_capabilities_go_into_json() -> None:
    document = json.loads(json.dumps(asdict(Machine(PRESETS["p100"]).capabilities)))
    assert document["answers"]["energy counter (J)"] == {
        "status": "not supported",
        "value": None,
        "reason": "NVML NOT_SUPPORTED",
    }


def test_this_machine_has_a_driver_or_says_what_would_mend_that() -> None:
    try:
        found = capabilities()
    except UnavailableError as error:
        assert error.hint
        with pytest.raises(UnavailableError), Nvml("0", None).open(VirtualClock()):
            pass
    else:
        assert found


def test_nvidia_ml_py_missing_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "pip install nvidia-ml-py" in (Nvml("0", None).unavailable() or "")


@pytest.mark.parametrize(
    ("argument", "device"), [("", "cpu"), ("0", "cpu"), ("", "fake"), ("gpu0", "cuda:0")]
)
def test_requests_that_do_not_fit_are_usage_errors(argument: str, device: str) -> None:
    with pytest.raises(UsageError):
        Nvml(argument, device)


def test_is_a_sensor() -> None:
    sensor: Sensor = Machine(PRESETS["a100"]).sensor
    assert (sensor.name, sensor.kind, sensor.domain) == ("nvml", "measured", "gpu")
    assert sensor.update_period_s is None and sensor.max_window_s is None
