"""Models of energy: against known truths, and against the published tables."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perframe.analysis.designs import Backbone, Design, design, layer_groups, possible
from perframe.analysis.energy_models import (
    FEWEST,
    Predicted,
    features,
    fit_authors,
    fit_physical,
    leave_one_out,
)
from perframe.analysis.published_series import published_series

BACKBONES = [Backbone("mobilenet_v1"), Backbone("resnext50")]
RULES = [("G", size) for size in (1, 2, 4, 8, 16, 32)] + [("g", number) for number in (2, 4, 8, 16, 32)]


def designs_of(backbone: Backbone) -> list[Design]:
    return [design(backbone, layer_groups(backbone, "G" if rule == "G" else "g", n)) for rule, n in RULES]


def truth(backbone: Backbone, shares: tuple[float, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Coefficients by what each term adds at G = 8."""
    return np.array(shares) / features(design(backbone, layer_groups(backbone, "G", 8)))


# --- known truths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_model_that_is_right_is_found(backbone: Backbone) -> None:
    designs, coefficients = designs_of(backbone), truth(backbone, (0.2, 0.1, 0.3, 0.4))
    model = fit_physical(designs, [float(features(each) @ coefficients) for each in designs])
    assert model.coefficients == pytest.approx(coefficients)
    assert model.relative_sd < 1e-6
    for rule, number in possible(backbone):
        other = design(backbone, layer_groups(backbone, rule, number))
        assert model.predict(other).value == pytest.approx(float(features(other) @ coefficients))


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_the_authors_model_finds_its_own_beta(beta: float) -> None:
    designs = designs_of(BACKBONES[0])
    costs = [
        float((each.macs ** (1 - beta) * (each.activations + each.params) ** beta).sum()) for each in designs
    ]
    model = fit_authors(designs, [3e-9 * cost for cost in costs])
    assert model.beta == pytest.approx(beta)
    assert model.scale == pytest.approx(3e-9)


@settings(max_examples=25)
@given(st.lists(st.floats(0.2, 5.0), min_size=11, max_size=11))
def test_no_better_fit_has_coefficients_that_are_not_negative(values: list[float]) -> None:
    designs = designs_of(BACKBONES[1])
    terms = np.array([features(each) for each in designs]) / np.array(values)[:, None]
    scale = np.linalg.norm(terms, axis=0)
    found = fit_physical(designs, values).coefficients * scale
    residual = 1.0 - terms / scale @ found
    slope = (terms / scale).T @ residual
    # Karush-Kuhn-Tucker: no slope along terms in use, none upward along the others.
    assert (found >= 0.0).all()
    assert np.abs(slope[found > 0.0]).max(initial=0.0) < 1e-6
    assert slope[found == 0.0].max(initial=-1.0) < 1e-6


def test_intervals_hold_what_they_promise() -> None:
    """Where the model is right but for noise, 95 % of new measurements lie within their interval."""
    backbone, chance = BACKBONES[0], random.Random(0)
    designs, coefficients = designs_of(backbone), truth(backbone, (0.2, 0.2, 0.3, 0.3))
    costs = [float(features(each) @ coefficients) for each in designs]
    held = []
    for _ in range(150):
        left_out = chance.randrange(len(designs))
        noisy = [cost * chance.gauss(1.0, 0.03) for cost in costs]
        rest = [index for index in range(len(designs)) if index != left_out]
        predicted = fit_physical([designs[i] for i in rest], [noisy[i] for i in rest]).predict(
            designs[left_out]
        )
        held.append(predicted.low <= noisy[left_out] <= predicted.high)
    assert 0.92 <= sum(held) / len(held) <= 1.0


def test_what_lies_outside_is_an_extrapolation() -> None:
    backbone = BACKBONES[0]
    designs = [design(backbone, layer_groups(backbone, "G", size)) for size in (2, 4, 8, 16, 32)]
    model = fit_physical(designs, [0.5, 0.4, 0.35, 0.33, 0.32])
    inside, outside = (design(backbone, layer_groups(backbone, "G", size)) for size in (6, 1))
    assert not model.predict(inside).extrapolated
    assert model.predict(outside).extrapolated
    assert model.predict(outside).relative_error > model.predict(inside).relative_error


def test_an_interval_of_nothing_known_stays_a_number() -> None:
    assert np.isfinite(Predicted(1.0, 1e6, True).high)


def test_too_few_to_leave_one_out() -> None:
    designs = designs_of(BACKBONES[0])[:FEWEST]
    assert leave_one_out(fit_physical, designs, [1.0] * FEWEST) is None


# --- the published tables ---------------------------------------------------------------------------------------


def test_the_physical_model_predicts_the_published_tables() -> None:
    """Leaving one out: 4 % on average, 6 % on every one of the 12 series."""
    errors: list[float] = []
    covered: list[bool] = []
    for series in published_series():
        found = leave_one_out(fit_physical, series.designs, list(series.epf_j[0]))
        assert found is not None
        errors.append(found.mean)
        covered += found.covered
    assert max(errors) < 0.06
    assert sum(errors) / len(errors) < 0.04
    # 95 % is promised; of 132, fewer than 90 % would be no chance.
    assert sum(covered) / len(covered) >= 0.90


def test_the_authors_model_does_not() -> None:
    errors = []
    for series in published_series():
        found = leave_one_out(fit_authors, series.designs, list(series.epf_j[0]))
        assert found is not None
        errors.append(found.mean)
    assert min(errors) > 0.10


def test_few_networks_predict_the_rest() -> None:
    """Six of eleven, chosen by reason: both ends of G and g, and two between."""
    chosen = [RULES.index(each) for each in (("G", 1), ("G", 4), ("G", 32), ("g", 2), ("g", 8), ("g", 32))]
    errors = []
    for series in published_series():
        labels = [network.label for network in series.networks]
        order = [labels.index(f"{rule}={number}") for rule, number in RULES]
        designs = [series.designs[column] for column in order]
        values = [float(series.epf_j[0, column]) for column in order]
        model = fit_physical([designs[i] for i in chosen], [values[i] for i in chosen])
        rest = [index for index in range(len(RULES)) if index not in chosen]
        errors += [abs(model.predict(designs[i]).value / values[i] - 1.0) for i in rest]
    assert sum(errors) / len(errors) < 0.06


def test_every_layer_is_cheapest_at_one_group_size() -> None:
    """Without the term in MACs, the two of a layer balance at a G that its width does not change."""
    optima = []
    for channels, pixels in itertools.product((32, 64, 512), (49, 3136)):
        sizes = np.geomspace(1, channels, 200)
        activations, groups = 2.0 * channels * pixels, channels / sizes
        params = 9.0 * channels * sizes
        cost = np.sqrt(activations * params) + 12.0 * np.sqrt(activations * groups)
        optima.append(float(sizes[cost.argmin()]))
    assert max(optima) / min(optima) < 1.05
