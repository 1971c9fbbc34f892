"""The sensor seam: what reads watts or joules, and what those figures include.

A sensor is one file. It translates its vendor's or the system's failures, states what it covers, and leaves
averaging and judging to others.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from perframe.engines.clock import Clock

Domain = Literal["gpu", "module", "board", "package"]
"""What the figures include: the GPU card, a compute module, the whole board, or the CPU packages."""

Kind = Literal["measured", "modelled"]
"""Modelled figures are computed from something else, and never comparable with measured ones."""


@dataclass(frozen=True)
class PowerSample:
    """Power at a time; `t_s` is on the clock the sensor was opened with."""

    t_s: float
    power_w: float


@dataclass(frozen=True)
class EnergySample:
    """A hardware counter at a time; only differences between samples of one reader mean anything."""

    t_s: float
    energy_j: float


@dataclass(frozen=True)
class Conditions:
    """The state of a device at one moment: what can spoil a measurement. None is what it does not tell.

    Attributes:
        t_s: When, on the clock the sensor was opened with.
        temperature_c: Of the chip.
        clock_hz: Of the cores that compute.
        busy_share: Of the time just before, the share in which the device computed.
        limited_s: Seconds so far that clocks were held down, by reason (`thermal`, `power_brake`, `power_cap`,
            `sync_boost`); only differences mean anything. Empty where there are no such counters.
        limits: Reasons that hold clocks down at this moment; all there is where there are no counters.
        other_processes: Other processes that use the device, each as people would name it; empty where it is
            known that there are none.
    """

    t_s: float
    temperature_c: float | None = None
    clock_hz: float | None = None
    busy_share: float | None = None
    limited_s: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] | None = None
    other_processes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Accuracy:
    """How far off the true watts a sensor may be, as data sheets say it: so much of the reading, and so many watts.

    Attributes:
        relative: Share of the reading.
        offset_w: Watts, whatever it reads.
    """

    relative: float
    offset_w: float

    def at(self, power_w: float) -> float:
        """Return it relative to a reading; at most 1, where the reading tells nothing any more.

        The two parts err independently, so their squares add up.
        """
        return min(math.hypot(self.relative, self.offset_w / power_w), 1.0) if power_w > 0.0 else 1.0


class Reader(Protocol):
    """An opened sensor."""

    def read(self) -> PowerSample | EnergySample:
        """Read the sensor now; one reader always gives samples of one type.

        Raises:
            MeasurementError: The sensor gives nothing that can be believed.
        """
        ...


@runtime_checkable
class Monitor(Reader, Protocol):
    """An opened sensor that can say more than one figure."""

    def counter(self) -> EnergySample | None:
        """Read the device's own energy counter, if it has one, to be held against the power readings.

        Raises:
            MeasurementError: It was there and is gone.
        """
        ...

    def conditions(self) -> Conditions:
        """Look at the device's state.

        Raises:
            MeasurementError: The device is gone.
        """
        ...


class Sensor(Protocol):
    """Something that can be opened for reading. Making one touches no device."""

    @property
    def name(self) -> str:
        """The name it is chosen by."""
        ...

    @property
    def domain(self) -> Domain:
        """What its figures include."""
        ...

    @property
    def kind(self) -> Kind:
        """Whether it measures."""
        ...

    @property
    def poll_interval_s(self) -> float | None:
        """How often to read; None for a counter, which is read exactly twice per window."""
        ...

    @property
    def update_period_s(self) -> float | None:
        """How often its reading changes; None if that is not known before it is watched."""
        ...

    @property
    def averaging_window_s(self) -> float | None:
        """Over how long each of its readings averages; None if that is not known."""
        ...

    @property
    def accuracy(self) -> Accuracy | None:
        """How far off the true value its readings may be; None if nothing is known about it."""
        ...

    @property
    def max_window_s(self) -> float | None:
        """The longest window whose two reads can be told apart from a counter's wrap; None for any."""
        ...

    @property
    def details(self) -> Mapping[str, str | float]:
        """What must stand in the result for its figures to be understood and compared."""
        ...

    def unavailable(self) -> str | None:
        """Why it cannot be opened here and what would mend that, as two lines; None if it can."""
        ...

    def open(self, clock: Clock) -> AbstractContextManager[Reader]:
        """Open it for reading against a clock.

        Raises:
            UnavailableError: It cannot be opened here.
        """
        ...


@dataclass(frozen=True)
class SensorRequest:
    """What a sensor may need to know to be made.

    Attributes:
        argument: What stands behind the colon in `--sensor NAME:ARGUMENT`, or empty.
        watts_per_core: Watts that a busy CPU core is stated to draw.
        device: The device the engine runs on, such as "cpu" or "cuda:0".
    """

    argument: str
    watts_per_core: float
    device: str


class SensorFactory(Protocol):
    """How a class of sensors plugs in: what `perframe.sensors` entry points refer to."""

    def from_request(self, request: SensorRequest) -> Sensor:
        """Make the sensor.

        Raises:
            UsageError: The request does not fit this sensor.
            InputError: The argument names a file that is not usable.
        """
        ...
