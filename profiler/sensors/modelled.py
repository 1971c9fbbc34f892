"""Energy where no sensor is: the CPU time spent, times stated watts per busy core."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from perframe.engines.clock import Clock
from perframe.errors import UsageError
from perframe.profiler.sensors.base import Domain, EnergySample, Kind, SensorRequest


@dataclass(frozen=True)
class Modelled:
    """CPU seconds of this process, over all its threads, times `watts_per_core`.

    It knows nothing of memory, clocks or what the instructions are: it compares how long cores are busy, and
    measures nothing.

    Attributes:
        watts_per_core: Watts that one busy core is stated to draw.
    """

    watts_per_core: float

    name: ClassVar[str] = "modelled"
    domain: ClassVar[Domain] = "package"
    kind: ClassVar[Kind] = "modelled"
    poll_interval_s: ClassVar[None] = None
    update_period_s: ClassVar[None] = None
    accuracy: ClassVar[None] = None
    max_window_s: ClassVar[None] = None
    averaging_window_s: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.watts_per_core) and self.watts_per_core > 0):
            raise UsageError(
                f"--watts {self.watts_per_core:g}: expected the positive number of watts a busy core draws.",
                "Divide the processor's rated power by its cores.",
            )

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Modelled":
        """See `perframe.profiler.sensors.base.SensorFactory`."""
        if request.argument:
            raise UsageError(
                f"--sensor modelled:{request.argument}: modelled takes nothing behind a colon.",
                "Give the watts per busy core with --watts.",
            )
        if request.device not in ("cpu", "fake"):
            raise UsageError(
                f"--sensor modelled: it models the CPU, but the engine runs on {request.device}.",
                "Give a sensor of that device, or --sensor none.",
            )
        return cls(request.watts_per_core)

    @property
    def details(self) -> Mapping[str, str | float]:
        """The watts stated."""
        return {"watts_per_core": self.watts_per_core}

    def unavailable(self) -> str | None:
        """Never: it needs no hardware."""
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator["_Reader"]:
        """See `perframe.profiler.sensors.base.Sensor.open`."""
        yield _Reader(clock, self.watts_per_core)


class _Reader:
    def __init__(self, clock: Clock, watts_per_core: float) -> None:
        self._clock = clock
        self._watts_per_core = watts_per_core

    def read(self) -> EnergySample:
        return EnergySample(self._clock.now_s(), self._clock.cpu_s() * self._watts_per_core)
