"""How often 95 % intervals of a mean hold the truth when readings are correlated.

Three ways over the same AR(1) noise, whose likeness falls to 1/e in tau readings: batch means as perframe uses them,
the textbook's standard error of independent readings, and the percentile bootstrap over blocks of 3 tau.
"""

import math
from dataclasses import dataclass

import numpy as np

from perframe.arrays import Array
from perframe.profiler.batch_means import batch_means

TAUS = (1, 5, 10, 20, 50)
LENGTHS = (50, 100, 200, 500)
TRACES = 1000
_RESAMPLES = 200
_BLOCK = 3


@dataclass(frozen=True)
class Coverage:
    """Shares of intervals that hold the true mean.

    Attributes:
        tau: Correlation time, in readings.
        length: Readings per trace, in correlation times.
        conclusive: Share of traces for which batch means give an interval at all.
        batch_means: Of those, how many hold the truth.
        naive: The same for independent readings' standard error, of all traces.
        bootstrap: The same for the percentile block bootstrap, of all traces.
    """

    tau: int
    length: int
    conclusive: float
    batch_means: float
    naive: float
    bootstrap: float


def coverage(tau: int, length: int, *, traces: int, seed: int) -> Coverage:
    """Simulate `traces` traces of `length` correlation times and count."""
    random = np.random.default_rng(seed)
    readings = noise(tau, length * tau, traces, random)
    ours = [batch_means(trace).estimate for trace in readings]
    held = [e.low <= 0.0 <= e.high for e in ours if e.low is not None and e.high is not None]
    return Coverage(
        tau=tau,
        length=length,
        conclusive=len(held) / traces,
        batch_means=sum(held) / max(len(held), 1),
        naive=_naive(readings),
        bootstrap=float(np.mean([_bootstrap_holds(trace, _BLOCK * tau, random) for trace in readings])),
    )


def noise(tau: float, readings: int, traces: int, random: np.random.Generator) -> Array:
    """Return traces of AR(1) noise around 0, one per row."""
    decay = math.exp(-1.0 / tau)
    out = random.normal(size=(readings, traces))
    out[1:] *= math.sqrt(1.0 - decay**2)
    for index in range(1, readings):
        out[index] += decay * out[index - 1]
    return np.ascontiguousarray(out.T)


def _naive(readings: Array) -> float:
    half = 1.96 * readings.std(axis=1, ddof=1) / math.sqrt(readings.shape[1])
    return float(np.mean(np.abs(readings.mean(axis=1)) <= half))


def _bootstrap_holds(trace: Array, block: int, random: np.random.Generator) -> bool:
    sums = np.concatenate(([0.0], np.cumsum(trace)))
    blocks = (sums[block:] - sums[:-block]) / block
    drawn = random.integers(len(blocks), size=(_RESAMPLES, len(trace) // block))
    low, high = np.quantile(blocks[drawn].mean(axis=1), (0.025, 0.975))
    return bool(low <= 0.0 <= high)


def main() -> None:
    """Print the table."""
    print(f"95 % intervals of the mean, {TRACES} AR(1) traces each: how many hold the truth")
    print(f"{'tau':>4} {'length':>8} {'conclusive':>11} {'batch means':>12} {'naive':>7} {'bootstrap':>10}")
    for tau in TAUS:
        for length in LENGTHS:
            found = coverage(tau, length, traces=TRACES, seed=tau)
            print(
                f"{tau:>4} {length:>4} tau {found.conclusive:>10.0%} {found.batch_means:>12.1%}"
                f" {found.naive:>7.1%} {found.bootstrap:>10.1%}"
            )


if __name__ == "__main__":
    main()
