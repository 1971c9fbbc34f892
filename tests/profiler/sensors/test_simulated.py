"""The simulated GPU as a sensor: what it accepts, and that its load is what the process computes."""

import time

import numpy as np
import pytest

from perframe.engines.clock import SystemClock, VirtualClock
from perframe.errors import MeasurementError, UnavailableError, UsageError
from perframe.profiler.sensors.base import Monitor, PowerSample, Sensor, SensorRequest
from perframe.profiler.sensors.registry import sensor_from
from perframe.profiler.sensors.simulated import Simulated
from perframe.profiler.sensors.simulated_gpu import SimulatedGpu
from perframe.profiler.sensors.simulated_presets import PRESETS


def simulated(argument: str, device: str = "cpu") -> Simulated:
    return Simulated.from_request(SensorRequest(argument, 10.0, device))


def test_presets_are_there_by_name() -> None:
    for name in ("v100", "a100", "h100", "rtx3090", "rtx4090"):
        sensor = sensor_from(f"sim:{name}", watts_per_core=10.0, device="cpu")
        assert sensor is not None and sensor.domain == "gpu"
        assert sensor.details["update_period_s"] == PRESETS[name].update_period_s


def test_can_never_pass_for_a_measurement() -> None:
    sensor: Sensor = simulated("a100", device="cuda:0")
    assert (sensor.name, sensor.kind) == ("sim", "modelled")
    assert "no measurement" in str(sensor.details["simulated"])
    assert "simulated" in str(sensor.details["gpu"])
    assert sensor.update_period_s is None  # as with the real one, it has to be watched


def test_a_simulated_orin_is_refused_as_the_board_would_be() -> None:
    with pytest.raises(UnavailableError, match="no power reading") as caught:
        sensor_from("sim:orin", watts_per_core=10.0, device="cpu")
    assert "--sensor jetson" in caught.value.hint


def test_parameters_change_the_preset_and_stand_in_the_details() -> None:
    sensor = simulated("a100,idle=60,active=250.5,noise=2,seed=7,counter_period=0,throttle=1+.5,offset=-1e-1")
    gpu = sensor.gpu
    assert (gpu.idle_w, gpu.active_w, gpu.noise_w, gpu.seed, gpu.offset_w) == (60.0, 250.5, 2.0, 7, -0.1)
    assert gpu.counter_period_s is None and gpu.update_period_s == PRESETS["a100"].update_period_s
    details = sensor.details
    assert (details["preset"], details["idle_w"], details["seed"]) == ("a100", 60.0, 7.0)
    assert details["counter_period_s"] == "none" and details["throttles"] == "thermal at 1 s for 0.5 s"
    assert "counter" in details and details["counter"] != "ok"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "expected the simulated GPU's name"),
        ("k80", "k80"),
        ("a100,", "no parameter"),
        ("a100,idle", "no parameter"),
        ("a100,idle_w=3", "no parameter"),
        ("a100,idle=", "no number"),
        ("a100,idle=nan", "no number"),
        ("a100,idle=inf", "no number"),
        ("a100,idle=1e999", "no number"),
        ("a100,idle=1_0", "no number"),
        ("a100,idle=60W", "no number"),
        ("a100,seed=1.5", "no number"),
        ("a100,throttle=3", "no number"),
        ("a100,idle=60,idle=61", "second of its kind"),
        ("a100,idle=300,active=200", "idle <= active"),
        ("a100,period=0", "update_period_s above 0"),
        ("a100,gain=-1", "gain above 0"),
        ("a100,window=-1", "averaging_window_s of at least 0"),
        ("a100,phase=1", "phase within"),
    ],
)
def test_everything_else_is_a_usage_error(argument: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        simulated(argument)
    assert caught.value.hint


def test_is_busy_while_the_process_computes_and_idle_while_it_sleeps() -> None:
    clock = VirtualClock()
    clock.sleep(1000.0)
    sensor = simulated("v100,idle=50,active=250,noise=0,gain=1")
    samples: list[PowerSample] = []
    with sensor.open(clock) as reader, clock.every(0.01, lambda: samples.append(reader.read())):
        for _ in range(5):
            clock.advance(0.3, cpu_s=1.2)  # several threads
            clock.sleep(0.2)
    assert sensor.true_energy_j(1000.0, 1002.5) == pytest.approx(5 * (0.3 * 250 + 0.2 * 50), rel=1e-6)
    assert sensor.true_energy_j(1000.1, 1000.2) == pytest.approx(25.0, rel=1e-6)
    assert sensor.true_energy_j(1000.4, 1000.45) == pytest.approx(2.5, rel=1e-6)
    # Readings are a window of 10 ms, every 20 ms, and see that.
    watts = np.array([sample.power_w for sample in samples])
    assert {50.0, 250.0} == set(watts.round(1).tolist())
    assert np.mean(watts == 250.0) == pytest.approx(0.6, abs=0.05)


def test_a_half_busy_process_is_half_a_load() -> None:
    clock = VirtualClock()
    sensor = simulated("a100,idle=10,active=110")
    with sensor.open(clock):
        clock.advance(2.0, cpu_s=1.0)
    assert sensor.true_energy_j(0.0, 2.0) == pytest.approx(120.0, rel=1e-3)


def test_readings_and_counter_agree_with_the_truth_over_a_long_run() -> None:
    clock = VirtualClock()
    sensor = simulated("a100,gain=1,offset=0")
    samples: list[PowerSample] = []
    with sensor.open(clock) as reader, clock.every(0.02, lambda: samples.append(reader.read())):
        assert isinstance(reader, Monitor)
        clock.advance(2.0, cpu_s=2.0)
        before = reader.counter()
        clock.advance(20.0, cpu_s=20.0)
        after = reader.counter()
    assert before is not None and after is not None
    true_j = sensor.true_energy_j(2.0, 22.0)
    assert true_j == pytest.approx(20.0 * sensor.gpu.active_w, rel=1e-6)
    assert after.energy_j - before.energy_j == pytest.approx(true_j, rel=1e-5)
    inside = [sample.power_w for sample in samples if sample.t_s > 2.1]
    assert float(np.mean(inside)) * 20.0 == pytest.approx(true_j, rel=0.005)


def test_on_the_machines_own_clock_computing_costs_more_than_sleeping() -> None:
    clock = SystemClock()
    sensor = simulated("h100,noise=0")
    samples: list[PowerSample] = []
    with sensor.open(clock) as reader, clock.every(0.01, lambda: samples.append(reader.read())):
        start_s = clock.now_s()
        end_cpu_s = time.process_time() + 0.1
        while time.process_time() < end_cpu_s:
            pass
        middle_s = clock.now_s()
        clock.sleep(0.1)
        reader.read()
        end_s = clock.now_s() - 0.01
    busy_w = sensor.true_energy_j(start_s, middle_s) / (middle_s - start_s)
    rest_w = sensor.true_energy_j(middle_s, end_s) / (end_s - middle_s)
    assert busy_w > rest_w >= sensor.gpu.idle_w


def test_what_goes_wrong_comes_out_of_the_real_sensor() -> None:
    clock = VirtualClock()
    with simulated("a100,tenant=1,throttle=2+3,lost=10").open(clock) as reader:
        assert reader.conditions().other_processes == ()
        clock.sleep(4.0)
        found = reader.conditions()
        assert found.other_processes and found.limits == ("thermal",)
        assert found.limited_s["thermal"] == pytest.approx(2.0)
        clock.sleep(10.0)
        with pytest.raises(MeasurementError):
            reader.read()


def test_a_run_repeats_to_the_last_digit() -> None:
    def readings(argument: str) -> list[float]:
        clock = VirtualClock()
        with simulated(argument).open(clock) as reader:
            found = []
            for _ in range(50):
                clock.advance(0.05, cpu_s=0.03)
                found.append(reader.read().power_w)
        return found

    assert readings("a100,noise=3") == readings("a100,noise=3") != readings("a100,noise=3,seed=1")


def test_truth_before_anything_ran_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing has run"):
        Simulated(SimulatedGpu()).true_energy_j(0.0, 1.0)
