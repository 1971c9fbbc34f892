"""Models of what a frame costs as its layers are divided into groups: the authors' and a physical one.

The authors (E2GC, arXiv 2006.15100) let a layer cost `M^(1 - beta) x (A + P)^beta`: MACs, and what is moved for them.
Of the published tables that leaves 10 to 27 % unexplained even in sample.

The physical model adds up, with coefficients that are not negative:

* a constant: all that dividing into groups does not touch. The other layers, launches, static power times their time;
* `M`, arithmetic at full speed;
* `sqrt(A x P)` of each grouped layer, the geometric mean of the activations and weights that meet in it. It grows
  slower than MACs, as a device is used the better the more there is to do at once;
* `sqrt(A x g)` of each grouped layer: g jobs of A / g activations each, of which every job costs the square root of its
  size, between a launch (the same for all sizes) and a copy (in proportion). This is the price of little data reuse.

Static power times time needs no term of its own: time has the same terms. In a layer of m channels on an output of a
given size, the last two are proportional to sqrt(G) and 1 / sqrt(G) with the same factor. Were it for them alone, every
layer would be cheapest at the same group size, whatever its width: the rule of E2GC.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from perframe.analysis.designs import Design
from perframe.arrays import Array
from perframe.profiler.stats import student_t

FEWEST = 5
"""Networks from which the physical model follows with an interval: one more than it has coefficients."""

BETAS = np.linspace(0.01, 1.0, 100)
"""What beta of the authors' model is looked for among: (0, 1]."""

# So wide an interval says that nothing is known; wider ones have no number.
_WIDEST = 100.0


@dataclass(frozen=True)
class Predicted:
    """A prediction.

    Attributes:
        value: The most likely value, in the unit of what was fitted.
        relative_error: Half its 95 % interval as a logarithm, which is about relative: the interval is from
            value x exp(-this) to value x exp(this).
        extrapolated: Whether it lies outside of what was fitted.
    """

    value: float
    relative_error: float
    extrapolated: bool

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value * math.exp(-self.relative_error)

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value * math.exp(min(self.relative_error, _WIDEST))


class Model(Protocol):
    """A model that was fitted."""

    def predict(self, design: Design) -> Predicted:
        """Predict what a design costs."""
        ...


Fit = Callable[[Sequence[Design], Sequence[float]], Model]


def features(design: Design) -> Array:
    """Return the four terms of the physical model."""
    grouped = design.grouped
    macs, params, activations, groups = (
        each[grouped] for each in (design.macs, design.params, design.activations, design.groups)
    )
    return np.array(
        [
            1.0,
            macs.sum(),
            np.sqrt(activations * params).sum(),
            np.sqrt(activations * groups).sum(),
        ]
    )


@dataclass(frozen=True, eq=False)
class PhysicalModel:
    """The physical model of one network on one device at one batch size.

    Attributes:
        coefficients: Of the four terms.
        relative_sd: Standard deviation of what it leaves of a measured value, relative.
        degrees: Degrees of freedom of that.
        inverse: Inverse of the normal matrix of the terms in use, zero for the others.
        least: Smallest value of each term in the fit.
        most: Largest.
    """

    coefficients: Array
    relative_sd: float
    degrees: int
    inverse: Array
    least: Array
    most: Array

    def predict(self, design: Design) -> Predicted:
        """Predict what a design costs.

        The interval is that of least squares for a new observation, with Student's t: it allows for how well the
        coefficients are known, and for what the model leaves of every network.
        """
        terms = features(design)
        value = float(terms @ self.coefficients)
        share = terms / value
        spread = self.relative_sd * math.sqrt(1.0 + float(share @ self.inverse @ share))
        slack = 1e-9 * self.most
        outside = bool(((terms < self.least - slack) | (terms > self.most + slack)).any())
        return Predicted(value, student_t(self.degrees, 0.95) * spread, outside)


def fit_physical(designs: Sequence[Design], values: Sequence[float]) -> PhysicalModel:
    """Fit the physical model by least squares of relative residuals, coefficients not being negative.

    Args:
        designs: At least `FEWEST`.
        values: Joules per frame, or seconds, of each; positive.
    """
    terms = np.array([features(design) for design in designs])
    relative = terms / np.asarray(values, dtype=np.float64)[:, None]
    coefficients = non_negative(relative)
    left = float(((1.0 - relative @ coefficients) ** 2).sum())
    # A coefficient at zero was fitted all the same.
    degrees = len(values) - terms.shape[1]
    used = np.flatnonzero(coefficients)
    scale = np.sqrt((relative[:, used] ** 2).mean(axis=0))
    in_use = relative[:, used] / scale
    inverse = np.zeros((terms.shape[1], terms.shape[1]))
    inverse[np.ix_(used, used)] = np.linalg.pinv(in_use.T @ in_use) / np.outer(scale, scale)
    return PhysicalModel(
        coefficients=coefficients,
        relative_sd=math.sqrt(left / degrees),
        degrees=degrees,
        inverse=inverse,
        least=terms.min(axis=0),
        most=terms.max(axis=0),
    )


def non_negative(relative: Array) -> Array:
    """Return the coefficients, none of them negative, whose sum of terms is the closest to 1 in least squares.

    With so few terms, every choice of which to use is tried: the best one whose plain least squares has no negative
    coefficient is the optimum.

    Args:
        relative: Terms over what they shall add up to, positive: [observations, terms].
    """
    scale = np.sqrt((relative**2).mean(axis=0))
    scaled, ones = relative / scale, np.ones(len(relative))
    best, least = np.zeros(scaled.shape[1]), math.inf
    for size in range(1, scaled.shape[1] + 1):
        for chosen in itertools.combinations(range(scaled.shape[1]), size):
            solution = np.linalg.lstsq(scaled[:, chosen], ones, rcond=None)[0]
            left = float(((ones - scaled[:, chosen] @ solution) ** 2).sum())
            if left < least and (solution >= 0.0).all():
                best, least = np.zeros(scaled.shape[1]), left
                best[list(chosen)] = solution
    return np.asarray(best / scale)


@dataclass(frozen=True, eq=False)
class AuthorsModel:
    """The authors' model of one network on one device at one batch size.

    That is `scale x sum over all layers of M^(1 - beta) x (A + P)^beta`.

    Attributes:
        beta: The weight of data movement.
        scale: Joules per frame, or seconds, per unit.
        relative_sd: Standard deviation of what it leaves of a measured value, relative.
        degrees: Degrees of freedom of that.
    """

    beta: float
    scale: float
    relative_sd: float
    degrees: int

    def predict(self, design: Design) -> Predicted:
        """Predict what a design costs."""
        value = self.scale * float(authors_terms(design, np.array([self.beta]))[0])
        return Predicted(value, student_t(self.degrees, 0.95) * self.relative_sd, False)


def authors_terms(design: Design, betas: Array) -> Array:
    """Return the authors' cost of a design, for each beta."""
    moved = design.activations + design.params
    return np.asarray((design.macs * (moved / design.macs) ** betas[:, None]).sum(axis=1))


def fit_authors(designs: Sequence[Design], values: Sequence[float]) -> AuthorsModel:
    """Fit the authors' model by least squares of relative residuals; beta is one of `BETAS`.

    Args:
        designs: At least 3.
        values: Joules per frame, or seconds, of each; positive.
    """
    terms = np.array([authors_terms(design, BETAS) for design in designs])
    best, scale, left = best_beta(terms, np.asarray(values, dtype=np.float64)[None])
    degrees = len(values) - 2
    return AuthorsModel(float(BETAS[best[0]]), float(scale[0]), math.sqrt(float(left[0]) / degrees), degrees)


def best_beta(terms: Array, values: Array) -> tuple[Array, Array, Array]:
    """Return which of `BETAS` fits each row of values best, with the scale and the sum of squares that are left.

    Args:
        terms: What each design costs by each of `BETAS`: [designs, betas].
        values: What each design was measured to cost: [rows, designs].
    """
    relative = terms[None] / values[:, :, None]
    scales = relative.sum(axis=1) / (relative**2).sum(axis=1)
    left = ((1.0 - relative * scales[:, None, :]) ** 2).sum(axis=1)
    best, rows = left.argmin(axis=1), np.arange(len(values))
    return best, scales[rows, best], left[rows, best]


@dataclass(frozen=True)
class LeftOut:
    """How well a model predicts each network from the others.

    Attributes:
        errors: Relative error of each.
        covered: Whether each lay within the interval predicted for it.
    """

    errors: tuple[float, ...]
    covered: tuple[bool, ...]

    @property
    def mean(self) -> float:
        """Mean absolute relative error."""
        return math.fsum(abs(error) for error in self.errors) / len(self.errors)


def leave_one_out(fit: Fit, designs: Sequence[Design], values: Sequence[float]) -> LeftOut | None:
    """Predict every network from the others.

    Args:
        fit: The model.
        designs: The networks.
        values: What each costs.

    Returns:
        `None` where too few would be left.
    """
    if len(designs) <= FEWEST:
        return None
    errors, covered = [], []
    for out, (design, value) in enumerate(zip(designs, values, strict=True)):
        kept = [index for index in range(len(designs)) if index != out]
        model = fit([designs[index] for index in kept], [values[index] for index in kept])
        predicted = model.predict(design)
        errors.append(predicted.value / value - 1.0)
        covered.append(predicted.low <= value <= predicted.high)
    return LeftOut(tuple(errors), tuple(covered))
