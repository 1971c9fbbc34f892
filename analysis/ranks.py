"""Correlations, and how likely they are by chance. Vectorised over rows."""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from perframe.arrays import Array

# Of thousands of things fewer orders are drawn, so that they fit into memory.
_PLACES, _FEWEST_ORDERS = 2_000_000, 1_000
_RANK_ORDERS = math.factorial(8)

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Chance:
    """What an effect has to be told from.

    Attributes:
        p: How likely one at least as far from zero is by chance.
        least: The smallest that is no chance; `None` if none is.
    """

    p: float
    least: float | None


@lru_cache(maxsize=16)
def orders(n: int, most: int) -> Array:
    """Return orders of things, one per row, each as the things' places from 0; the first is as they are.

    Args:
        n: Things.
        most: All orders are returned if they are no more than this, else so many random ones, fewer of thousands of
            things.
    """
    first = np.arange(n)
    if math.factorial(n) <= most:
        return np.array(list(itertools.permutations(first)))
    dealt = np.tile(first, (min(most, max(_PLACES // n, _FEWEST_ORDERS)), 1))
    # What was found is one of the orders: no chance is zero.
    np.random.default_rng(0).permuted(dealt[1:], axis=1, out=dealt[1:])
    return dealt


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
    """Return the rank correlation along the last axis, rounded so that equal ones are equal."""
    return np.asarray(np.round(pearson(ranks(one), ranks(other)), 9))


def chance(correlation: float, n: int) -> float:
    """Return how likely a rank correlation of `n` numbers is at least this far from zero if their order is random.

    Exact up to 8 numbers, else from as many random orders as 8 have. Ties are not allowed for.
    """
    return float((_by_chance(n) >= abs(correlation) - 1e-9).mean())


@lru_cache(maxsize=64)
def least_significant(n: int) -> float | None:
    """Return the smallest rank correlation of `n` numbers that is no chance (p <= 0.05); `None` if none is."""
    found = np.unique(_by_chance(n))
    return next((float(each) for each in found if chance(float(each), n) <= SIGNIFICANT), None)


@lru_cache(maxsize=64)
def _by_chance(n: int) -> Array:
    """Absolute rank correlations of orders of `n` numbers."""
    dealt = orders(n, _RANK_ORDERS).astype(np.float64)
    return np.asarray(np.round(np.abs(pearson(np.arange(float(n)), dealt)), 9))


def rank_chance(correlation: float, n: int) -> Chance:
    """Return what a rank correlation of `n` numbers has to be told from: random orders."""
    return Chance(chance(correlation, n), least_significant(n))


def dealt_chance(found: float, dealt: Array) -> Chance:
    """Return what a figure has to be told from: what it is if the same values are dealt out at random.

    Args:
        found: The figure; zero is what it is by chance, in the median.
        dealt: The same figure of deals, that which was found among them.
    """
    above, below = (float((side <= 1e-9).mean()) for side in (found - dealt, dealt - found))
    return Chance(min(2.0 * min(above, below), 1.0), float(np.quantile(dealt, 1.0 - SIGNIFICANT / 2.0)))
