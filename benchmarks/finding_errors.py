"""How often a finding errs: simulated results whose truth is known, judged by the code of `perframe findings`.

The truth is first the published table itself, where it says what the claim does: nothing is weaker, stronger or
reversed there. Then every network costs the same: nothing holds there, and nothing is reversed. What was published is
then excluded, which is what "weaker" says.
"""

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from perframe.analysis.claims import CLAIMS, Claim
from perframe.analysis.judge import Outcome, judge
from perframe.analysis.means import Mean
from perframe.analysis.published import GPUS
from perframe.analysis.published_series import published_series
from perframe.analysis.series import Series

SPREADS = (0.01, 0.03, 0.10)
RUNS = 3
TRIALS = 100
_OUTCOMES: tuple[Outcome, ...] = ("holds", "weaker", "stronger", "reversed", "inconclusive")


def measured(table: Series, spread: float, random: np.random.Generator, *, alike: bool = False) -> Series:
    """Return what measuring a published table in `RUNS` runs gives whose means differ by `spread`, relative.

    Args:
        table: The truth.
        spread: True standard deviation between runs; it is known as well as the runs tell.
        random: Where errors come from.
        alike: Whether every network costs the same instead.
    """
    degrees = (RUNS - 1) * len(table.networks)
    estimated = spread * math.sqrt(random.chisquare(degrees) / degrees)
    networks = []
    for network in table.networks:
        assert network.epf_j is not None, "the tables have no empty cells"
        truth = 1.0 if alike else network.epf_j.value
        value = truth * (1.0 + spread / math.sqrt(RUNS) * float(random.standard_normal()))
        networks.append(replace(network, epf_j=Mean(value, estimated / math.sqrt(RUNS), degrees, RUNS)))
    identity = frozenset({("device_name", table.conditions.device)})
    return replace(
        table,
        conditions=replace(table.conditions, identity=identity),
        networks=tuple(networks),
        run_spread=estimated,
        spread_source="measured",
    )


def cases(
    claim: Claim, gpu: str, spread: float, random: np.random.Generator, *, alike: bool = False
) -> list[tuple[Series, ...]]:
    """Measure one published GPU once, and return what a claim is judged on."""
    here = tuple(
        measured(table, spread, random, alike=alike)
        for table in published_series()
        if table.conditions.device == gpu
    )
    # That a GPU ranks as itself is not what was published.
    return [
        case
        for case in claim.cases(here)
        if len(case) == 1 or case[1].conditions.identity or case[1].conditions.device != gpu
    ]


def rates(
    claim: Claim, spread: float, *, alike: bool = False, trials: int, seed: int
) -> dict[Outcome, float]:
    """Return the share of each outcome over `trials` measurements of both GPUs; nothing where no case is there."""
    random = np.random.default_rng(seed)
    counts: Counter[Outcome] = Counter()
    for gpu in GPUS:
        right = [alike or judge(claim, case).outcome == "holds" for case in cases(claim, gpu, 0.0, random)]
        for _ in range(trials):
            found = zip(right, cases(claim, gpu, spread, random, alike=alike), strict=True)
            counts.update(judge(claim, case).outcome for counted, case in found if counted)
    return {outcome: counts[outcome] / counts.total() for outcome in _OUTCOMES if counts}


def main() -> None:
    """Print both tables."""
    for alike, truth in ((False, "the published tables"), (True, "all networks cost the same")):
        print(f"truth: {truth}; {RUNS} runs, {TRIALS} measurements of both GPUs\n")
        print(f"{'claim':<24}{'run spread':>10}" + "".join(f"{name:>14}" for name in _OUTCOMES))
        for claim in CLAIMS:
            for spread in SPREADS:
                found = rates(claim, spread, alike=alike, trials=TRIALS, seed=1)
                if found:
                    told = "".join(f"{found[name]:>14.1%}" for name in _OUTCOMES)
                    print(f"{claim.code:<24}{spread:>10.0%}{told}")
        print()


if __name__ == "__main__":
    main()
