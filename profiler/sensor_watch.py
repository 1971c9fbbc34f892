"""What a power sensor of this machine does: watched for a moment, or characterised by a load."""

from pathlib import Path

from perframe.engines.clock import SystemClock
from perframe.errors import UsageError
from perframe.profiler.characterise import SensorCharacter, characterise, keep_character, kept_character
from perframe.profiler.energy import open_meter
from perframe.profiler.load import switchable_load
from perframe.profiler.lock import device_lock
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.sensors.registry import sensor_from

# Long enough for a dozen updates of the slowest sensors.
_WATCH_S = 2.0
# What identifies a card has no place in a bug report.
_PRIVATE = frozenset({"uuid"})


def watched(sensor: Sensor) -> str:
    """Say what a sensor is and, of one that measures, what it reads now and how often that changes.

    Raises:
        UnavailableError: It cannot be opened.
        MeasurementError: It gives nothing that can be believed.
    """
    told = [sensor.kind, f"domain {sensor.domain}"]
    told += [f"{key} {value}" for key, value in sensor.details.items() if key not in _PRIVATE]
    if sensor.kind == "measured":
        clock = SystemClock()
        with open_meter(sensor, clock) as meter:
            meter.start()
            clock.sleep(_WATCH_S)
            energy_j = meter.stop().energy_j
            period_s = meter.update_period_s()
        if energy_j is not None:
            told.append(f"{energy_j / _WATCH_S:.1f} W at rest")
        told.append(
            "update period not seen" if period_s is None else f"updates every {period_s * 1e3:.0f} ms"
        )
        told += _character(kept_character(sensor))
    return ", ".join(told)


def characterise_sensor(spec: str, device: str, switches: int = 20) -> tuple[SensorCharacter, Path]:
    """Switch a load on `device` on and off, find what the sensor makes of it, and keep that.

    Args:
        spec: The sensor, as `--sensor` takes it.
        device: `cpu` or `cuda:N`.
        switches: How often to switch on; each takes about four seconds.

    Returns:
        What was found, and the file it was kept in.

    Raises:
        UsageError: There is no power sensor of this name: a counter needs no characterisation.
        UnavailableError: Sensor, device or ONNX Runtime is not there.
        MeasurementError: The reading does not follow the load.
    """
    sensor = sensor_from(spec, watts_per_core=10.0, device=device)
    if sensor is None or sensor.poll_interval_s is None:
        raise UsageError(
            f"--sensor {spec}: a counter is read twice and needs no characterisation.",
            "Give a sensor of watts: nvml.",
        )
    with device_lock(device), switchable_load(device) as (load, clock), sensor.open(clock) as reader:
        found = characterise(reader, clock, load, switches=switches)
    return found, keep_character(sensor, found)


def _character(character: SensorCharacter | None) -> list[str]:
    if character is None:
        return []
    return [
        f"characterised: updates every {character.update_period_s * 1e3:.0f} ms",
        f"averages over {character.averaging_window_s * 1e3:.0f} ms",
        f"late by {character.delay_s * 1e3:.0f} ms",
    ]
