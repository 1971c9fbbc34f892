"""A recorded power trace played back as if it were a sensor."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from perframe.engines.clock import Clock
from perframe.errors import MeasurementError, UsageError
from perframe.files import sha256_of
from perframe.profiler.calibration import default_accuracy
from perframe.profiler.power_series import change_times_s, update_period_s
from perframe.profiler.sensors.base import Accuracy, Domain, Kind, PowerSample, SensorRequest
from perframe.profiler.trace_files import PowerTrace, read_trace

# Reading more often than this would disturb what is measured meanwhile.
_SHORTEST_POLL_S = 0.01


class Replay:
    """A recorded trace, played from the moment it is opened: a sample-and-hold sensor.

    Args:
        path: The file, in any form that `perframe.profiler.trace_files.read_trace` knows; it is read at once.

    Raises:
        InputError: The file is not usable.
    """

    name: ClassVar[str] = "replay"
    kind: ClassVar[Kind] = "measured"
    max_window_s: ClassVar[None] = None
    averaging_window_s: ClassVar[None] = None

    def __init__(self, path: Path) -> None:
        self.trace = read_trace(path)
        self.update_period_s = update_period_s(change_times_s(self.trace.t_s, self.trace.power_w))
        self._sha256 = sha256_of(path)

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Replay":
        """See `perframe.profiler.sensors.base.SensorFactory`."""
        if not request.argument:
            raise UsageError("--sensor replay: expected a recorded trace.", "Give --sensor replay:FILE.csv.")
        return cls(Path(request.argument))

    @property
    def domain(self) -> Domain:
        """What the recorded column includes."""
        return self.trace.domain

    @property
    def poll_interval_s(self) -> float:
        """As often as it was recorded, within reason."""
        return max(float(np.median(np.diff(self.trace.t_s))), _SHORTEST_POLL_S)

    @property
    def accuracy(self) -> Accuracy | None:
        """That of the GPU sensor that was recorded; of anything else nothing is known."""
        return default_accuracy(self.trace.card) if self.domain == "gpu" else None

    @property
    def details(self) -> Mapping[str, str | float]:
        """Which trace was played."""
        trace = self.trace
        known = {"gpu": trace.card, "uuid": trace.uuid}
        return {
            "file": trace.path.name,
            "sha256": self._sha256,
            "column": trace.column,
            "duration_s": trace.duration_s,
            "samples": float(len(trace.t_s)),
            **{name: value for name, value in known.items() if value is not None},
        }

    def unavailable(self) -> str | None:
        """Never: the file has been read."""
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator["_Reader"]:
        """See `perframe.profiler.sensors.base.Sensor.open`."""
        yield _Reader(self.trace, clock)


class _Reader:
    def __init__(self, trace: PowerTrace, clock: Clock) -> None:
        self._path, self._clock = trace.path, clock
        self._times_s, self._powers_w = trace.t_s.tolist(), trace.power_w.tolist()
        self._shift_s = clock.now_s() - self._times_s[0]

    def read(self) -> PowerSample:
        recorded_s = self._clock.now_s() - self._shift_s
        first_s, last_s = self._times_s[0], self._times_s[-1]
        if recorded_s > last_s:
            raise MeasurementError(
                f"{self._path}: the trace is {last_s - first_s:.1f} s long, "
                f"and the measurement has needed {recorded_s - first_s:.1f} s so far.",
                "Measure for a shorter time or fewer batch sizes, or record a longer trace.",
            )
        # Rounding may put the moment of opening just before the first sample.
        index = max(bisect_right(self._times_s, recorded_s) - 1, 0)
        return PowerSample(self._times_s[index] + self._shift_s, self._powers_w[index])
