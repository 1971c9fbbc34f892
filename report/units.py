"""Numbers as people read them: three significant digits and the prefix that fits. Only report/ scales units."""

import math

from perframe.errors import one_line

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
# How the names of a result's facts say their unit.
_UNITS = {"_hz": "Hz", "_bytes": "B", "_w": "W", "_s": "s"}


def quantity(value: float | None, unit: str, digits: int = 3) -> str:
    """Return `value` with a prefix and its unit: 0.01074 s -> "10.7 ms". Missing is a dash, never a zero."""
    if value is None:
        return "–"
    if not math.isfinite(value) or value == 0.0:
        return f"{value:g} {unit}".strip()
    scale, prefix = prefix_of(float(f"{value:.{digits}g}"))
    scaled = value / scale
    decimals = max(digits - 1 - math.floor(math.log10(abs(float(f"{scaled:.{digits}g}")))), 0)
    return f"{scaled:.{decimals}f} {prefix}{unit}".strip()


def span(low: float, high: float, unit: str) -> str:
    """Return two numbers with one prefix and unit, digits enough to tell them apart: "10.73 to 10.75 ms"."""
    largest = max(abs(low), abs(high))
    if largest == 0.0 or not math.isfinite(largest):
        return f"{low:g} to {high:g} {unit}".strip()
    scale, prefix = prefix_of(largest)
    decimals = 2 - math.floor(math.log10(largest / scale))
    if high > low:
        decimals = max(decimals, min(-math.floor(math.log10((high - low) / scale)), decimals + 3))
    decimals = max(decimals, 0)
    return f"{low / scale:.{decimals}f} to {high / scale:.{decimals}f} {prefix}{unit}".strip()


def prefix_of(value: float) -> tuple[float, str]:
    """Return what a number is divided by before its unit gets a prefix, and the prefix: 0.01074 -> 1e-3, "m"."""
    return next(((scale, prefix) for scale, prefix in _PREFIXES if abs(value) >= scale), _PREFIXES[-1])


def duration(seconds: float) -> str:
    """Return how long something takes as people say it: 205 s -> "3 min 25 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{rest} s" if seconds >= 1.0 else "less than a second"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a ratio in per cent: 0.123 -> "12.3 %"."""
    return "–" if value is None else f"{100.0 * value:.{digits}f} %"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as the command line takes it: (3, 224, 224) -> "3x224x224"."""
    return "x".join(map(str, shape))


def fact(name: str, value: str | float | None) -> str:
    """Return a fact of an environment or identity, whose name may end in its unit: `memory_bytes` -> "25.3 GB"."""
    if value is None or isinstance(value, str):
        return one_line(value or "–")
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), None)
    if unit is not None:
        return quantity(value, unit)
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"
