"""Correlations, and how likely a rank correlation is by chance. Vectorised over rows."""

import itertools
from functools import lru_cache

import numpy as np

from perframe.arrays import Array

# 8! = 40,320 orders are gone through; of more numbers, so many orders are drawn.
_EXACT_UP_TO = 8
_DRAWN = 20_000

SIGNIFICANT = 0.05


def ranks(values: Array) -> Array:
    """Return the rank of each number within its row, from 1; equal numbers share their mean rank.

    Args:
        values: Numbers, compared along the last axis.
    """
    this, others = values[..., :, None], values[..., None, :]
    return np.asarray((this > others).sum(-1) + (this == others).sum(-1) / 2.0 + 0.5)


def pearson(one: Array, other: Array) -> Array:
    """Return the correlation along the last axis; not a number where one side does not vary."""
    one = one - one.mean(-1, keepdims=True)
    other = other - other.mean(-1, keepdims=True)
    scale = np.sqrt((one**2).sum(-1) * (other**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((one * other).sum(-1) / scale)


def spearman(one: Array, other: Array) -> Array:
    """Return the rank correlation along the last axis."""
    return pearson(ranks(one), ranks(other))


def chance(correlation: float, n: int) -> float:
    """Return how likely a rank correlation of `n` numbers is at least this far from zero if their order is random.

    Exact up to 8 numbers, else from 20,000 random orders. Ties are not allowed for.
    """
    return float((_by_chance(n) >= abs(correlation) - 1e-9).mean())


def least_significant(n: int) -> float | None:
    """Return the smallest rank correlation of `n` numbers that is no chance (p <= 0.05); `None` if none is."""
    found = np.unique(_by_chance(n))
    return next((float(each) for each in found if chance(float(each), n) <= SIGNIFICANT), None)


@lru_cache(maxsize=64)
def _by_chance(n: int) -> Array:
    """Absolute rank correlations of random orders of `n` numbers, rounded so that equal ones are equal."""
    first = np.arange(n, dtype=np.float64)
    if n <= _EXACT_UP_TO:
        orders = np.array(list(itertools.permutations(first)))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(first, (_DRAWN, 1)), axis=1)
    return np.asarray(np.round(np.abs(pearson(np.broadcast_to(first, orders.shape), orders)), 9))
