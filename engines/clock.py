"""Time as a dependency: the machine's clock, and a virtual one under which a whole profile takes no time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Clock(Protocol):
    """What measuring needs to know about time."""

    def now_s(self) -> float:
        """Seconds on a monotonic clock with an arbitrary origin."""
        ...

    def cpu_s(self) -> float:
        """CPU seconds this process has spent so far, over all its threads."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...

    def every(self, interval_s: float, action: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `action` every `interval_s` seconds while the context is open.

        An exception out of `action` ends the calls and is raised when the context closes.
        """
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """See `Clock.now_s`."""
        return time.perf_counter()

    def cpu_s(self) -> float:
        """See `Clock.cpu_s`."""
        return time.process_time()

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        time.sleep(seconds)

    @contextmanager
    def every(self, interval_s: float, action: Callable[[], None]) -> Iterator[None]:
        """See `Clock.every`. The calls come from a thread of their own."""
        stop = threading.Event()
        failures: list[BaseException] = []

        def poll() -> None:
            try:
                action()
                while not stop.wait(interval_s):
                    action()
            except BaseException as error:  # handed to the thread that closes the context
                failures.append(error)

        thread = threading.Thread(target=poll, name="perframe-poll", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failures:
            raise failures[0]


class VirtualClock:
    """A clock that moves only when told to, so that a deterministic engine gives a deterministic profile."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._cpu_s = 0.0
        self._timers: list[_Timer] = []

    def now_s(self) -> float:
        """See `Clock.now_s`."""
        return self._now_s

    def cpu_s(self) -> float:
        """See `Clock.cpu_s`."""
        return self._cpu_s

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`. Costs no CPU time."""
        self.advance(seconds, cpu_s=0.0)

    def advance(self, seconds: float, *, cpu_s: float) -> None:
        """Move the clock by `seconds`, of which `cpu_s` CPU seconds are spent, calling timers on the way."""
        end_s, cpu_end_s = self._now_s + seconds, self._cpu_s + cpu_s
        while self._timers and (due := min(self._timers, key=lambda timer: timer.due_s)).due_s <= end_s:
            passed = (due.due_s - self._now_s) / (end_s - self._now_s) if end_s > self._now_s else 0.0
            self._cpu_s += (cpu_end_s - self._cpu_s) * passed
            self._now_s = due.due_s
            due.due_s += due.interval_s
            due.action()
        self._now_s, self._cpu_s = end_s, cpu_end_s

    @contextmanager
    def every(self, interval_s: float, action: Callable[[], None]) -> Iterator[None]:
        """See `Clock.every`. The calls come from `advance`."""
        action()
        timer = _Timer(self._now_s + interval_s, interval_s, action)
        self._timers.append(timer)
        try:
            yield
        finally:
            self._timers.remove(timer)


class _Timer:
    def __init__(self, due_s: float, interval_s: float, action: Callable[[], None]) -> None:
        self.due_s, self.interval_s, self.action = due_s, interval_s, action
