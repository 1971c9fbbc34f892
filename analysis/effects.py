"""The effects that the published claims are about, each a formula over one series or two.

Every effect is positive where the claim is right. It is computed for the means and for every draw of them at once (the
rows of `Series.epf_j`), so that its interval takes the spread of all networks into account.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perframe.analysis.ranks import Chance, dealt_chance, orders, pearson, rank_chance, spearman
from perframe.analysis.series import Network, Series
from perframe.arrays import Array
from perframe.profiler.stats import Estimate

MAC_MISMATCH = 0.03
"""Networks whose MACs differ by no more than this, of the larger, are of comparable cost.

The three pairs of each published network that are closest lie within it; the next pair does not.
"""

_FEWEST_RANKED = 5
_LARGEST_G = 32
# All orders of 7 networks, so many random ones of more.
_DEALS = 5_040


@dataclass(frozen=True, eq=False)
class Effect:
    """An effect and what it is made of.

    Attributes:
        rows: Of the means, then of every draw.
        n: Networks, or pairs of them, behind it.
        chance: Of a correlation, which few networks may have by chance: what it has to be told from.
        parts: What it is made of, by name.
    """

    rows: Array
    n: int
    chance: Chance | None = None
    parts: tuple[tuple[str, Array], ...] = ()

    @property
    def estimate(self) -> Estimate:
        """With its 95 % interval.

        Errors of the means pull a correlation towards zero, those of the draws once more, so that the truth is on the
        other side of it: the interval reaches as far to either side.
        """
        drawn = interval(self.rows, self.n)
        if self.chance is None or drawn.low is None or drawn.high is None:
            return drawn
        half = max(drawn.value - drawn.low, drawn.high - drawn.value)
        return Estimate(drawn.value, max(drawn.value - half, -1.0), min(drawn.value + half, 1.0), self.n)


@dataclass(frozen=True)
class Missing:
    """What is not in the results that an effect needs."""

    what: str


def interval(rows: Array, n: int) -> Estimate:
    """Return an effect with the interval that holds 95 % of its draws; without draws there is none."""
    if len(rows) == 1:
        return Estimate(float(rows[0]), None, None, n)
    low, high = np.quantile(rows[1:], (0.025, 0.975))
    return Estimate(float(rows[0]), float(low), float(high), n)


def macs_against_energy(series: Series) -> Effect | Missing:
    """Return minus the rank correlation of MACs and EPF over E2GC networks: 1 if the fewest MACs cost the most."""
    chosen = _e2gc(series)
    if len(chosen) < _FEWEST_RANKED:
        return Missing(f"at least {_FEWEST_RANKED} group sizes; there are {len(chosen)}")
    macs = np.array([[network.model.macs for _, network in chosen]], dtype=np.float64)
    return _ranked(-spearman(macs, series.epf_j[:, [column for column, _ in chosen]]), len(chosen))


def interior_minimum(series: Series) -> Effect | Missing:
    """Return by how much the cheaper end of FgGC's range of g costs more than the cheapest g within it."""
    chosen = sorted(_fggc(series), key=lambda each: each[1].model.groups or 0)
    if len(chosen) < 3:
        return Missing(f"at least 3 numbers of groups; there are {len(chosen)}")
    epf_j = series.epf_j[:, [column for column, _ in chosen]]
    best = 1 + int(epf_j[0, 1:-1].argmin())
    rows = np.minimum(epf_j[:, 0], epf_j[:, -1]) / epf_j[:, best] - 1.0
    parts = (
        (f"{chosen[0][1].label} over {chosen[best][1].label}", epf_j[:, 0] / epf_j[:, best] - 1.0),
        (f"{chosen[-1][1].label} over {chosen[best][1].label}", epf_j[:, -1] / epf_j[:, best] - 1.0),
    )
    return Effect(rows, len(chosen), parts=parts)


def fall_from_one(series: Series) -> Effect | Missing:
    """Return what the largest G up to 32 saves over G = 1."""
    parts = _saved_over_one(series)
    return Effect(parts[-1][1], 1 + len(parts), parts=parts) if parts else Missing("G = 1 and a larger G")


def beyond_depthwise(series: Series) -> Effect | Missing:
    """Return what G = 2 saves over G = 1, depthwise convolution."""
    saved = dict(_saved_over_one(series)).get("G=2")
    return Missing("G = 1 and G = 2") if saved is None else Effect(saved, 2)


def e2gc_over_fggc(series: Series) -> Effect | Missing:
    """Return what E2GC saves over FgGC, the mean over all pairs of comparable MACs."""
    parts = tuple(
        (f"{e2gc.label} for {fggc.label}", _saving(series.epf_j, column, other))
        for column, e2gc, other, fggc in _comparable(series)
    )
    if not parts:
        return Missing(f"an E2GC and an FgGC network whose MACs differ by {100.0 * MAC_MISMATCH:g} % or less")
    return Effect(np.mean([rows for _, rows in parts], axis=0), len(parts), parts=parts)


def batching(first: Series, last: Series) -> Effect | Missing:
    """Return what the larger batch saves per frame, the mean over all networks."""
    parts = tuple(_saved_by_batching(first, last))
    if not parts:
        return Missing("the same network at two batch sizes")
    return Effect(np.mean([rows for _, rows in parts], axis=0), len(parts), parts=parts)


def batching_small_groups(first: Series, last: Series) -> Effect | Missing:
    """Return what the larger batch saves per frame at the smallest G, 1 or 2."""
    saved = dict(_saved_by_batching(first, last))
    smallest = [label for label in ("G=1", "G=2") if label in saved]
    if not smallest:
        return Missing("G = 1 or 2 at two batch sizes")
    return Effect(saved[smallest[0]], 1, parts=tuple((label, saved[label]) for label in smallest))


def same_order(one: Series, other: Series) -> Effect | Missing:
    """Return the rank correlation of EPF over the networks of both series."""
    columns = {network.label: column for column, network in enumerate(other.networks)}
    pairs = [(c, columns[n.label]) for c, n in enumerate(one.networks) if n.label in columns]
    if len(pairs) < _FEWEST_RANKED:
        return Missing(f"at least {_FEWEST_RANKED} networks in both; there are {len(pairs)}")
    here, there = (list(each) for each in zip(*pairs, strict=True))
    return _ranked(spearman(one.epf_j[:, here], other.epf_j[:, there]), len(pairs))


def activation_reuse(series: Series) -> Effect | Missing:
    """Return by how much MACs per joule correlate more with MACs per activation than they do by chance."""
    return _reuse(series, "activation", 1.0)


def weight_reuse(series: Series) -> Effect | Missing:
    """Return by how much MACs per joule correlate less with MACs per parameter than they do by chance."""
    return _reuse(series, "parameter", -1.0)


def _reuse(series: Series, per: Literal["activation", "parameter"], sign: float) -> Effect | Missing:
    """Hold a correlation against that of the same energies dealt to the networks at random.

    That is far from zero: MACs are on both sides of it.
    """
    moved_of = {"activation": "activations", "parameter": "params"}[per]
    chosen = [
        (column, network.model.macs, getattr(network.model, moved_of))
        for column, network in enumerate(series.networks)
        if network.model.macs and getattr(network.model, moved_of)
    ]
    if len(chosen) < _FEWEST_RANKED:
        return Missing(f"at least {_FEWEST_RANKED} networks of known cost; there are {len(chosen)}")
    macs, moved = (np.array([each[side] for each in chosen], dtype=np.float64) for side in (1, 2))
    epf_j = series.epf_j[:, [column for column, _, _ in chosen]]
    found = pearson(macs / epf_j, macs / moved)
    dealt = pearson(macs / epf_j[0][orders(len(chosen), _DEALS)], macs / moved)
    by_chance = float(np.median(dealt))
    rows = sign * (found - by_chance)
    return Effect(
        rows,
        len(chosen),
        chance=dealt_chance(float(rows[0]), sign * (dealt - by_chance)),
        parts=((f"MACs per {per}", found), ("the same by chance", np.array([by_chance]))),
    )


def _ranked(rows: Array, n: int) -> Effect:
    return Effect(rows, n, chance=rank_chance(float(rows[0]), n))


def _e2gc(series: Series) -> list[tuple[int, Network]]:
    """E2GC networks and their columns, from the smallest group size up."""
    found = [(column, network) for column, network in enumerate(series.networks) if network.is_e2gc]
    return sorted(found, key=lambda each: each[1].model.group_size or 0)


def _fggc(series: Series) -> list[tuple[int, Network]]:
    return [(column, network) for column, network in enumerate(series.networks) if network.is_fggc]


def _comparable(series: Series) -> Iterator[tuple[int, Network, int, Network]]:
    for column, e2gc in _e2gc(series):
        for other, fggc in _fggc(series):
            macs = sorted((e2gc.model.macs or 0, fggc.model.macs or 0))
            if column != other and macs[0] >= (1.0 - MAC_MISMATCH) * macs[1] > 0:
                yield column, e2gc, other, fggc


def _saved_by_batching(first: Series, last: Series) -> Iterator[tuple[str, Array]]:
    columns = {network.label: column for column, network in enumerate(last.networks)}
    for column, network in enumerate(first.networks):
        if network.label in columns:
            yield network.label, 1.0 - last.epf_j[:, columns[network.label]] / first.epf_j[:, column]


def _saving(epf_j: Array, column: int, over: int) -> Array:
    return np.asarray(1.0 - epf_j[:, column] / epf_j[:, over])


def _saved_over_one(series: Series) -> tuple[tuple[str, Array], ...]:
    """What each G up to 32 saves over G = 1, from the smallest up; nothing without G = 1."""
    columns = {network.model.group_size: column for column, network in _e2gc(series)}
    if 1 not in columns:
        return ()
    return tuple(
        (network.label, _saving(series.epf_j, column, columns[1]))
        for column, network in _e2gc(series)
        if 1 < (network.model.group_size or 0) <= _LARGEST_G
    )
