"""What can be gated: one observation per raw window of a profile."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perframe.errors import UsageError
from perframe.profiler.result import BatchResult, Window

Observe = Callable[[Window, float | None], float | None]


@dataclass(frozen=True)
class Metric:
    """A figure of one batch size.

    Attributes:
        name: As the command line has it.
        unit: "J" per frame, or "s" per inference of the batch.
        observe: Its value in one window, given the watts at rest; `None` where the window does not tell.
        paced: Whether it is of the windows at a camera's pace.
        above_idle: Whether power at rest is in it.
    """

    name: str
    unit: str
    observe: Observe
    paced: bool = False
    above_idle: bool = False

    @property
    def is_energy(self) -> bool:
        """Whether it is joules, which only a sensor of one kind can be compared in."""
        return self.unit == "J"

    def windows(self, result: BatchResult) -> Sequence[Window]:
        """Return the raw windows it is computed from."""
        if self.paced:
            return result.paced.windows if result.paced is not None else ()
        return result.energy.windows

    def observations(self, result: BatchResult) -> tuple[float, ...] | None:
        """Return its value in every window, not all of which need be finite; `None` if one of them does not tell."""
        found = [self.observe(window, result.energy.idle_w) for window in self.windows(result)]
        values = [value for value in found if value is not None]
        return tuple(values) if values and len(values) == len(found) else None

    def offset(self, result: BatchResult) -> float:
        """Return by how much all observations may be off together: power at rest is between before and after."""
        energy = result.energy
        if not self.above_idle or energy.idle_before_w is None or energy.idle_after_w is None:
            return 0.0
        windows = self.windows(result)
        seconds_per_frame = math.fsum(w.duration_s for w in windows) / sum(w.frames for w in windows)
        return abs(energy.idle_after_w - energy.idle_before_w) / 2.0 * seconds_per_frame

    def edge_error(self, result: BatchResult) -> float:
        """Return what may be missed at the windows' ends, relative, see `MeasurementPlan.edge_error`."""
        if not self.is_energy:
            return 0.0
        of = result.paced if self.paced else result.energy
        return (of.edge_error or 0.0) if of is not None else 0.0


def _epf(window: Window, idle_w: float | None) -> float | None:
    return None if window.energy_j is None or window.frames < 1 else window.energy_j / window.frames


def _epf_above_idle(window: Window, idle_w: float | None) -> float | None:
    if window.energy_j is None or idle_w is None or window.frames < 1:
        return None
    return (window.energy_j - idle_w * window.duration_s) / window.frames


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("epf", "J", _epf),
        Metric("epf-above-idle", "J", _epf_above_idle, above_idle=True),
        Metric("latency-p50", "s", lambda window, _: window.p50_s),
        Metric("latency-p99", "s", lambda window, _: window.p99_s),
        Metric("paced-epf", "J", _epf, paced=True),
    )
}
"""The metrics by name. A percentile is the mean over windows of each window's own."""


def metric_named(name: str) -> Metric:
    """Return the metric of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in METRICS:
        raise UsageError(f"Metric {name!r} is not known.", f"Choose one of: {', '.join(METRICS)}.")
    return METRICS[name]
