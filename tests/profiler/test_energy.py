import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.engines.clock import Clock, VirtualClock
from perframe.errors import MeasurementError
from perframe.profiler.energy import integrate, open_meter
from perframe.profiler.sensors.base import Conditions, EnergySample, PowerSample
from perframe.profiler.sensors.modelled import Modelled


@given(st.floats(0.1, 500.0), st.floats(0.5, 20.0), st.integers(2, 50))
def test_constant_power_gives_power_times_time(watts: float, seconds: float, samples: int) -> None:
    trace = [PowerSample(i * seconds / samples, watts) for i in range(samples + 1)]
    energy_j = integrate(trace, 0.1, seconds)
    assert energy_j == pytest.approx(watts * (seconds - 0.1))


@given(st.lists(st.floats(0.0, 400.0), min_size=12, max_size=60), st.integers(1, 5))
def test_stretches_add_up(watts: list[float], cuts: int) -> None:
    trace = [PowerSample(float(i), w) for i, w in enumerate(watts)]
    end_s = len(watts) - 1.0
    edges = [end_s * i / cuts for i in range(cuts + 1)]
    parts = [integrate(trace, a, b) for a, b in itertools.pairwise(edges)]
    assert None not in parts
    whole = integrate(trace, 0.0, end_s)
    assert whole is not None
    assert math.fsum(part or 0.0 for part in parts) == pytest.approx(whole)


def test_a_stretch_without_a_sample_has_no_energy() -> None:
    assert integrate([PowerSample(0.0, 50.0), PowerSample(10.0, 50.0)], 4.0, 5.0) is None


def test_a_reading_that_is_no_number_is_refused() -> None:
    with pytest.raises(MeasurementError, match="not a number"):
        integrate([PowerSample(0.0, math.nan), PowerSample(1.0, 50.0)], 0.0, 1.0)


@dataclass
class RampSensor:
    """Watts that rise by 10 W a second, updated every `period_s`."""

    clock: Clock
    period_s: float = 0.1
    name: str = "ramp"
    domain: str = "package"
    kind: str = "measured"
    poll_interval_s: float | None = 0.01
    max_window_s: float | None = None
    update_period_s: float | None = None
    averaging_window_s: float | None = None
    accuracy: None = None
    details: Mapping[str, str | float] = field(default_factory=dict)

    def unavailable(self) -> str | None:
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator["RampSensor"]:
        yield self

    def read(self) -> PowerSample:
        t_s = math.floor(self.clock.now_s() / self.period_s + 1e-9) * self.period_s
        return PowerSample(t_s, 10.0 * t_s)


def test_polled_power_is_integrated_over_the_stretch() -> None:
    clock = VirtualClock()
    with open_meter(RampSensor(clock), clock) as meter:  # type: ignore[arg-type]
        clock.sleep(1.0)
        meter.start()
        clock.sleep(2.0)
        energy_j = meter.stop().energy_j
    # The integral of 10 W/s from 1 s to 3 s is 40 J; the sensor's last update holds at the end.
    assert energy_j == pytest.approx(40.0, rel=0.01)


@dataclass
class SlowMonitor(RampSensor):
    """A steady 100 W and a counter of the same, on a device that takes its time to answer questions."""

    def read(self) -> PowerSample:
        return PowerSample(self.clock.now_s(), 100.0 + 0.001 * (self.clock.now_s() % 1.0))

    def counter(self) -> EnergySample:
        return EnergySample(self.clock.now_s(), 100.0 * self.clock.now_s())

    def conditions(self) -> Conditions:
        self.clock.sleep(0.05)
        return Conditions(self.clock.now_s())


def test_looking_at_the_device_takes_time_that_no_stretch_is_about() -> None:
    clock = VirtualClock()
    with open_meter(SlowMonitor(clock), clock) as meter:  # type: ignore[arg-type]
        for _ in range(3):
            meter.start()
            clock.sleep(0.5)
            seen = meter.stop()
            assert seen.duration_s == pytest.approx(0.5)
            assert seen.energy_j == pytest.approx(50.0, rel=1e-3)
            assert seen.counter_j == pytest.approx(50.0, rel=1e-3)


def test_the_device_is_looked_at_on_the_way() -> None:
    clock = VirtualClock()
    with open_meter(SlowMonitor(clock), clock) as meter:  # type: ignore[arg-type]
        meter.start()
        clock.sleep(9.0)
        seen = meter.stop()
        assert [round(look.t_s) for look in seen.between] == [2, 4, 6, 8]
        assert [look.t_s for look in seen.conditions()] == sorted(look.t_s for look in seen.conditions())
        # What was seen before a stretch is not part of it.
        meter.start()
        clock.sleep(1.0)
        assert meter.stop().between == ()


def test_readings_are_recorded_while_asked_for() -> None:
    clock = VirtualClock()
    with open_meter(RampSensor(clock), clock) as meter:  # type: ignore[arg-type]
        clock.sleep(1.0)
        with meter.record() as readings:
            for _ in range(2):
                meter.start()
                clock.sleep(0.5)
                meter.stop()
                clock.sleep(0.5)
        clock.sleep(1.0)
        with meter.record() as later:
            clock.sleep(0.5)
    # Between the stretches too, and nothing of before and after; another record begins anew.
    for record, start_s, end_s in ((readings, 1.0, 3.0), (later, 4.0, 4.5)):
        times_s = [reading.t_s for reading in record]
        assert times_s[0] == pytest.approx(start_s, abs=0.11) and times_s[-1] == pytest.approx(
            end_s, abs=0.11
        )
        assert [b - a for a, b in itertools.pairwise(times_s)] == pytest.approx([0.1] * (len(times_s) - 1))


@pytest.mark.parametrize("sensor", [Modelled(12.0), None])
def test_a_counter_and_no_sensor_have_no_readings_to_record(sensor: Modelled | None) -> None:
    clock = VirtualClock()
    with open_meter(sensor, clock) as meter, meter.record() as readings:
        meter.start()
        clock.sleep(1.0)
        meter.stop()
    assert not readings


def test_what_happens_after_the_end_is_not_part_of_it() -> None:
    clock = VirtualClock()
    with open_meter(SlowMonitor(clock), clock) as meter:  # type: ignore[arg-type]
        meter.start()
        start_s = clock.now_s()
        clock.sleep(1.0)
        assert meter.stop(start_s + 0.8).energy_j == pytest.approx(80.0, rel=1e-3)


@dataclass
class FailingSensor(RampSensor):
    """A sensor that disappears after a second."""

    def read(self) -> PowerSample:
        if self.clock.now_s() > 1.0:
            raise MeasurementError("gone", "put it back")
        return PowerSample(self.clock.now_s(), self.clock.now_s())


def test_a_sensor_that_vanishes_ends_the_next_stretch_not_the_whole_run() -> None:
    clock = VirtualClock()
    with open_meter(FailingSensor(clock), clock) as meter:  # type: ignore[arg-type]
        meter.start()
        clock.sleep(0.5)
        assert meter.stop().energy_j is not None
        meter.start()
        clock.sleep(1.0)
        with pytest.raises(MeasurementError, match="gone"):
            meter.stop()


def test_modelled_energy_is_cpu_time_times_watts() -> None:
    clock = VirtualClock()
    with open_meter(Modelled(12.0), clock) as meter:
        clock.advance(5.0, cpu_s=5.0)
        meter.start()
        clock.advance(2.0, cpu_s=3.0)
        assert meter.stop().energy_j == pytest.approx(36.0)


def test_without_a_sensor_there_is_no_energy() -> None:
    clock = VirtualClock()
    with open_meter(None, clock) as meter:
        meter.start()
        clock.sleep(1.0)
        assert meter.stop().energy_j is None
