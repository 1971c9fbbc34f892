"""Joules between two moments, from whatever the sensor gives: a counter, watts, or both."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from perframe.engines.clock import Clock
from perframe.errors import MeasurementError
from perframe.profiler.power_series import joules_until, update_period_s
from perframe.profiler.power_trace import append_reading
from perframe.profiler.sensors.base import Conditions, EnergySample, Monitor, PowerSample, Reader, Sensor

_MOST_CHANGES = 1000
# A look takes a few milliseconds of driver calls: this seldom it costs some tenths of a per cent of a core.
_LOOK_S = 2.0


@dataclass(frozen=True)
class Stretch:
    """What was seen between `start` and `stop`.

    Attributes:
        energy_j: Joules; `None` where the sensor saw nothing of it.
        duration_s: Between the moments that `energy_j` is of.
        counter_j: The same from the device's own counter, where there is one beside the power readings.
        readings: Distinct power readings in it; `None` for a counter.
        before: The device at the start, where the sensor can tell.
        after: The device at the end.
        between: The device now and then on the way, for what shows at no end: another's short visit, or a limit
            that no counter counts.
    """

    energy_j: float | None
    duration_s: float
    counter_j: float | None = None
    readings: int | None = None
    before: Conditions | None = None
    after: Conditions | None = None
    between: tuple[Conditions, ...] = ()

    def conditions(self) -> tuple[Conditions, ...]:
        """Return every look at the device, in order."""
        ends = (self.before, *self.between, self.after)
        return tuple(look for look in ends if look is not None)


class Meter(Protocol):
    """Measures one stretch after another.

    Attributes:
        polls: Whether it integrates power readings, whose update period it has to learn.
    """

    polls: bool

    def start(self) -> None:
        """Begin a stretch."""
        ...

    def stop(self, end_s: float | None = None) -> Stretch:
        """End it and tell what was seen.

        Args:
            end_s: When it ended, if that was a moment ago: looking at the device takes time, which is not part of it.
        """
        ...

    def update_period_s(self) -> float | None:
        """How often the reading changes, as far as that is known by now; `None` for no sensor."""
        ...

    def record(self) -> AbstractContextManager[Sequence[PowerSample]]:
        """Keep what is read while the context is open, in stretches and between them; a counter gives nothing."""
        ...


@contextmanager
def open_meter(sensor: Sensor | None, clock: Clock) -> Iterator[Meter]:
    """Open `sensor` and meter with it. Without a sensor every stretch is without energy."""
    if sensor is None:
        yield _NoMeter()
        return
    with sensor.open(clock) as reader:
        if sensor.poll_interval_s is None:
            yield _CounterMeter(sensor, reader, clock)
        else:
            meter = _PowerMeter(sensor, reader, clock)
            with clock.every(sensor.poll_interval_s, meter.tick):
                yield meter


class _NoMeter:
    polls = False

    def start(self) -> None:
        pass

    def stop(self, end_s: float | None = None) -> Stretch:
        return Stretch(None, 0.0)

    def update_period_s(self) -> float | None:
        return None

    def record(self) -> AbstractContextManager[Sequence[PowerSample]]:
        return nullcontext(())


class _CounterMeter:
    """Reads a hardware counter exactly twice: polling it perturbs, and some counters misread when polled."""

    polls = False

    def __init__(self, sensor: Sensor, reader: Reader, clock: Clock) -> None:
        self._sensor, self._reader, self._clock = sensor, reader, clock
        self._start_s = self._start_j = 0.0

    def start(self) -> None:
        self._start_j = self._read_j()
        self._start_s = self._clock.now_s()

    def stop(self, end_s: float | None = None) -> Stretch:
        energy_j = self._read_j() - self._start_j
        elapsed_s, longest_s = self._clock.now_s() - self._start_s, self._sensor.max_window_s
        if longest_s is not None and elapsed_s > longest_s:
            raise MeasurementError(
                f"Sensor {self._sensor.name}: a window took {elapsed_s:.0f} s, and after {longest_s:.0f} s the"
                " counter may have wrapped unseen.",
                "Measure shorter windows: a smaller --window-s or batch.",
            )
        return Stretch(energy_j, elapsed_s)

    def update_period_s(self) -> float | None:
        return self._sensor.update_period_s

    def record(self) -> AbstractContextManager[Sequence[PowerSample]]:
        return nullcontext(())

    def _read_j(self) -> float:
        sample = self._reader.read()
        assert isinstance(sample, EnergySample), "a sensor without a poll interval is a counter"
        return sample.energy_j


class _PowerMeter:
    """Polls watts all along and integrates them over each stretch, the counter beside them read twice."""

    polls = True

    def __init__(self, sensor: Sensor, reader: Reader, clock: Clock) -> None:
        self._sensor, self._reader, self._clock = sensor, reader, clock
        self._monitor = reader if isinstance(reader, Monitor) else None
        # The timer polls, and so does the end of a stretch.
        self._lock = threading.Lock()
        self._samples: list[PowerSample] = []
        self._record: list[PowerSample] | None = None
        self._changes_s: list[float] = []
        self._start_s = 0.0
        self._before: tuple[EnergySample | None, Conditions | None] = (None, None)
        self._between: list[Conditions] = []
        self._looked_s = clock.now_s()
        self._failure: MeasurementError | None = None

    def tick(self) -> None:
        """Poll from the timer; what goes wrong is raised where the stretch begins or ends."""
        try:
            self.poll()
            if self._monitor is not None and self._clock.now_s() - self._looked_s >= _LOOK_S:
                self._looked_s = self._clock.now_s()
                self._between.append(self._monitor.conditions())
        except MeasurementError as error:
            self._failure = self._failure or error

    def poll(self) -> None:
        with self._lock:
            sample = self._reader.read()
            assert isinstance(sample, PowerSample), "a sensor with a poll interval gives watts"
            last = self._samples[-1] if self._samples else None
            if last is not None and sample.t_s <= last.t_s:
                return
            # A sensor polled faster than it updates repeats itself; a repeat is no new observation.
            if last is None or sample.power_w != last.power_w:
                self._changes_s.append(sample.t_s)
            self._samples.append(sample)
            if self._record is not None:
                append_reading(self._record, sample)

    def start(self) -> None:
        self._check()
        # The counter is read last, and first at the end: what else is asked takes time that no window is about.
        conditions = None if self._monitor is None else self._monitor.conditions()
        self._before = (None if self._monitor is None else self._monitor.counter(), conditions)
        with self._lock:
            # Only the sample in force at the start is still needed.
            del self._samples[:-1]
            self._between = []
            self._start_s = self._looked_s = self._clock.now_s()

    def stop(self, end_s: float | None = None) -> Stretch:
        counter = None if self._monitor is None else self._monitor.counter()
        if end_s is None:
            end_s = self._clock.now_s()
        self._check()
        self.poll()
        with self._lock:
            energy_j = integrate(self._samples, self._start_s, end_s)
            readings = len(self._changes_s) - bisect_right(self._changes_s, self._start_s)
        counter_before, before = self._before
        counted_j = None
        if counter is not None and counter_before is not None:
            counted_j = counter.energy_j - counter_before.energy_j
        return Stretch(
            energy_j=energy_j,
            duration_s=end_s - self._start_s,
            counter_j=counted_j,
            readings=readings,
            before=before,
            after=None if self._monitor is None else self._monitor.conditions(),
            between=tuple(self._between),
        )

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def update_period_s(self) -> float | None:
        if self._sensor.update_period_s is not None:
            return self._sensor.update_period_s
        # The latest changes say enough, and it is asked between windows.
        return update_period_s(np.array(self._changes_s[-_MOST_CHANGES:]))

    @contextmanager
    def record(self) -> Iterator[Sequence[PowerSample]]:
        record: list[PowerSample] = []
        with self._lock:
            self._record = record
        try:
            yield record
        finally:
            with self._lock:
                self._record = None


def integrate(samples: Sequence[PowerSample], start_s: float, end_s: float) -> float | None:
    """Return the joules between two moments by the trapezoidal rule; the ends hold the nearest sample.

    Args:
        samples: In order of time.
        start_s: Begin of the stretch, on the samples' clock.
        end_s: Its end.

    Returns:
        Joules, or `None` if no sample was taken in the stretch: what held before it says nothing about it.

    Raises:
        MeasurementError: A sample is not a finite number of watts.
    """
    times = np.array([sample.t_s for sample in samples])
    watts = np.array([sample.power_w for sample in samples])
    if not np.isfinite(watts).all():
        raise MeasurementError(
            "The power sensor gave a reading that is not a number.", "Check the sensor or the recorded trace."
        )
    inside = (times > start_s) & (times < end_s)
    if not inside.any():
        return None
    start_j, end_j = joules_until(times, watts, np.array([start_s, end_s]))
    return float(end_j - start_j)
