"""Texas Instruments' power monitors as Linux shows them: INA3221 in both of its drivers' forms, and INA238.

Layouts: NVIDIA's driver of JetPack 4 (iio, milliwatts); https://docs.kernel.org/hwmon/ina3221.html (millivolts and
milliamperes, no power); https://docs.kernel.org/hwmon/ina238.html (microwatts). Figures of the chips: TI's data
sheets SBOS576 (INA3221) and SLYS025 (INA238). The numbers of hwmon and iio folders change from boot to boot, so
rails are found by their label.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# One conversion of the shunt and one of the bus voltage for each of three channels, 1.1 ms each by default.
_INA3221_CYCLE_S = 3 * 2 * 1.1e-3

# The kernel's driver averages 16 conversions of temperature, shunt and bus voltage, 1.052 ms each.
_INA238_CYCLE_S = 16 * 3 * 1.052e-3

_INA3221_SHUNT_STEP_V = 40e-6

# What NVIDIA's tools call the one rail behind an INA238, whose driver has no labels of its own.
_INA238_LABEL = "VIN"

_NOT_CONNECTED = ("", "NC")


@dataclass(frozen=True)
class Rail:
    """One supply whose power is monitored.

    Attributes:
        label: Its name on the board.
        files: Files of whole numbers whose product is its power.
        unit_w: Watts that 1 in that product stands for.
        update_period_s: How often the chip has a new reading.
        samples: Conversions the chip averages; None where its driver does not tell.
        step_w: What one step of the current is in watts, at the voltage it had when found; None where the shunt
            is not told.
    """

    label: str
    files: tuple[Path, ...]
    unit_w: float
    update_period_s: float
    samples: int | None = None
    step_w: float | None = None

    def read_w(self) -> float:
        """Read the power now, in watts.

        The kernel may wait for the chip's next conversion, once per file. A current near zero may read below
        zero by the offset of the chip.

        Raises:
            OSError: A file is gone or gives nothing.
            ValueError: A file holds no whole number.
        """
        product = 1
        for file in self.files:
            product *= _read_integer(file)
        return product * self.unit_w


def find_rails(root: Path) -> tuple[Rail, ...]:
    """Find the rails of every monitor below `root`, by the order of their chips; those not connected are left out.

    Args:
        root: Where the system's `sys` lies.

    Raises:
        OSError: A monitor is there but cannot be looked at.
        ValueError: A monitor says nonsense about itself.
    """
    drivers = root / "sys/bus/i2c/drivers"
    return (*_ina3221_iio(drivers), *_ina3221_hwmon(drivers), *_ina238(drivers))


def _ina3221_iio(drivers: Path) -> Iterator[Rail]:
    for folder in sorted(drivers.glob("ina3221x/*-004[0-3]/iio:device*")):
        for channel in range(3):
            label = _label(folder / f"rail_name_{channel}")
            if label not in _NOT_CONNECTED:
                yield Rail(label, (folder / f"in_power{channel}_input",), 1e-3, _INA3221_CYCLE_S)


def _ina3221_hwmon(drivers: Path) -> Iterator[Rail]:
    for folder in sorted(drivers.glob("ina3221/*-004[0-3]/hwmon/hwmon*")):
        update_period_s = _update_period_s(folder, _INA3221_CYCLE_S)
        samples = _optional_integer(folder / "samples")
        # Channels 4 to 6 are the shunt voltages of 1 to 3, and channel 7, though labelled, is their sum.
        for channel in (1, 2, 3):
            label = _label(folder / f"in{channel}_label")
            if label in _NOT_CONNECTED:
                continue
            voltage_file = folder / f"in{channel}_input"
            shunt_uohm = _optional_integer(folder / f"shunt{channel}_resistor")
            step_w = None
            if shunt_uohm:
                step_w = _INA3221_SHUNT_STEP_V / (shunt_uohm * 1e-6) * _read_integer(voltage_file) * 1e-3
            files = (voltage_file, folder / f"curr{channel}_input")
            yield Rail(label, files, 1e-6, update_period_s, samples, step_w)


def _ina238(drivers: Path) -> Iterator[Rail]:
    for folder in sorted(drivers.glob("ina238/*-004[0-9a-f]/hwmon/hwmon*")):
        label = _label(folder / "in1_label") or _label(folder / "label") or _INA238_LABEL
        yield Rail(
            label,
            (folder / "power1_input",),
            1e-6,
            _update_period_s(folder, _INA238_CYCLE_S),
            _optional_integer(folder / "samples"),
        )


def _update_period_s(folder: Path, default_s: float) -> float:
    interval_ms = _optional_integer(folder / "update_interval")
    # The driver rounds to milliseconds, the shortest cycle of one channel to 0.
    return default_s if interval_ms is None else max(interval_ms, 1) * 1e-3


def _label(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def _optional_integer(file: Path) -> int | None:
    try:
        return _read_integer(file)
    except FileNotFoundError:
        return None


def _read_integer(file: Path) -> int:
    # Several files are read at every poll, and this costs less than half of what Path.read_text does.
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(handle, 64))
    finally:
        os.close(handle)
