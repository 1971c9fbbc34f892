"""Axes: from values to places between 0 and 1, with ticks at numbers that people read easily."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from perframe.report.units import prefix_of

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: What it shows, with its unit.
        low: Value at its beginning.
        high: Value at its end.
        ticks: Values with what is written at them.
        log: Whether equal ratios are equally long.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value lies: 0 at the beginning, 1 at the end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(
    label: str, values: Iterable[float], unit: str = "", *, from_zero: bool = True, steps: int = 5
) -> Axis:
    """Return an axis on which equal differences are equally long.

    Args:
        label: What it shows.
        values: What must be on it.
        unit: Without prefix; the one that fits is put before it.
        from_zero: Whether it begins at 0, as lengths and areas must.
        steps: About how many ticks.
    """
    known = list(values) or [0.0, 1.0]
    low, high = (0.0 if from_zero else min(known)), max(known)
    if from_zero:
        low = min(low, *known)
    if high <= low:
        low, high = (0.0, abs(high) * 2.0 or 1.0) if from_zero or not high else (high * 0.9, high * 1.1)
    scale, prefix = prefix_of(max(abs(low), abs(high))) if unit else (1.0, "")
    step = _step((high - low) / scale, steps)
    first, last = math.floor(low / scale / step + 1e-9), math.ceil(high / scale / step - 1e-9)
    ticks = tuple((i * step * scale, f"{i * step:.6g}") for i in range(first, last + 1))
    return Axis(_with_unit(label, prefix + unit), ticks[0][0], ticks[-1][0], ticks)


def logarithmic(label: str, values: Iterable[float], unit: str = "") -> Axis:
    """Return an axis on which equal ratios are equally long, ticks at 1, 2 and 5 times powers of ten.

    Args:
        label: What it shows.
        values: What must be on it; all above 0.
        unit: Without prefix; the one that fits is put before it.
    """
    known = list(values) or [1.0, 10.0]
    scale, prefix = prefix_of(max(known)) if unit else (1.0, "")
    low, high = min(known) / scale / 1.15, max(known) / scale * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    span = math.log10(high / low)
    mantissas = (1, 2, 5) if span < 2.2 else (1,)
    each = max(round(span / 5.0), 1)
    ticks = [m * 10.0**d for d in decades if not d % each for m in mantissas]
    inside = tuple((tick * scale, f"{tick:g}") for tick in ticks if low <= tick <= high)
    return Axis(_with_unit(label, prefix + unit), low * scale, high * scale, inside, log=True)


def doubling(label: str, values: Iterable[int]) -> Axis:
    """Return an axis for numbers such as 1, 2, 4, 8, on which doublings are equally long; each has its tick."""
    known = sorted(set(values)) or [1, 2]
    spread = max(known[-1] / known[0], 2.0)
    margin = spread**0.05
    ticks: list[tuple[float, str]] = []
    for value in known:
        # Ticks that would overlap are left out.
        if not ticks or math.log(value / ticks[-1][0]) > 0.055 * math.log(spread):
            ticks.append((float(value), str(value)))
    return Axis(label, known[0] / margin, max(known[-1], known[0] * 1.01) * margin, tuple(ticks), log=True)


def _step(span: float, steps: int) -> float:
    rough = span / steps
    size = 10.0 ** math.floor(math.log10(rough))
    return next(step * size for step in _STEPS if step * size >= rough * 0.8)


def _with_unit(label: str, unit: str) -> str:
    return f"{label}, {unit}" if unit else label
