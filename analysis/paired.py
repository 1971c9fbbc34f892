"""Deciding on pairs of windows while they come in, without deciding wrongly more often for having looked often.

Who looks after every pair, and stops at the first interval that clears the threshold, errs several times as
often as one interval would. Here every look has an interval of its own level, such that *all of them
together* are wrong with 5 % at most at either end (repeated confidence intervals: C. Jennison and B. W.
Turnbull, Group Sequential Methods, 2000, chapter 9). `perframe.analysis.verdict.decide` may then be asked
after every look.

How the error is spent follows R. Haybittle and R. Peto: looks before the last one share a small part of it
alike, so that what is plain ends early, and the last look keeps nearly all of it, so that 20 pairs that went
to the end tell as much as 20 pairs looked at once. The early levels are Student's t at each number of pairs.
The last critical value is found by simulating t along random walks, since what looks have in common is theirs
to spend again; that takes less than a second for up to 100 pairs, some seconds for 1000, and gives the same every
time. `benchmarks/gate_errors.py` shows the error rates that come of it.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from perframe.analysis.change import CONFIDENCE, paired_change
from perframe.analysis.verdict import Change, Evidence
from perframe.profiler.stats import student_t

FIRST_LOOK = 6
"""Pairs before which nothing is decided: fewer differences say little about their own spread."""

_EARLY_SHARE = 0.3
_PATHS = 300_000
_SEED = 0


def look(baseline: Sequence[float], current: Sequence[float], most: int) -> tuple[Change, Evidence] | None:
    """Return the relative change after so many pairs, with the interval of this look, and what it rests on.

    Args:
        baseline: One value per pair so far, in order; at most `most`.
        current: As many.
        most: Pairs there will be at most; settled before the first one, whatever they show.

    Returns:
        `None` before the first look.
    """
    pairs = len(baseline)
    return paired_change(baseline, current, critical_values(most)[pairs]) if pairs >= FIRST_LOOK else None


@lru_cache
def critical_values(most: int) -> Mapping[int, float]:
    """Return how many standard errors the interval of each look reaches, by the number of pairs.

    Args:
        most: Pairs at the last look; with fewer than the first look takes, there is none.
    """
    if most < FIRST_LOOK:
        return {}
    error = 1.0 - CONFIDENCE
    looks = most - FIRST_LOOK
    level = _EARLY_SHARE * error / max(looks, 1)
    early = [student_t(pairs - 1, 1.0 - 2.0 * level) for pairs in range(FIRST_LOOK, most)]
    walks = np.random.default_rng(_SEED)
    total, squares = np.zeros(_PATHS), np.zeros(_PATHS)
    crossed = np.zeros(_PATHS, dtype=bool)
    t = total
    for pairs in range(1, most + 1):
        step = walks.standard_normal(_PATHS)
        total += step
        squares += step**2
        if pairs >= FIRST_LOOK:
            t = total / np.sqrt((squares - total**2 / pairs) * pairs / (pairs - 1))
            if pairs < most:
                crossed |= t > early[pairs - FIRST_LOOK]
    # Of the walks that no early look has ended, so many may end beyond the last value that all are 5 %, less
    # what chance may have done to the simulation.
    allowed = error * _PATHS - 2.0 * math.sqrt(error * _PATHS)
    left = int(allowed) - int(crossed.sum())
    last = float(np.partition(t[~crossed], -left)[-left])
    return dict(enumerate((*early, last), FIRST_LOOK))
