"""A simulated GPU as a sensor: realistic readings on any machine, which can never pass for a measurement."""

import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from perframe.engines.clock import Clock, VirtualClock
from perframe.errors import UsageError
from perframe.profiler.sensors.base import Accuracy, Domain, Kind, SensorRequest
from perframe.profiler.sensors.nvml import Nvml, NvmlReader
from perframe.profiler.sensors.simulated_gpu import SimulatedGpu, Simulation, Throttle
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml
from perframe.profiler.sensors.simulated_presets import PRESETS

# How closely the load is followed on a virtual clock, whose timers cost nothing; else it is at every reading.
_FOLLOW_S = 0.001

_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

# Parameters as they are given behind the preset, and the fields they set.
_PARAMETERS = {
    "idle": "idle_w",
    "active": "active_w",
    "rise": "rise_time_s",
    "period": "update_period_s",
    "window": "averaging_window_s",
    "delay": "delay_s",
    "phase": "phase_s",
    "gain": "gain",
    "offset": "offset_w",
    "noise": "noise_w",
    "correlation": "noise_correlation_s",
    "seed": "seed",
    "counter_period": "counter_period_s",
    "counter_gain": "counter_gain",
    "counter_stuck": "counter_stuck_from_s",
    "counter_jump": "counter_jump_at_s",
    "throttle": "throttles",
    "tenant": "tenant_from_s",
    "lost": "lost_from_s",
}


class Simulated:
    """A simulated GPU that is busy while this process computes, read by the real NVML sensor.

    Its kind is `modelled`: the watts come from CPU time and parameters, whatever the engine.

    Args:
        gpu: Its parameters.
        preset: Where they come from, for the record.
    """

    name: ClassVar[str] = "sim"
    kind: ClassVar[Kind] = "modelled"
    update_period_s: ClassVar[None] = None
    max_window_s: ClassVar[None] = None

    def __init__(self, gpu: SimulatedGpu, preset: str = "") -> None:
        self.gpu, self._preset = gpu, preset
        self._at_rest = _nvml(Simulation(gpu, Load()))
        self._running: tuple[Simulation, float] | None = None

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Simulated":
        """See `perframe.profiler.sensors.base.SensorFactory`; the argument is `PRESET[,PARAMETER=NUMBER...]`."""
        preset, *settings = request.argument.split(",")
        if preset not in PRESETS:
            raise UsageError(
                f"--sensor sim:{request.argument}: expected the simulated GPU's name, found {preset!r}.",
                f"Known: {', '.join(PRESETS)}.",
            )
        changes: dict[str, Any] = {}
        for setting in settings:
            name, value = _parsed(setting)
            if name in changes:
                raise UsageError(f"--sensor sim: {setting} is the second of its kind.", "Give it once.")
            changes[name] = value
        try:
            return cls(replace(PRESETS[preset], **changes), preset)
        except ValueError as error:
            raise UsageError(
                f"--sensor sim:{request.argument}: {error}.", "Change the parameters."
            ) from error

    @property
    def domain(self) -> Domain:
        """As the NVML sensor says."""
        return self._at_rest.domain

    @property
    def poll_interval_s(self) -> float:
        """As the NVML sensor says."""
        return self._at_rest.poll_interval_s

    @property
    def averaging_window_s(self) -> float | None:
        """As the NVML sensor says."""
        return self._at_rest.averaging_window_s

    @property
    def accuracy(self) -> Accuracy:
        """As the NVML sensor says of the card that is simulated."""
        return self._at_rest.accuracy

    @property
    def details(self) -> Mapping[str, str | float]:
        """Every parameter, and what NVML says of the simulated GPU."""
        held = (f"{t.reason} at {t.start_s:g} s for {t.duration_s:g} s" for t in self.gpu.throttles)
        return {
            **self._at_rest.details,
            "simulated": "yes: a simulated GPU, no measurement",
            "preset": self._preset,
            "throttles": ", ".join(held) or "none",
            **{
                name: "none" if getattr(self.gpu, name) is None else float(getattr(self.gpu, name))
                for name in _PARAMETERS.values()
                if name != "throttles"
            },
        }

    def unavailable(self) -> str | None:
        """As the NVML sensor says: a simulated board may have no power reading either."""
        return self._at_rest.unavailable()

    @contextmanager
    def open(self, clock: Clock) -> Iterator[NvmlReader]:
        """See `perframe.profiler.sensors.base.Sensor.open`. The simulation starts now."""
        origin_s = clock.now_s()
        load = Load()
        follower = _Follower(clock, load, origin_s)
        simulation = Simulation(self.gpu, load, follower.now_s)
        self._running = simulation, origin_s
        with ExitStack() as stack:
            if isinstance(clock, VirtualClock):
                stack.enter_context(clock.every(_FOLLOW_S, follower.follow))
            yield stack.enter_context(_nvml(simulation).open(clock))

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """Joules truly drawn between two moments, on the clock it was last opened with.

        Raises:
            UsageError: It was never opened.
        """
        if self._running is None:
            raise UsageError("--sensor sim: nothing has run yet.", "Open the sensor first.")
        simulation, origin_s = self._running
        return simulation.true_energy_j(start_s - origin_s, end_s - origin_s)


class _Follower:
    """The time of a simulation, which on its way makes the load what this process's CPU time was.

    Between two looks the load is the CPU seconds spent per second, and at most 1: a busy core is a busy GPU. So
    its integral is right at every look, and the form of the load is as fine as the looks are close.
    """

    def __init__(self, clock: Clock, load: Load, origin_s: float) -> None:
        self._clock, self._load, self._origin_s = clock, load, origin_s
        # The polling thread looks, and so does the one that measures.
        self._lock = threading.Lock()
        self._last_s, self._last_cpu_s = 0.0, clock.cpu_s()

    def now_s(self) -> float:
        """Follow, and return the time up to which the load is known."""
        with self._lock:
            now_s, cpu_s = self._clock.now_s() - self._origin_s, self._clock.cpu_s()
            if (passed_s := now_s - self._last_s) >= _FOLLOW_S / 2:
                level = (cpu_s - self._last_cpu_s) / passed_s
                # Rounded, so that a steady load is one step and not as many as there are looks.
                self._load.add(self._last_s, round(min(max(level, 0.0), 1.0), 9))
                self._last_s, self._last_cpu_s = now_s, cpu_s
            return self._last_s

    def follow(self) -> None:
        """Look, and no more."""
        self.now_s()


def _nvml(simulation: Simulation) -> Nvml:
    return Nvml("0", None, lambda: SimulatedNvml([simulation]))


def _parsed(setting: str) -> tuple[str, Any]:
    """Field and value of one NAME=NUMBER."""
    name, equals, text = setting.partition("=")
    if name not in _PARAMETERS or not equals:
        raise UsageError(
            f"--sensor sim: {setting!r} is no parameter.",
            f"Give NAME=NUMBER; names: {', '.join(_PARAMETERS)}.",
        )
    if name == "throttle":
        start, plus, duration = text.partition("+")
        value: Any = (
            Throttle("thermal", _number(setting, start), _number(setting, duration if plus else "")),
        )
    elif name == "seed":
        value = _integer(setting, text)
    else:
        value = _number(setting, text)
    # A period of 0 is how a card without a counter is asked for.
    return _PARAMETERS[name], None if name == "counter_period" and value == 0 else value


def _number(setting: str, text: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise _no_number(setting)
    return number


def _integer(setting: str, text: str) -> int:
    if not text.isdecimal():
        raise _no_number(setting)
    return int(text)


def _no_number(setting: str) -> UsageError:
    return UsageError(
        f"--sensor sim: {setting!r} gives no number.",
        "Give watts and seconds as numbers; seed=INTEGER; throttle=START+DURATION.",
    )
