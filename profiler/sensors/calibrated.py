"""A sensor corrected by what an external meter said about it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perframe.engines.clock import Clock
from perframe.errors import UsageError
from perframe.profiler.calibration import Calibration, read_calibration
from perframe.profiler.result import CalibrationUse
from perframe.profiler.sensors.base import (
    Accuracy,
    Conditions,
    Domain,
    EnergySample,
    Kind,
    Monitor,
    PowerSample,
    Reader,
    Sensor,
)


def calibrated(sensor: Sensor | None, file: Path | None) -> Sensor | None:
    """Return `sensor` corrected by the calibration in `file`, or as it is where there is none.

    Raises:
        UsageError: There is no sensor to correct.
        InputError: The file is not usable, or known to be another card's.
    """
    if file is None:
        return sensor
    if sensor is None or (sensor.kind == "modelled" and sensor.poll_interval_s is None):
        raise UsageError(
            "--calibration: there is no sensor whose readings it could correct.", "Give a --sensor."
        )
    return Calibrated(sensor, read_calibration(file))


class Calibrated:
    """`sensor`, with gain and offset applied to everything it reads, its counter included.

    Args:
        sensor: The sensor.
        calibration: Of the same card.

    Raises:
        InputError: The calibration is known to be another card's.
    """

    def __init__(self, sensor: Sensor, calibration: Calibration) -> None:
        details = sensor.details
        calibration.require_card(_told(details, "gpu"), _told(details, "uuid"), f"sensor {sensor.name}")
        self._sensor, self._calibration = sensor, calibration
        self.name: str = sensor.name
        self.domain: Domain = sensor.domain
        self.kind: Kind = sensor.kind
        self.poll_interval_s = sensor.poll_interval_s
        self.update_period_s = sensor.update_period_s
        self.averaging_window_s = sensor.averaging_window_s
        self.max_window_s = sensor.max_window_s
        self.accuracy: Accuracy | None = Accuracy(calibration.uncertainty, 0.0)
        self.uncorrected_accuracy = sensor.accuracy

    @property
    def details(self) -> Mapping[str, str | float]:
        """The sensor's, and what corrects it."""
        found = self._calibration
        return {
            **self._sensor.details,
            "calibration_gain": found.gain,
            "calibration_offset_w": found.offset_w,
        }

    def use(self) -> CalibrationUse:
        """How well the calibration fits this sensor."""
        details = self._sensor.details
        field = _told(details, "field") or _told(details, "column")
        if details.get("scope") == "module":
            field = f"module {field}"
        return self._calibration.use(
            field, _told(details, "gpu"), _told(details, "uuid"), _told(details, "sha256")
        )

    def unavailable(self) -> str | None:
        """See `perframe.profiler.sensors.base.Sensor.unavailable`."""
        return self._sensor.unavailable()

    @contextmanager
    def open(self, clock: Clock) -> Iterator["_Reader"]:
        """See `perframe.profiler.sensors.base.Sensor.open`."""
        with self._sensor.open(clock) as reader:
            yield (
                _MonitorReader(reader, self._calibration)
                if isinstance(reader, Monitor)
                else _Reader(reader, self._calibration)
            )


def _told(details: Mapping[str, str | float], key: str) -> str | None:
    return str(details[key]) if key in details else None


class _Reader:
    def __init__(self, reader: Reader, calibration: Calibration) -> None:
        self._reader, self._calibration = reader, calibration

    def read(self) -> PowerSample | EnergySample:
        sample = self._reader.read()
        if isinstance(sample, EnergySample):
            return self._counted(sample)
        return PowerSample(sample.t_s, self._calibration.energy_j(sample.power_w, 1.0))

    def _counted(self, sample: EnergySample) -> EnergySample:
        # Only differences count, so the clock's origin does not matter.
        return EnergySample(sample.t_s, self._calibration.energy_j(sample.energy_j, sample.t_s))


class _MonitorReader(_Reader):
    def __init__(self, reader: Monitor, calibration: Calibration) -> None:
        super().__init__(reader, calibration)
        self._monitor = reader

    def counter(self) -> EnergySample | None:
        sample = self._monitor.counter()
        return None if sample is None else self._counted(sample)

    def conditions(self) -> Conditions:
        return self._monitor.conditions()
