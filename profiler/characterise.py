"""What a power sensor does to the truth: how often it updates, over how long it averages, how late it is.

The load is switched on and off; the switch-ons fall at random moments of the sensor's cycle. Seen from the switch,
the readings of all switches together trace the sensor's step response: zero until the delay, then rising for
as long as it averages (the method of arXiv 2312.02741, without an external meter).
"""

import dataclasses
import hashlib
import json
import os
import random
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perframe.arrays import Array
from perframe.engines.clock import Clock
from perframe.errors import InputError, MeasurementError
from perframe.files import write_text
from perframe.profiler.power_series import change_times_s, update_period_s
from perframe.profiler.sensors.base import PowerSample, Reader, Sensor
from perframe.typed_json import from_json

_POLL_S = 0.004
_SETTLE_S = 1.5
# Readings within this share of the switch's size of each other are no step at all.
_LEAST_STEP = 0.05
_GRID = 60
_WORST_FIT = 0.15


@dataclass(frozen=True)
class SensorCharacter:
    """What was found.

    Attributes:
        update_period_s: Median time between changes of the reading.
        averaging_window_s: Over how long a reading averages.
        delay_s: How long after the fact it begins to show.
        idle_w: Reading at rest.
        active_w: Reading under the load.
        switches: Switch-ons it was found from.
        residual: Root mean square of what the fit leaves, relative to the step.
    """

    update_period_s: float
    averaging_window_s: float
    delay_s: float
    idle_w: float
    active_w: float
    switches: int
    residual: float


def characterise(
    reader: Reader, clock: Clock, load: Callable[[float], None], *, switches: int = 20, seed: int = 0
) -> SensorCharacter:
    """Switch `load` on and off and watch what `reader` makes of it.

    Args:
        reader: An open sensor that gives watts.
        clock: The clock it was opened with.
        load: Keeps the device busy for about so many seconds.
        switches: How often to switch on.
        seed: Of the moments.

    Raises:
        MeasurementError: The reading does not follow the load, or changes too seldom to say.
    """
    samples: list[PowerSample] = []
    ons: list[float] = []
    moments = random.Random(seed)

    def poll() -> None:
        sample = reader.read()
        assert isinstance(sample, PowerSample), "a counter needs no characterisation"
        samples.append(sample)

    with clock.every(_POLL_S, poll):
        for _ in range(switches):
            clock.sleep(_SETTLE_S + moments.random())
            ons.append(clock.now_s())
            load(_SETTLE_S)
    times = np.array([sample.t_s for sample in samples])
    watts = np.array([sample.power_w for sample in samples])
    period_s = update_period_s(change_times_s(times, watts))
    if period_s is None:
        raise MeasurementError(
            f"The sensor's reading hardly changed in {times[-1] - times[0]:.0f} s: it cannot be characterised.",
            "Use another --sensor.",
        )
    since, share, idle_w, active_w = _step_response(times, watts, ons)
    delay_s, window_s, residual = _fit(since, share)
    if residual > _WORST_FIT:
        raise MeasurementError(
            f"The readings after a switch do not follow one response: the fit leaves {residual:.0%} of the step.",
            "Stop other work on the device and try again.",
        )
    return SensorCharacter(
        update_period_s=period_s,
        averaging_window_s=window_s,
        delay_s=delay_s,
        idle_w=idle_w,
        active_w=active_w,
        switches=switches,
        residual=residual,
    )


@dataclass(frozen=True)
class Response:
    """What is known about how a sensor's reading follows the power.

    Attributes:
        averaging_window_s: Over how long a reading averages; `None` if not known.
        trailing_s: How long it trails the power beyond its update: its delay and half of what it averages over. 0
            where nothing is known beyond the update.
        update_period_s: How often it changes, from when it was characterised: for a reading that stands too still to
            tell.
    """

    averaging_window_s: float | None = None
    trailing_s: float = 0.0
    update_period_s: float | None = None


def response_of(sensor: Sensor | None) -> Response:
    """Return what was found about `sensor` when it was characterised, else what it says of itself."""
    if sensor is None:
        return Response()
    if (found := kept_character(sensor)) is not None:
        trailing_s = found.delay_s + found.averaging_window_s / 2.0
        return Response(found.averaging_window_s, trailing_s, found.update_period_s)
    window_s = sensor.averaging_window_s
    return Response(window_s, (window_s or 0.0) / 2.0)


def character_path(sensor: Sensor) -> Path:
    """Return where what was found about `sensor` is kept: per device, driver and field, in the user's cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    details = sensor.details
    keys = [str(details[key]) for key in ("uuid", "driver", "field") if key in details]
    if sensor.kind == "modelled" or "uuid" not in details:
        # Nothing names the device, so everything that is known of it does.
        known = json.dumps(sorted((key, str(value)) for key, value in details.items()))
        keys.append(hashlib.sha256(known.encode()).hexdigest()[:12])
    name = re.sub(r"[^\w.-]+", "-", "-".join([sensor.name, *keys]))
    return root / "perframe" / "sensors" / f"{name}.json"


def keep_character(sensor: Sensor, character: SensorCharacter) -> Path:
    """Keep what was found for later measurements with the same device, driver and field."""
    path = character_path(sensor)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(dataclasses.asdict(character), indent=1) + "\n")
    return path


def kept_character(sensor: Sensor) -> SensorCharacter | None:
    """Return what was found about `sensor` earlier, or None; a damaged note counts as none."""
    path = character_path(sensor)
    try:
        return from_json(SensorCharacter, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, InputError):
        return None


def _step_response(times: Array, watts: Array, ons: list[float]) -> tuple[Array, Array, float, float]:
    """Readings just after each of their updates, by time since the switch, as a share of the step."""
    fresh = np.flatnonzero(np.diff(watts) != 0.0) + 1
    late = [watts[(times > on + 0.8 * _SETTLE_S) & (times < on + _SETTLE_S)] for on in ons]
    early = [watts[(times > on - 0.2) & (times < on)] for on in ons]
    idle_w, active_w = float(np.median(np.concatenate(early))), float(np.median(np.concatenate(late)))
    if active_w - idle_w < _LEAST_STEP * max(active_w, 1e-9):
        raise MeasurementError(
            f"The reading is {idle_w:.1f} W at rest and {active_w:.1f} W under load: it does not follow the load.",
            "The sensor may belong to another device: check --device and --sensor.",
        )
    since, share = [], []
    for index in fresh:
        position = bisect_left(ons, times[index]) - 1
        if position >= 0 and times[index] - ons[position] < 0.8 * _SETTLE_S:
            since.append(times[index] - ons[position])
            share.append((watts[index] - idle_w) / (active_w - idle_w))
    return np.array(since), np.array(share), idle_w, active_w


def _fit(since: Array, share: Array) -> tuple[float, float, float]:
    """Fit zero until the delay, then a straight rise over the averaging window, by searching a shrinking grid."""
    low, high = np.array([0.0, _POLL_S]), np.array([0.5, 1.2])
    best = (0.0, 0.0, np.inf)
    for _ in range(3):
        delays, windows = np.linspace(low[0], high[0], _GRID), np.linspace(low[1], high[1], _GRID)
        rise = np.clip((since - delays[:, None, None]) / windows[None, :, None], 0.0, 1.0)
        errors = np.sqrt(np.mean((rise - share) ** 2, axis=2))
        i, j = np.unravel_index(np.argmin(errors), errors.shape)
        best = (float(delays[i]), float(windows[j]), float(errors[i, j]))
        step = (high - low) / (_GRID - 1)
        at = np.array([delays[i], windows[j]])
        low, high = np.maximum(at - 2 * step, [0.0, 1e-4]), at + 2 * step
    return best
