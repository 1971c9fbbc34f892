import time

import pytest

from perframe.engines.clock import SystemClock, VirtualClock


def test_virtual_timers_fire_at_their_times() -> None:
    clock = VirtualClock()
    fired: list[float] = []
    with clock.every(0.25, lambda: fired.append(clock.now_s())):
        clock.advance(1.0, cpu_s=0.5)
    clock.advance(1.0, cpu_s=0.0)
    assert fired == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert clock.now_s() == 2.0
    assert clock.cpu_s() == 0.5


def test_a_virtual_timer_sees_the_cpu_time_of_its_moment() -> None:
    clock = VirtualClock()
    seen: list[float] = []
    with clock.every(0.5, lambda: seen.append(clock.cpu_s())):
        clock.advance(1.0, cpu_s=2.0)
    assert seen == pytest.approx([0.0, 1.0, 2.0])


def test_the_system_clock_polls_beside_the_work() -> None:
    clock = SystemClock()
    calls: list[float] = []
    with clock.every(0.01, lambda: calls.append(clock.now_s())):
        deadline = time.monotonic() + 5.0
        while len(calls) < 5 and time.monotonic() < deadline:
            clock.sleep(0.01)
    count = len(calls)
    assert count >= 5
    assert calls == sorted(calls)
    clock.sleep(0.03)
    assert len(calls) == count


def test_a_failing_poll_is_raised_when_polling_ends() -> None:
    def fail() -> None:
        raise ValueError("sensor gone")

    clock = SystemClock()
    with pytest.raises(ValueError, match="sensor gone"), clock.every(0.01, fail):
        clock.sleep(0.03)
