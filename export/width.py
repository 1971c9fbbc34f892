"""The width multiplier behind the channel counts of a network."""

import math
from collections.abc import Collection, Iterable

from perframe.export.architecture import MAX_WIDTH, Architecture, Family, grouped_channels, layers, scaled

_Interval = tuple[float, float]


def fit_width(family: Family, weights: Collection[tuple[int, ...]], features: int | None) -> float | None:
    """Return the width that best explains the channel counts: the shortest decimal that gives exactly them.

    Rounding hides the width someone typed; every width with the same channel counts is the same network.

    Args:
        family: Which network to compare with.
        weights: Shapes of the convolution weights.
        features: Input features of the classifier, if there is one.

    Returns:
        The width, or None where no width gives even one of the telling counts.
    """
    base = layers(Architecture(family, (1,) * len(grouped_channels(family, 1.0))))
    expected = _outputs_by_kernel(
        (layer.kernel, layer.out_channels) for layer in base if layer.kind == "conv"
    )
    found = _outputs_by_kernel((shape[2], shape[0]) for shape in weights)
    if {kernel: len(outs) for kernel, outs in found.items()} == {
        k: len(outs) for k, outs in expected.items()
    }:
        # Rounding keeps the order, so the sorted counts belong together.
        pairs = [pair for kernel, outs in expected.items() for pair in zip(outs, found[kernel], strict=True)]
        width = _simplest(_intersection([_interval(*pair) for pair in pairs]))
        if width is not None:
            return width
    # Something is missing, extra or misshapen: believe the count that agrees with most others.
    largest = [(expected[k][-1], found[k][-1]) for k in expected if k in found]
    telling = [*largest, *([(base[-1].in_channels, features)] if features else [])]
    widths = [width for pair in telling if (width := _simplest(_interval(*pair))) is not None]

    def agreement(width: float) -> int:
        counts = [(kernel, scaled(out, width)) for kernel, outs in expected.items() for out in outs]
        return sum((kernel, out) in counts for kernel, outs in found.items() for out in outs)

    return max(widths, key=agreement, default=None)


def _outputs_by_kernel(layers: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    outputs: dict[int, list[int]] = {}
    for kernel, out in sorted(layers):
        outputs.setdefault(kernel, []).append(out)
    return outputs


def _interval(base: int, channels: int) -> _Interval:
    """The widths that `scaled` rounds to `channels`."""
    return ((channels - 0.5) / base, (channels + 0.5) / base)


def _intersection(intervals: list[_Interval]) -> _Interval:
    return (max(low for low, _ in intervals), min(high for _, high in intervals))


def _simplest(interval: _Interval) -> float | None:
    """The decimal of fewest digits in [low, high), the nearest to its middle among several."""
    low, high = interval
    if not (low < high and high > 0 and low < MAX_WIDTH):
        return None
    for digits in range(9):
        unit = 10.0**-digits
        first = math.ceil(low / unit - 1e-9)
        inside = [
            round(value * unit, digits)
            for value in range(first, first + 12)
            if value > 0 and low <= round(value * unit, digits) < high
        ]
        if inside:
            return min(inside, key=lambda width: abs(width - (low + high) / 2))
    return None
