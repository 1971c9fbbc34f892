"""Quantities as people write them, with their unit: 300mJ, 5ms, 0.3J, 250us, 2%."""

import math
import re

from perframe.errors import UsageError

_WRITTEN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(.*)", re.ASCII | re.IGNORECASE)
# Both signs that look like a micro.
_PREFIXES = {
    "G": 1e9,
    "M": 1e6,
    "k": 1e3,
    "": 1.0,
    "m": 1e-3,
    "u": 1e-6,
    "µ": 1e-6,
    "\u03bc": 1e-6,
    "n": 1e-9,
}
_EXAMPLES = {"%": "2%", "J": "300mJ", "s": "5ms", "": "5M"}


def parse_quantity(text: str, unit: str, what: str) -> float:
    """Return a quantity in its unit without a prefix; per cent as a ratio, 2% being 0.02.

    A bare number is refused: 300 may be meant as joules or millijoules, and 2 as per cent or times.

    Args:
        text: A number and its unit.
        unit: "J", "s", "%" or, for plain numbers, nothing.
        what: The option or field it stands in, for the message.

    Raises:
        UsageError: It is no finite number of that unit.
    """
    written = _WRITTEN.fullmatch(text.strip())
    scale = None
    if written is not None:
        suffix = written[2]
        if unit == "%":
            scale = 0.01 if suffix == "%" else None
        elif suffix.endswith(unit):
            scale = _PREFIXES.get(suffix.removesuffix(unit))
    if written is None or scale is None or not math.isfinite(number := float(written[1])):
        raise UsageError(
            f"{what}: expected a number with its unit, found {text!r}.", f"Write it as {_EXAMPLES[unit]}."
        )
    return number * scale
