"""Joules between two moments, from whatever the sensor gives: a counter or watts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from perframe.engines.clock import Clock
from perframe.errors import MeasurementError
from perframe.profiler.sensors.base import EnergySample, PowerSample, Reader, Sensor


class Meter(Protocol):
    """Measures one stretch after another."""

    def start(self) -> None:
        """Begin a stretch."""
        ...

    def stop(self) -> float | None:
        """End it and return its joules; `None` where the sensor saw nothing of it."""
        ...


@contextmanager
def open_meter(sensor: Sensor | None, clock: Clock) -> Iterator[Meter]:
    """Open `sensor` and meter with it. Without a sensor every stretch is `None`."""
    if sensor is None:
        yield _NoMeter()
        return
    with sensor.open(clock) as reader:
        if sensor.poll_interval_s is None:
            yield _CounterMeter(sensor, reader, clock)
        else:
            meter = _PowerMeter(reader, clock)
            with clock.every(sensor.poll_interval_s, meter.poll):
                yield meter


class _NoMeter:
    def start(self) -> None:
        pass

    def stop(self) -> float | None:
        return None


class _CounterMeter:
    """Reads a hardware counter exactly twice: polling it perturbs, and some counters misread when polled."""

    def __init__(self, sensor: Sensor, reader: Reader, clock: Clock) -> None:
        self._sensor, self._reader, self._clock = sensor, reader, clock
        self._start_s = self._start_j = 0.0

    def start(self) -> None:
        self._start_s = self._clock.now_s()
        self._start_j = self._read_j()

    def stop(self) -> float | None:
        energy_j = self._read_j() - self._start_j
        elapsed_s, longest_s = self._clock.now_s() - self._start_s, self._sensor.max_window_s
        if longest_s is not None and elapsed_s > longest_s:
            raise MeasurementError(
                f"Sensor {self._sensor.name}: a window took {elapsed_s:.0f} s, and after {longest_s:.0f} s the"
                " counter may have wrapped unseen.",
                "Measure shorter windows: a smaller --window-s or batch.",
            )
        return energy_j

    def _read_j(self) -> float:
        sample = self._reader.read()
        assert isinstance(sample, EnergySample), "a sensor without a poll interval is a counter"
        return sample.energy_j


class _PowerMeter:
    """Polls watts all along and integrates them over each stretch."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader, self._clock = reader, clock
        self._samples: list[PowerSample] = []
        self._start_s = 0.0

    def poll(self) -> None:
        sample = self._reader.read()
        assert isinstance(sample, PowerSample), "a sensor with a poll interval gives watts"
        # A sensor polled faster than it updates repeats itself; a repeat is no new observation.
        if not self._samples or sample.t_s > self._samples[-1].t_s:
            self._samples.append(sample)

    def start(self) -> None:
        self._start_s = self._clock.now_s()
        # Only the sample in force at the start is still needed.
        del self._samples[:-1]

    def stop(self) -> float | None:
        self.poll()
        return integrate(self._samples, self._start_s, self._clock.now_s())


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
    grid = np.concatenate(([start_s], times[inside], [end_s]))
    at = np.interp(grid, times, watts)
    return float(np.sum((at[1:] + at[:-1]) / 2.0 * np.diff(grid)))
