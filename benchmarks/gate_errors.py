"""How often the gate errs: simulated measurements whose true change is known, judged by the gate's own code.

The tolerance is 2 %. At and below it a regression is a false alarm; above it a pass is a miss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perframe.analysis.change import CONFIDENCE, Run, paired_change, run_change
from perframe.analysis.paired import look
from perframe.analysis.verdict import Outcome, decide
from perframe.arrays import Array
from perframe.profiler.stats import student_t

TOLERANCE = 0.02
SPREAD = 0.01
PAIRS = 20
TRIALS = 10_000
CHANGES = (0.0, 0.01, 0.02, 0.025, 0.03, 0.05)
_WINDOWS = 10

Noise = Callable[[np.random.Generator, int], Array]
"""Relative deviations of so many windows in a row, the spread of each being `SPREAD`."""


@dataclass(frozen=True)
class Rates:
    """How trials ended.

    Attributes:
        regression: Share of them.
        passed: Share that passed or improved.
        inconclusive: The rest.
        pairs: Mean number of pairs, or runs on both sides together.
    """

    regression: float
    passed: float
    inconclusive: float
    pairs: float


def normal(random: np.random.Generator, windows: int) -> Array:
    """Return independent deviations."""
    return SPREAD * random.standard_normal(windows)


def heavy_tailed(random: np.random.Generator, windows: int) -> Array:
    """Return Student's t with 3 degrees of freedom, scaled to the same spread."""
    return SPREAD / math.sqrt(3.0) * random.standard_t(3, windows)


def hiccups(random: np.random.Generator, windows: int) -> Array:
    """Return one window in twenty that is 3 % too high, the others normal, together of the same spread."""
    share, height = 0.05, 0.03
    rest = math.sqrt(SPREAD**2 - height**2 * share * (1.0 - share))
    high = height * ((random.random(windows) < share) - share)
    return np.asarray(high + rest * random.standard_normal(windows), dtype=np.float64)


def correlated(random: np.random.Generator, windows: int) -> Array:
    """Return AR(1) noise whose likeness falls to 1/e in ten windows."""
    decay = math.exp(-0.1)
    steps = SPREAD * random.standard_normal(windows)
    steps[1:] *= math.sqrt(1.0 - decay**2)
    for index in range(1, windows):
        steps[index] += decay * steps[index - 1]
    return steps


def drifting(random: np.random.Generator, windows: int) -> Array:
    """Return independent deviations on a device that draws 5 % more at the end than at the start."""
    return np.asarray(normal(random, windows) + np.linspace(0.0, 0.05, windows), dtype=np.float64)


def second_dearer(random: np.random.Generator, windows: int) -> Array:
    """Return independent deviations where the second window of each pair costs 0.5 % more."""
    return np.asarray(normal(random, windows) + 0.005 * (np.arange(windows) % 2), dtype=np.float64)


def interleaved(change: float, noise: Noise, *, sequential: bool, trials: int, seed: int) -> Rates:
    """Simulate `trials` gates of at most `PAIRS` pairs and count."""
    random = np.random.default_rng(seed)
    outcomes: list[Outcome] = []
    pairs = 0
    for _ in range(trials):
        # Two windows per pair, in random order.
        windows = 1.0 + noise(random, 2 * PAIRS).reshape(PAIRS, 2)
        swapped = random.random(PAIRS) < 0.5
        windows[swapped] = windows[swapped][:, ::-1]
        before, after = windows[:, 0].tolist(), ((1.0 + change) * windows[:, 1]).tolist()
        outcome, looked = _sequential(before, after) if sequential else _at_once(before, after)
        outcomes.append(outcome)
        pairs += looked
    return _rates(outcomes, pairs / trials)


def stored(
    change: float,
    runs: tuple[int, int],
    run_spread: float,
    *,
    stated: float | None = None,
    trials: int,
    seed: int,
) -> Rates:
    """Simulate `trials` gates of stored runs, ten windows each, that differ by `run_spread`, and count."""
    random = np.random.default_rng(seed)
    outcomes: list[Outcome] = []
    for _ in range(trials):
        sides = [
            [
                Run(
                    tuple(
                        (
                            mean * (1.0 + run_spread * random.standard_normal() + normal(random, _WINDOWS))
                        ).tolist()
                    )
                )
                for _ in range(count)
            ]
            for mean, count in zip((1.0, 1.0 + change), runs, strict=True)
        ]
        found, _ = run_change(sides[0], sides[1], stated)
        outcomes.append(decide(found, TOLERANCE))
    return _rates(outcomes, float(sum(runs)))


def _sequential(before: list[float], after: list[float]) -> tuple[Outcome, int]:
    outcome: Outcome = "inconclusive"
    for pairs in range(1, PAIRS + 1):
        if (found := look(before[:pairs], after[:pairs], PAIRS)) is not None:
            outcome = decide(found[0], TOLERANCE)
        if outcome != "inconclusive":
            return outcome, pairs
    return outcome, PAIRS


def _at_once(before: list[float], after: list[float]) -> tuple[Outcome, int]:
    found, _ = paired_change(before, after, student_t(PAIRS - 1, 2.0 * CONFIDENCE - 1.0))
    return decide(found, TOLERANCE), PAIRS


def _rates(outcomes: list[Outcome], pairs: float) -> Rates:
    counts = {each: outcomes.count(each) / len(outcomes) for each in set(outcomes)}
    passed = counts.get("pass", 0.0) + counts.get("improvement", 0.0)
    return Rates(counts.get("regression", 0.0), passed, counts.get("inconclusive", 0.0), pairs)


def _line(what: str, change: float, rates: Rates) -> str:
    return (
        f"{what:<34} {change:>+7.1%} {rates.regression:>11.2%} {rates.passed:>8.2%}"
        f" {rates.inconclusive:>13.2%} {rates.pairs:>6.1f}"
    )


def main() -> None:
    """Print the tables."""
    head = f"{'':<34} {'change':>7} {'regression':>11} {'pass':>8} {'inconclusive':>13}"
    print(f"Tolerance {TOLERANCE:.0%}, windows spread by {SPREAD:.0%}, {TRIALS} trials each\n")
    print(f"{head} {'pairs':>6}")
    for what, sequential in (("20 pairs at once", False), ("20 pairs at most, looked at", True)):
        for change in CHANGES:
            rates = interleaved(change, normal, sequential=sequential, trials=TRIALS, seed=1)
            print(_line(what, change, rates))
    for noise in (heavy_tailed, hiccups, correlated, drifting, second_dearer):
        for change in (0.0, 0.02, 0.03):
            rates = interleaved(change, noise, sequential=True, trials=TRIALS, seed=2)
            print(_line(f"looked at, {noise.__name__.replace('_', ' ')}", change, rates))
    print(f"\n{head} {'runs':>6}")
    for runs, spread in (((1, 1), 0.005), ((1, 1), 0.01), ((3, 1), 0.01), ((3, 3), 0.01), ((5, 5), 0.01)):
        for change in (0.0, 0.02, 0.03, 0.05):
            rates = stored(change, runs, spread, trials=TRIALS, seed=3)
            print(_line(f"stored, {runs[0]} + {runs[1]} runs, spread {spread:.1%}", change, rates))


if __name__ == "__main__":
    main()
