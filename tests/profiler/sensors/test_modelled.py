"""The modelled sensor under virtual and real CPU time."""

import math

import pytest

from perframe.engines.clock import SystemClock, VirtualClock
from perframe.errors import UsageError
from perframe.profiler.sensors.modelled import Modelled


def test_energy_is_cpu_seconds_times_watts() -> None:
    clock = VirtualClock()
    with Modelled(watts_per_core=7.5).open(clock) as reader:
        first = reader.read()
        clock.advance(2.0, cpu_s=4.0)
        second = reader.read()
    assert (second.energy_j - first.energy_j, second.t_s - first.t_s) == (30.0, 2.0)


def test_waiting_costs_nothing_and_working_does() -> None:
    clock = SystemClock()
    with Modelled(watts_per_core=10.0).open(clock) as reader:
        start = reader.read().energy_j
        end_s = clock.cpu_s() + 0.02
        while clock.cpu_s() < end_s:
            math.sqrt(2.0)
        worked = reader.read().energy_j
    assert worked - start >= 0.2


def test_says_that_it_is_modelled_and_from_what() -> None:
    sensor = Modelled(watts_per_core=5.0)
    assert (sensor.kind, sensor.domain, sensor.poll_interval_s) == ("modelled", "package", None)
    assert sensor.details == {"watts_per_core": 5.0}
    assert sensor.unavailable() is None


@pytest.mark.parametrize("watts", [0.0, -1.0, math.nan, math.inf])
def test_impossible_watts_are_a_usage_error(watts: float) -> None:
    with pytest.raises(UsageError):
        Modelled(watts_per_core=watts)
