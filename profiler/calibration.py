"""What a card's power sensor must be corrected by, found beside an external meter.

One gain does not do: at rest and under load sensors are off by different shares (an RTX 4090 by 26 % and 1 %). Gain and
offset from both levels bring the energy of a run to within a few tenths of a per cent of the meter.
"""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from perframe.errors import InputError
from perframe.files import write_text
from perframe.profiler.trace_files import PowerTrace
from perframe.typed_json import from_json, read_document

SCHEMA = "perframe.calibration/1"

# Cards whose sensor was held against an external meter and was at most 8 % off (arXiv 2312.02741). Mobile cards of
# the same numbers were not among them.
_CHARACTERISED = re.compile(r"\b(P100|GTX 1080|V100|A100|H100|RTX 30[5-9]0|RTX A5000|RTX 40[5-9]0)\b")
_KNOWN, _UNKNOWN = 0.08, 0.13


@dataclass(frozen=True)
class Level:
    """One of the two levels that a calibration rests on.

    Attributes:
        sensor_w: Mean of the sensor's readings.
        meter_w: Mean of the meter's at the same time.
        duration_s: How long.
    """

    sensor_w: float
    meter_w: float
    duration_s: float


@dataclass(frozen=True)
class Calibration:
    """True watts = gain x sensor's watts + offset.

    Attributes:
        gain: Without unit.
        offset_w: Watts.
        uncertainty: Relative, 95 %: twice the root mean square of what the correction leaves over half seconds, at
            least 1 %. The meter's own error comes on top.
        idle: The lower level.
        load: The upper one.
        column: The sensor's field or column.
        card: Name of the card, if known.
        uuid: What identifies it, if known.
        sensor_sha256: Of the sensor's trace.
        meter_sha256: Of the meter's trace.
    """

    gain: float
    offset_w: float
    uncertainty: float
    idle: Level
    load: Level
    column: str
    card: str | None
    uuid: str | None
    sensor_sha256: str
    meter_sha256: str

    margin: ClassVar[float] = 0.1
    """How far beyond the two levels it still holds, as a share of their distance."""

    def energy_j(self, energy_j: float, duration_s: float) -> float:
        """Correct the joules of a stretch of `duration_s`."""
        return self.gain * energy_j + self.offset_w * duration_s

    def apply(self, trace: PowerTrace) -> PowerTrace:
        """Correct a trace of the same card.

        Raises:
            InputError: It is known to be another card's.
        """
        self.require_card(trace.card, trace.uuid, str(trace.path))
        # An offset below zero may carry a reading near 0 below it, where no power is.
        corrected_w = np.maximum(self.gain * trace.power_w + self.offset_w, 0.0)
        return dataclasses.replace(trace, power_w=corrected_w)

    def require_card(self, card: str | None, uuid: str | None, where: str) -> None:
        """Refuse a card that is known to be another one.

        Args:
            card: Its name, if known.
            uuid: What identifies it, if known.
            where: The trace or the sensor, for the message.

        Raises:
            InputError: Both identities are known and differ: every card's sensor errs in its own way.
        """
        for mine, other in ((self.uuid, uuid), (self.card, card)):
            if mine is not None and other is not None and mine != other:
                raise InputError(
                    f"{where}: expected the card of the calibration, {mine}, found {other}.",
                    "Calibrate this card, or leave out --calibration.",
                )

    def covers(self, power_w: float) -> bool:
        """Tell whether sensor's watts lie between the two levels, or `margin` beyond."""
        margin_w = self.margin * (self.load.sensor_w - self.idle.sensor_w)
        return self.idle.sensor_w - margin_w <= power_w <= self.load.sensor_w + margin_w


def default_uncertainty(card: str | None) -> float:
    """Return how far off an uncalibrated GPU sensor may be, relative, under load.

    8 % for the kinds of cards whose sensor has been held against an external meter, 13 % for all others
    (arXiv 2312.02741, overall results). At rest the share may be larger.
    """
    known = card is not None and _CHARACTERISED.search(card) and "Laptop" not in card
    return _KNOWN if known else _UNKNOWN


def calibration_to_json(calibration: Calibration) -> str:
    """Return the calibration as a JSON document."""
    return json.dumps({"schema": SCHEMA, **dataclasses.asdict(calibration)}, indent=1, allow_nan=False)


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write the calibration to `path`, whole or not at all."""
    write_text(path, calibration_to_json(calibration) + "\n")


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        InputError: The file is missing, not JSON, no calibration, from a newer version, or a field is wrong.
    """
    document = read_document(
        path,
        "calibration",
        SCHEMA,
        "Make one with: perframe trace SENSOR.csv --meter METER.csv --calibrate OUT.json",
    )
    found = from_json(Calibration, document, str(path))
    if not (np.isfinite([found.gain, found.offset_w, found.uncertainty]).all() and found.gain > 0):
        raise InputError(
            f"{path}: expected a finite gain above 0 and a finite offset, found {found.gain:g} and"
            f" {found.offset_w:g} W.",
            "Was the file edited? Derive it again.",
        )
    return found
