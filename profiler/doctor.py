"""What this machine can build, run and measure, and what would mend the rest."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perframe.engines.clock import SystemClock
from perframe.engines.cuda import cuda_unavailable
from perframe.engines.registry import backend_named, backend_names
from perframe.errors import PerframeError, UnavailableError, UsageError
from perframe.profiler.characterise import SensorCharacter, characterise, keep_character, kept_character
from perframe.profiler.energy import open_meter
from perframe.profiler.environment import environment
from perframe.profiler.load import switchable_load
from perframe.profiler.lock import device_lock
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.sensors.nvml import capabilities
from perframe.profiler.sensors.nvml_library import NvmlLibrary, load_pynvml
from perframe.profiler.sensors.registry import sensor_from, sensor_names

# Long enough for a dozen updates of the slowest sensors.
_WATCH_S = 2.0
# They need a file or parameters, and say nothing about the machine.
_NOT_HARDWARE = frozenset({"replay", "sim"})


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: `checkpoints`, `engine` or `sensor`.
        name: Which one.
        works: Whether it can be used here.
        what: What was found.
        remedy: What would mend it; empty where nothing needs to.
    """

    topic: Literal["checkpoints", "engine", "sensor"]
    name: str
    works: bool
    what: str
    remedy: str


@dataclass(frozen=True)
class GpuAnswers:
    """What one NVIDIA GPU answers to everything that NVML can be asked.

    Attributes:
        gpu: Index and name.
        driver: Version of its driver.
        unavailable: Why it cannot be measured; `None` if it can.
        answers: Every question, with the value or the reason why there is none.
    """

    gpu: str
    driver: str
    unavailable: str | None
    answers: dict[str, str]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found; holds no host name, user name or path of the user's."""

    environment: dict[str, str | float | None]
    findings: tuple[Finding, ...]
    gpus: tuple[GpuAnswers, ...]


def examine(device: str = "cpu") -> Diagnosis:
    """Look at the machine. Takes a few seconds where there is a power sensor to watch.

    Args:
        device: The device whose sensors are looked at.
    """
    torch = importlib.util.find_spec("torch") is not None
    findings = [
        Finding(
            "checkpoints",
            "torch",
            torch,
            "checkpoints can be read" if torch else "not installed: only ONNX files and engines can be given",
            "" if torch else "pip install 'perframe[torch]'",
        )
    ]
    findings += [_engine(name) for name in backend_names()]
    findings += [_sensor(name, device) for name in sensor_names() if name not in _NOT_HARDWARE]
    return Diagnosis(environment(), tuple(findings), gpu_answers())


def gpu_answers(library: Callable[[], NvmlLibrary] = load_pynvml) -> tuple[GpuAnswers, ...]:
    """Ask every NVIDIA GPU of this machine everything, one call after the other; empty where there is none.

    Args:
        library: Gives the seam to NVML.
    """
    try:
        found = capabilities(library)
    except UnavailableError:
        return ()
    return tuple(
        GpuAnswers(
            gpu=f"GPU {each.gpu.index}: {each.gpu.name}",
            driver=each.driver,
            unavailable=None if each.unavailable is None else each.unavailable.partition("\n")[0],
            answers={
                what: str(told if told.value is None else told.value) for what, told in each.answers.items()
            },
        )
        for each in found
    )


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


def _engine(name: str) -> Finding:
    try:
        backend = backend_named(name)
    except PerframeError as error:
        return Finding("engine", name, False, error.message, error.hint)
    if backend.default_device != "cpu" and (reason := cuda_unavailable()) is not None:
        message, _, remedy = reason.partition("\n")
        return Finding("engine", name, True, f"can build, but not run: {message}", remedy)
    return Finding("engine", name, True, "can build and run", "")


def _sensor(name: str, device: str) -> Finding:
    try:
        sensor = sensor_from(name, watts_per_core=10.0, device=device)
        assert sensor is not None, "only 'none' is no sensor"
        return Finding("sensor", name, True, _watched(sensor), "")
    except PerframeError as error:
        return Finding("sensor", name, False, error.message, error.hint)


def _watched(sensor: Sensor) -> str:
    told = [sensor.kind, f"domain {sensor.domain}"]
    told += [f"{key} {value}" for key, value in sensor.details.items()]
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


def _character(character: SensorCharacter | None) -> list[str]:
    if character is None:
        return []
    return [
        f"characterised: updates every {character.update_period_s * 1e3:.0f} ms",
        f"averages over {character.averaging_window_s * 1e3:.0f} ms",
        f"late by {character.delay_s * 1e3:.0f} ms",
    ]
