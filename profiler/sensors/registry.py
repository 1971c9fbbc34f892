"""Sensors by name: the built-in ones, and those of other packages."""

import logging
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from perframe.errors import UnavailableError, UsageError
from perframe.profiler.sensors.base import Sensor, SensorFactory, SensorRequest

_LOG = logging.getLogger("perframe.sensors")

ENTRY_POINTS = "perframe.sensors"
"""Entry-point group of other packages' sensors; each refers to a `SensorFactory`."""

# Strings, so that choosing one sensor imports no other's libraries.
_BUILT_IN = {
    "jetson": "perframe.profiler.sensors.jetson:Jetson",
    "modelled": "perframe.profiler.sensors.modelled:Modelled",
    "nvml": "perframe.profiler.sensors.nvml:Nvml",
    "rapl": "perframe.profiler.sensors.rapl:Rapl",
    "replay": "perframe.profiler.sensors.replay:Replay",
    "sim": "perframe.profiler.sensors.simulated:Simulated",
}

# What `auto` tries per kind of device: sensors that cover it, measured ones first.
_AUTO = {"cpu": ("rapl", "modelled"), "cuda": ("nvml", "jetson"), "fake": ("modelled",)}


def sensor_names() -> tuple[str, ...]:
    """Return the names `--sensor` knows besides `auto` and `none`, built-in ones first."""
    return (*_BUILT_IN, *sorted(set(_third_party()) - set(_BUILT_IN)))


def covering_sensors(device: str) -> tuple[str, ...]:
    """Return the names of the sensors that cover a device, in the order in which `auto` tries them."""
    return _AUTO.get(device.partition(":")[0], ())


def sensor_from(spec: str, *, watts_per_core: float, device: str) -> Sensor | None:
    """Make the sensor that `--sensor` asks for.

    Args:
        spec: A name of `sensor_names()`, with `:ARGUMENT` where it takes one (`replay:FILE`, `nvml:UUID`);
            `auto` for the first available one that covers the device; `none` for no sensor.
        watts_per_core: Watts that a busy CPU core is stated to draw, for `modelled`.
        device: The device the engine runs on, such as "cpu" or "cuda:0".

    Returns:
        The sensor, not yet opened; None for `none`.

    Raises:
        UsageError: The name is unknown, or the request does not fit the sensor.
        InputError: The argument names a file that is not usable.
        UnavailableError: The sensor cannot be used here, `auto` finds none for the device, or another package's
            sensor cannot be loaded.
    """
    name, _, argument = spec.partition(":")
    if spec == "none":
        return None
    if spec == "auto":
        return _automatic(watts_per_core, device)
    sensor = _factory(name).from_request(SensorRequest(argument, watts_per_core, device))
    if (reason := sensor.unavailable()) is not None:
        message, _, hint = reason.partition("\n")
        raise UnavailableError(message, hint)
    return sensor


def _automatic(watts_per_core: float, device: str) -> Sensor:
    request = SensorRequest("", watts_per_core, device)
    reasons = []
    for name in covering_sensors(device):
        sensor = _factory(name).from_request(request)
        reason = sensor.unavailable()
        if reason is None:
            _LOG.info("auto takes %s for %s", name, device)
            return sensor
        _LOG.info("auto passes over %s: %s", name, reason)
        reasons.append(f"{name}: {reason.splitlines()[0]}")
    raise UnavailableError(
        f"No sensor covers {device}. {' '.join(reasons)}",
        "perframe doctor says what would mend that; --sensor none measures time only.",
    )


def _factory(name: str) -> SensorFactory:
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return cast(SensorFactory, getattr(import_module(module), attribute))
    third_party = _third_party()
    if name not in third_party:
        known = ", ".join((*sensor_names(), "auto", "none"))
        raise UsageError(f"--sensor {name}: no such sensor.", f"Known sensors: {known}.")
    entry = third_party[name]
    try:
        return cast(SensorFactory, entry.load())
    except Exception as error:  # whatever another package's import raises
        raise UnavailableError(
            f"Sensor {name} ({entry.value}) cannot be loaded: {error}.", "Reinstall or update its package."
        ) from error


def _third_party() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
