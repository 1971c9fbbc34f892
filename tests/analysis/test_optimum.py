"""The authors' optimum group size, fitted."""

import numpy as np
import pytest

from perframe.analysis.designs import Backbone, design, layer_groups
from perframe.analysis.energy_models import authors_terms
from perframe.analysis.optimum import balance, fit_optimum, propose
from perframe.analysis.published_series import published_series

BACKBONE = Backbone("mobilenet_v1")
SIZES = (1, 2, 4, 8, 16, 32)


def test_the_formula() -> None:
    beta, gamma = 0.3, 2e6
    first = propose(BACKBONE, beta, gamma, 8)[0]
    # blocks.0: 32 maps to 32 of 112 x 112.
    assert first.module == "blocks.0.grouped.conv"
    assert first.wanted == pytest.approx(32 * 32 * 9 * (112 * 112) ** 0.7 / gamma)
    assert first.groups in (1, 2, 4, 8, 16, 32) and first.groups * first.group_size == 32
    assert first.constant_groups == 4


def test_halfway_it_is_the_constant_group_size() -> None:
    of_eight = design(BACKBONE, layer_groups(BACKBONE, "G", 8))
    proposed = propose(BACKBONE, 0.5, balance(of_eight, 0.5), 8)
    # In most layers half the output side goes with twice the channels; strided ones have half the side.
    sizes = {layer.channels / layer.wanted for layer in proposed}
    assert len({round(size, 6) for size in sizes}) == 2
    assert max(sizes) / min(sizes) == pytest.approx(2.0)


@pytest.mark.parametrize("beta", [0.2, 0.7])
def test_beta_is_found_where_the_model_is_right(beta: float) -> None:
    designs = [design(BACKBONE, layer_groups(BACKBONE, "G", size)) for size in SIZES]
    costs = 1e-9 * np.array([authors_terms(each, np.array([beta]))[0] for each in designs])
    noise = np.random.default_rng(0).normal(1.0, 0.002, (200, len(SIZES)))
    rows = np.vstack((costs, costs * noise))
    found = fit_optimum(BACKBONE, designs, rows, [f"G={size}" for size in SIZES], SIZES)
    assert found.beta.value == pytest.approx(beta)
    assert found.beta.low is not None and found.beta.high is not None
    assert found.beta.low - 1e-9 <= beta <= found.beta.high + 1e-9 <= found.beta.low + 0.1
    cheapest = designs[int(costs.argmin())]
    assert found.gamma.value == pytest.approx(balance(cheapest, beta))
    assert not found.at_edge


def test_the_published_tables_do_not_determine_beta() -> None:
    for series in published_series():
        assert series.backbone is not None
        found = fit_optimum(
            series.backbone,
            series.designs,
            series.epf_j,
            [network.label for network in series.networks],
            [network.model.group_size for network in series.networks],
        )
        assert found.at_edge
        assert found.beta.low is not None and found.beta.high is not None
        assert found.beta.high - found.beta.low > 0.5
        assert all(layer.groups * layer.group_size == layer.channels for layer in found.layers)
