"""How often the gate errs: measurements whose true change is known, judged by the gate's own code.

The tolerance is 2 %. At and below it a regression is a false alarm; above it a pass is a miss. Some measurements are
simulated; others are those of `results/`, where several runs of one network are judged against each other.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np

from perframe.analysis.change import CONFIDENCE, Run, paired_change, run_change
from perframe.analysis.gate import judge
from perframe.analysis.paired import look
from perframe.analysis.results import profile_files, read_results
from perframe.analysis.verdict import Outcome, Threshold, decide
from perframe.arrays import Array
from perframe.profiler.result import Profile, read_profile
from perframe.profiler.stats import student_t

TOLERANCE = 0.02
SPREAD = 0.01
PAIRS = 20
TRIALS = 10_000
CHANGES = (0.0, 0.01, 0.02, 0.025, 0.03, 0.05)
RECORDED = Path(__file__).parents[1] / "results" / "amd-epyc-2-cores"
_WINDOWS = 10

Noise = Callable[[np.random.Generator, int], Array]
"""Relative deviations of so many windows in a row, the spread of each being `SPREAD`; or of so many runs."""


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


def spread_by(spread: float) -> Noise:
    """Return what makes runs differ normally by a relative standard deviation."""
    return lambda random, runs: spread * random.standard_normal(runs)


def as_recorded(random: np.random.Generator, runs: int) -> Array:
    """Return deviations of recorded runs, drawn from one of the recorded series: they are heavy-tailed."""
    series = _deviations()
    return random.choice(series[random.integers(len(series))], runs)


@cache
def _deviations() -> list[Array]:
    """How far each recorded run is off the mean of its network's runs, relative, for every family and batch size."""
    means: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for each in read_results(RECORDED / "inference").results:
        means[each.model.family, each.batch, each.model.name].append(float(each.latency_s.mean()))
    series: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (family, batch, _), runs in means.items():
        # Around the mean of so few they vary less than around the true one.
        scale = math.sqrt(len(runs) / (len(runs) - 1))
        series[family, batch] += [scale * (run / fmean(runs) - 1.0) for run in runs]
    return [np.array(each) for each in series.values()]


def stored(
    change: float,
    runs: tuple[int, int],
    between: Noise,
    *,
    stated: float | None = None,
    trials: int,
    seed: int,
) -> Rates:
    """Simulate `trials` gates of stored runs, ten windows each, and count.

    Args:
        change: The true one.
        runs: Of the baseline, and of what is judged.
        between: By how much runs differ.
        stated: The spread between runs that the gate is told.
        trials: How many.
        seed: Of chance.
    """
    random = np.random.default_rng(seed)
    outcomes: list[Outcome] = []
    for _ in range(trials):
        deviations = between(random, sum(runs))
        sides = [
            [Run(tuple((mean * (1.0 + off + normal(random, _WINDOWS))).tolist())) for off in side]
            for mean, side in zip((1.0, 1.0 + change), np.split(deviations, runs[:1]), strict=True)
        ]
        found, _ = run_change(sides[0], sides[1], stated)
        outcomes.append(decide(found, TOLERANCE))
    return _rates(outcomes, float(sum(runs)))


def recorded(folder: Path, metric: str, runs: tuple[int, int], stated: float | None = None) -> Rates:
    """Judge recorded runs of every network against other runs of the same network, and count.

    Args:
        folder: Profiles.
        metric: What is judged.
        runs: Of the baseline, and of what is judged; every choice of so many is tried.
        stated: The spread between runs that the gate is told.
    """
    of_network: dict[str | None, list[Profile]] = defaultdict(list)
    for path in profile_files(folder):
        profile = read_profile(path)
        of_network[profile.model.sha256].append(profile)
    thresholds = [Threshold(metric, max_increase=TOLERANCE)]
    outcomes = [
        verdict.outcome
        for repeated in of_network.values()
        for before, after in _choices(repeated, runs)
        for verdict in judge(after, before, thresholds, run_spread=stated).verdicts
    ]
    return _rates(outcomes, float(sum(runs)))


def _choices(
    profiles: Sequence[Profile], runs: tuple[int, int]
) -> Iterator[tuple[list[Profile], list[Profile]]]:
    """Every baseline of so many runs, with every choice from the others."""
    for before in combinations(range(len(profiles)), runs[0]):
        others = [index for index in range(len(profiles)) if index not in before]
        for after in combinations(others, runs[1]):
            yield [profiles[index] for index in before], [profiles[index] for index in after]


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
        f"{what:<36} {change:>+7.1%} {rates.regression:>11.2%} {rates.passed:>8.2%}"
        f" {rates.inconclusive:>13.2%} {rates.pairs:>6.1f}"
    )


def main() -> None:
    """Print the tables."""
    head = f"{'':<36} {'change':>7} {'regression':>11} {'pass':>8} {'inconclusive':>13}"
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
    for counts in ((1, 1), (3, 1)):
        rates = stored(0.5, counts, spread_by(0.01), trials=100, seed=3)
        print(_line(f"{counts[0]} + {counts[1]} runs, not stated", 0.5, rates))
    for truth in (0.005, 0.01):
        for change in (0.0, 0.02, 0.03, 0.05):
            rates = stored(change, (1, 1), spread_by(truth), stated=0.005, trials=TRIALS, seed=3)
            print(_line(f"1 + 1 runs, {100 * truth} %, 0.5 % stated", change, rates))
    kinds = {f"spread {100 * each:g} %": spread_by(each) for each in (0.01, 0.03, 0.1)} | {
        "as recorded": as_recorded
    }
    for what, between in kinds.items():
        for count in (2, 3, 5):
            for change in (0.0, 0.02, 0.05, 0.1):
                rates = stored(change, (count, count), between, trials=TRIALS, seed=3)
                print(_line(f"{count} + {count} runs, {what}", change, rates))
    print("\nRecorded runs of one network against each other, all choices")
    for metric in ("epf", "latency-p50", "latency-p99"):
        for counts in ((1, 1), (1, 2), (2, 1)):
            rates = recorded(RECORDED / "inference", metric, counts)
            print(_line(f"{counts[0]} + {counts[1]} runs, {metric}", 0.0, rates))
        rates = recorded(RECORDED / "inference", metric, (1, 1), stated=0.1)
        print(_line(f"1 + 1 runs, {metric}, 10 % stated", 0.0, rates))
        rates = recorded(RECORDED / "training", metric, (1, 1))
        print(_line(f"1 + 1 runs, {metric}, training", 0.0, rates))


if __name__ == "__main__":
    main()
