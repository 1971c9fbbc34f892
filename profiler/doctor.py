"""What this machine can build, run and measure, and what would mend the rest."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from perframe.engines.cuda import cuda_unavailable
from perframe.engines.installed import Installed, installed
from perframe.engines.registry import backend_named, backend_names
from perframe.errors import PerframeError, UnavailableError
from perframe.profiler.environment import environment
from perframe.profiler.finding import Finding, obstacle
from perframe.profiler.fit import fit
from perframe.profiler.private import without_names
from perframe.profiler.sensor_watch import watched
from perframe.profiler.sensors.nvml import capabilities
from perframe.profiler.sensors.nvml_library import NvmlLibrary, load_pynvml
from perframe.profiler.sensors.registry import covering_sensors, sensor_from, sensor_names
from perframe.profiler.system import devices, permissions
from perframe.progress import Progress, silent

SCHEMA = "perframe.doctor/1"

# They need a file or parameters, and say nothing about the machine.
_NOT_HARDWARE = frozenset({"replay", "sim"})
# Of one busy core, as the modelled sensor takes them unless told.
_WATTS = 10.0


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
    """Everything that was found; holds no host name, user name or path of the user's.

    Attributes:
        environment: The machine and the software.
        findings: What was looked at.
        gpus: What every NVIDIA GPU answers.
    """

    environment: dict[str, str | float | None]
    findings: tuple[Finding, ...]
    gpus: tuple[GpuAnswers, ...]


def examine(gpu: str = "cuda:0", progress: Progress = silent) -> Diagnosis:
    """Look at the machine. Takes seconds only where there is a power sensor to watch.

    Libraries are imported where that tells more than their being there; torch is not, since it takes longer than all
    the rest. What a job really needs is proved by `perframe.profiler.job.require_job`.

    Args:
        gpu: The GPU whose sensors are looked at.
        progress: Told what is being looked at.
    """
    progress("devices", 0.0)
    software = installed()
    found = list(devices(driver=software.driver_cuda is not None))
    usable = [each.name for each in found if each.works]
    looks: dict[str, Callable[[], Finding]] = {"checkpoints": _checkpoints}
    looks |= {f"engine {name}": partial(_engine, name, software) for name in backend_names()}
    looks |= {
        f"sensor {name}": partial(_sensor, name, gpu) for name in sensor_names() if name not in _NOT_HARDWARE
    }
    for number, (what, look) in enumerate(looks.items(), start=1):
        progress(what, number / (len(looks) + 1))
        found.append(look())
    found += [_energy(device, found) for device in usable]
    found += [*fit(software), *permissions()]
    return Diagnosis(
        environment(),
        tuple(
            replace(each, what=without_names(each.what), remedy=without_names(each.remedy)) for each in found
        ),
        gpu_answers(),
    )


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


def _checkpoints() -> Finding:
    if importlib.util.find_spec("torch") is None:
        what = "torch is not installed: only ONNX files and engines can be given"
        return Finding("checkpoints", "torch", False, what, "pip install 'perframe[torch]'")
    return Finding("checkpoints", "torch", True, "torch is installed")


def _engine(name: str, software: Installed) -> Finding:
    try:
        backend = backend_named(name)
    except PerframeError as error:
        return obstacle("engine", name, error)
    there = f"{software.versions[name]} is installed" if name in software.versions else "is there"
    if backend.default_device != "cpu" and (reason := cuda_unavailable()) is not None:
        message, _, remedy = reason.partition("\n")
        what = f"{there}; it can build, and cannot run here: {message}"
        return Finding("engine", name, False, what, remedy, builds=True)
    return Finding("engine", name, True, there)


def _sensor(name: str, gpu: str) -> Finding:
    device = gpu if name in covering_sensors(gpu) else "cpu"
    try:
        sensor = sensor_from(name, watts_per_core=_WATTS, device=device)
        assert sensor is not None, "only 'none' is no sensor"
        return Finding("sensor", name, True, watched(sensor))
    except PerframeError as error:
        return obstacle("sensor", name, error)


def _energy(device: str, found: list[Finding]) -> Finding:
    """Whether a device's joules are measured here, and what would let them be."""
    try:
        sensor = sensor_from("auto", watts_per_core=_WATTS, device=device)
    except PerframeError as error:
        return obstacle("energy", device, error)
    assert sensor is not None, "only 'none' is no sensor"
    if sensor.kind == "measured":
        return Finding("energy", device, True, f"measured, by {sensor.name}")
    failing = (
        each
        for each in found
        if each.topic == "sensor" and not each.works and each.name in covering_sensors(device)
    )
    remedy = next((each.remedy for each in failing), "")
    return Finding("energy", device, False, f"not measured: {sensor.name} only", remedy)
