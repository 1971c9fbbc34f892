"""The authors' optimum-group-size model, fitted to the results of a device.

By E2GC (arXiv 2006.15100; slides, equation 1) computation and data movement of a layer are in balance where
`M^(1 - beta) x P^beta = gamma`, the same gamma for all layers. With m input and n output maps, kernel d_k and output
h x w that gives every layer a number of groups of its own:

    g = m n d_k^2 (h w)^(1 - beta) / gamma

beta is the one with which the authors' energy model fits the measured energies best. gamma is the balance of the
grouped layers (their geometric mean) in the network that was measured to cost the least. At beta = 0.5 the formula
gives both families about the same G in every layer: the rule of E2GC.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perframe.analysis.designs import Backbone, Design, dense_layers
from perframe.analysis.energy_models import BETAS, authors_terms, best_beta
from perframe.arrays import Array
from perframe.profiler.stats import Estimate

_DRAWS = 500


@dataclass(frozen=True)
class LayerChoice:
    """What the model proposes for one grouped layer.

    Attributes:
        module: Path of the layer.
        channels: Its channels.
        wanted: The number of groups by the formula; may be no whole number.
        groups: The number of groups that divides the channels and is closest in ratio.
        group_size: Channels of each of them.
        constant_groups: The number of groups under the cheapest constant G that was measured.
    """

    module: str
    channels: int
    wanted: float
    groups: int
    group_size: int
    constant_groups: int


@dataclass(frozen=True)
class Optimum:
    """The fitted model.

    Attributes:
        beta: With its interval; at an end of (0, 1] the model only says that it would be beyond.
        gamma: With its interval.
        at_edge: Whether beta is at an end.
        method: How the intervals came about.
        cheapest: The measured network that gamma is taken from.
        constant_g: The cheapest constant G that was measured; `None` if none was.
        layers: What it proposes, in forward order.
    """

    beta: Estimate
    gamma: Estimate
    at_edge: bool
    method: str
    cheapest: str
    constant_g: int | None
    layers: tuple[LayerChoice, ...]

    @property
    def layer_groups(self) -> tuple[int, ...]:
        """The proposed number of groups of every grouped layer."""
        return tuple(layer.groups for layer in self.layers)


def fit_optimum(
    backbone: Backbone,
    designs: Sequence[Design],
    rows: Array,
    labels: Sequence[str],
    group_sizes: Sequence[int | None],
) -> Optimum:
    """Fit beta and gamma, with intervals from a bootstrap.

    Every draw of beta fits energies that are the authors' model with residuals as large as those of its fit, in which
    the spread of windows and runs is small. The cheapest network, which gamma is taken from, is found anew among
    energies that windows and runs allow for.

    Args:
        backbone: What the networks have in common.
        designs: The networks; at least 3.
        rows: Their energy per frame: the means, then draws of them, if there are any; [rows, networks].
        labels: What the networks are called.
        group_sizes: Their constant G; `None` for those that have none.
    """
    terms = np.array([authors_terms(each, BETAS) for each in designs])
    best, scales, left = best_beta(terms, rows[:1])
    residual = math.sqrt(float(left[0]) / (len(designs) - 2))
    random = np.random.default_rng(0)
    measured = rows[1 + random.integers(len(rows) - 1, size=_DRAWS)] if len(rows) > 1 else rows[[0] * _DRAWS]
    fitted = scales[0] * terms[:, best[0]]
    # What a network costs, were the authors' model right but for residuals as large as those that were seen.
    resampled = fitted * np.maximum(1.0 + residual * random.standard_normal((_DRAWS, len(designs))), 0.05)
    drawn_betas = BETAS[best_beta(terms, resampled)[0]]
    gammas = np.array(
        [
            balance(designs[cheapest], beta)
            for cheapest, beta in zip(measured.argmin(axis=1), drawn_betas, strict=True)
        ]
    )
    cheapest, beta = int(rows[0].argmin()), float(BETAS[best[0]])
    gamma = balance(designs[cheapest], beta)
    constant = [column for column, size in enumerate(group_sizes) if size is not None]
    constant_g = group_sizes[min(constant, key=lambda column: rows[0, column])] if constant else None
    return Optimum(
        beta=_estimate(beta, drawn_betas, len(designs)),
        gamma=_estimate(gamma, gammas, len(designs)),
        at_edge=beta in (float(BETAS[0]), float(BETAS[-1])),
        method=f"bootstrap of {_DRAWS}: residuals of the authors' model; windows and runs for the cheapest network",
        cheapest=labels[cheapest],
        constant_g=constant_g,
        layers=propose(backbone, beta, gamma, constant_g),
    )


def balance(of: Design, beta: float) -> float:
    """Return the geometric mean of `M^(1 - beta) x P^beta` over the grouped layers."""
    logs = (1.0 - beta) * np.log(of.macs[of.grouped]) + beta * np.log(of.params[of.grouped])
    return float(np.exp(logs.mean()))


def propose(backbone: Backbone, beta: float, gamma: float, constant_g: int | None) -> tuple[LayerChoice, ...]:
    """Return the number of groups of every grouped layer by equation 1, and under a constant G."""
    found = []
    for layer in dense_layers(backbone):
        if layer.grouped:
            channels = layer.in_channels
            pixels = math.prod(layer.output_size(backbone.input_size))
            wanted = math.prod(layer.weight_shape) * pixels ** (1.0 - beta) / gamma
            groups = min(
                (number for number in range(1, channels + 1) if channels % number == 0),
                key=lambda number: abs(math.log(number / wanted)),
            )
            constant = 1 if constant_g is None else max(channels // constant_g, 1)
            found.append(LayerChoice(layer.name, channels, wanted, groups, channels // groups, constant))
    return tuple(found)


def _estimate(value: float, draws: Array, n: int) -> Estimate:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value), n)
