"""Energy of networks that were left out, on the published tables (12 series: 2 networks x 2 GPUs x 3 batch sizes).

Four questions: how far both models are off when one network of eleven is left out, and whether the intervals hold what
they promise; how far when the terms of the physical model are chosen anew, by trying every choice of up to three from a
list, on one family and one GPU, and are then used on the other family and the other GPU; and how far from few networks.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from perframe.analysis.designs import Design
from perframe.analysis.energy_models import (
    BETAS,
    FEWEST,
    fit_authors,
    fit_physical,
    leave_one_out,
    non_negative,
)
from perframe.analysis.published import BATCHES, GPUS
from perframe.analysis.published_series import published_series
from perframe.analysis.series import Series
from perframe.arrays import Array

FAMILIES = ("mobilenet_v1", "resnext50")
SUBSETS = 40

# Of MACs, weights, activations and groups of the grouped layers. All of them mean something; which of them matter?
Term = Callable[[Array, Array, Array, Array], Array]
LIBRARY: dict[str, Term] = {
    "M": lambda m, p, a, g: m,
    "P": lambda m, p, a, g: p,
    "g": lambda m, p, a, g: g,
    "sqrt(M)": lambda m, p, a, g: np.sqrt(m),
    "sqrt(P)": lambda m, p, a, g: np.sqrt(p),
    "sqrt(g)": lambda m, p, a, g: np.sqrt(g),
    "sqrt(A g)": lambda m, p, a, g: np.sqrt(a * g),
    "sqrt(A P)": lambda m, p, a, g: np.sqrt(a * p),
    "sqrt(M A)": lambda m, p, a, g: np.sqrt(m * a),
}
SHIPPED = ("M", "sqrt(A g)", "sqrt(A P)")


def main() -> None:
    """Print the four tables."""
    series = {
        (str(one.backbone and one.backbone.family), one.conditions.device, one.batch): one
        for one in published_series()
    }
    left_out(series)
    choose_elsewhere(series)
    few(series)


def left_out(series: dict[tuple[str, str, int], Series]) -> None:
    """One network of eleven at a time."""
    print(
        "leave-one-out error, mean of 11 (worst)       authors: in sample, beta   leave-one-out    physical"
    )
    authors: list[float] = []
    physical: list[float] = []
    covered: list[bool] = []
    for key, one in series.items():
        values = list(one.epf_j[0])
        model = fit_authors(one.designs, values)
        in_sample = _mean(
            abs(model.predict(each).value / v - 1) for each, v in zip(one.designs, values, strict=True)
        )
        theirs, ours = (leave_one_out(fit, one.designs, values) for fit in (fit_authors, fit_physical))
        assert theirs is not None and ours is not None
        worst = max(range(len(values)), key=lambda i: abs(ours.errors[i]))
        print(
            f"  {key[0]:12} {key[1]:5} batch {key[2]:2}"
            f"{100 * in_sample:25.1f} %, {model.beta:4.2f}{100 * theirs.mean:14.1f} %"
            f"{100 * ours.mean:13.1f} %  ({100 * ours.errors[worst]:+.0f} % at {one.networks[worst].label})"
        )
        authors.append(theirs.mean)
        physical.append(ours.mean)
        covered += ours.covered
    print(
        f"  mean of 12: authors {100 * _mean(authors):.1f} %, physical {100 * _mean(physical):.2f} %;"
        f" worst series: {100 * max(authors):.1f} %, {100 * max(physical):.2f} %"
    )
    print(f"  95 % intervals held {sum(covered)} of {len(covered)} networks ({100 * _mean(covered):.1f} %)")
    print(f"  beta was looked for in [{BETAS[0]:g}, {BETAS[-1]:g}]\n")


def choose_elsewhere(series: dict[tuple[str, str, int], Series]) -> None:
    """Terms chosen on one family and GPU, used on the other family and the other GPU."""
    print(
        "terms chosen by trying all, on             "
        + " " * 21
        + "error there     on the unseen  shipped there"
    )
    choices = [each for size in (1, 2, 3) for each in itertools.combinations(LIBRARY, size)]
    errors = {(choice, key): _error(one, choice) for choice in choices for key, one in series.items()}
    for family, gpu in itertools.product(FAMILIES, GPUS):
        seen = [(family, gpu, batch) for batch in BATCHES]
        unseen = [key for key in series if key[0] != family and key[1] != gpu]
        best = min(choices, key=lambda choice: _mean(errors[choice, key] for key in seen))
        print(
            f"  {family:12} {gpu:5}  constant, {', '.join(best):40}"
            f"{100 * _mean(errors[best, key] for key in seen):8.1f} %"
            f"{100 * _mean(errors[best, key] for key in unseen):14.1f} %"
            f"{100 * _mean(errors[SHIPPED, key] for key in unseen):14.1f} %"
        )
    print()


def few(series: dict[tuple[str, str, int], Series]) -> None:
    """From a few networks, chosen at random, to the rest."""
    print(
        "from n networks at random to the rest: mean error, median, held by 95 % intervals, half interval (median)"
    )
    chance = random.Random(0)
    for n in range(FEWEST, 10):
        errors, held, halves = [], [], []
        for one in series.values():
            values = list(one.epf_j[0])
            for _ in range(SUBSETS):
                kept = chance.sample(range(len(values)), n)
                model = fit_physical([one.designs[i] for i in kept], [values[i] for i in kept])
                for i in set(range(len(values))) - set(kept):
                    predicted = model.predict(one.designs[i])
                    errors.append(abs(predicted.value / values[i] - 1))
                    held.append(predicted.low <= values[i] <= predicted.high)
                    halves.append(predicted.relative_error)
        print(
            f"  n = {n}: {100 * _mean(errors):5.1f} %  {100 * float(np.median(errors)):5.1f} %"
            f"  {100 * _mean(held):5.1f} %  {100 * float(np.median(halves)):5.0f} %"
        )


def _error(one: Series, choice: Sequence[str]) -> float:
    """Mean leave-one-out error with other terms."""
    values = one.epf_j[0]
    relative = np.array([[1.0, *_terms(each, choice)] for each in one.designs]) / values[:, None]
    kept = ~np.eye(len(values), dtype=bool)
    return _mean(abs(float(relative[i] @ non_negative(relative[kept[i]])) - 1.0) for i in range(len(values)))


def _terms(of: Design, choice: Sequence[str]) -> list[float]:
    layers = [each[of.grouped] for each in (of.macs, of.params, of.activations, of.groups)]
    return [float(LIBRARY[name](*layers).sum()) for name in choice]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    main()
