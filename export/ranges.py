"""How far the activations of a network reach, from what they were on images: what int8 is scaled by.

`minmax` takes the largest magnitude that was seen. `entropy` takes the one whose 8 bit approximation of the
distribution loses the least information (Kullback-Leibler divergence), giving up rare outliers for finer steps,
after S. Migacz, "8-bit Inference with TensorRT" (GTC 2017, S7310).
"""

import numpy as np

from perframe.arrays import Array

CALIBRATORS = ("entropy", "minmax")
"""How a range is chosen."""

_BINS = 2048
# Magnitudes an int8 number can have, without zero.
_LEVELS = 127
# The largest share of values that may pass for outliers. Without it a range that saturates nearly everything
# would seem perfect: what is left of both distributions is one bin.
_OUTLIERS = 0.001
# Every so many bins a range is tried: 1/128 of the largest.
_STRIDE = 16


class Magnitudes:
    """The distribution of the magnitudes of one tensor, over any number of batches.

    Zero is left out: it has a code of its own in every range, and after a ReLU most values are zero.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        # What the bins reach up to: a power of two times the first largest value, so that bins can be merged.
        self._reach = 0.0
        self.largest = 0.0
        """The largest magnitude seen."""

    def add(self, values: Array) -> None:
        """Take in the values of one batch; they must be finite."""
        magnitudes = np.abs(values[values != 0])
        if not magnitudes.size:
            return
        largest = float(magnitudes.max())
        self.largest = max(self.largest, largest)
        self._reach = self._reach or largest
        while self._reach < largest:
            self._counts = np.concatenate(
                [self._counts.reshape(-1, 2).sum(axis=1), np.zeros(_BINS // 2, np.int64)]
            )
            self._reach *= 2
        # In double precision: bins may reach beyond what single precision holds. The largest value is in the last.
        bins = np.minimum((magnitudes / np.float64(self._reach) * _BINS).astype(np.int64), _BINS - 1)
        self._counts += np.bincount(bins, minlength=_BINS)

    def range(self, calibrator: str) -> float:
        """Return the magnitude that the largest int8 number shall stand for; 0 if all values were zero."""
        if calibrator == "minmax" or self.largest == 0.0:
            return self.largest
        within = np.cumsum(self._counts)
        used = int(np.searchsorted(within, within[-1])) + 1
        least = int(np.searchsorted(within, (1 - _OUTLIERS) * within[-1])) + 1
        tried = [*range(max(least, _LEVELS + 1), used, _STRIDE), used]
        losses = [_information_loss(self._counts, bins) for bins in tried]
        best = tried[int(np.argmin(losses))]
        return float(min(best * self._reach / _BINS, self.largest))


def _information_loss(counts: Array, bins: int) -> float:
    """The divergence of a distribution from its first `bins` bins in 8 bits, what lies beyond being saturated."""
    holding = np.flatnonzero(counts[:bins])
    inside = counts[holding]
    # Each level's count is spread evenly over those of its bins that hold anything.
    level = holding * _LEVELS // bins
    approximated = (np.bincount(level, inside) / np.maximum(np.bincount(level), 1))[level]
    # Saturated values join the last bin that the approximation knows: elsewhere the divergence has no end.
    saturated = inside.astype(np.float64)
    saturated[-1] += counts[bins:].sum()
    p, q = saturated / saturated.sum(), approximated / approximated.sum()
    return float(np.sum(p * np.log(p / q)))
