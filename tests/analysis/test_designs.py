"""Networks as models of their energy see them."""

from dataclasses import replace

import numpy as np
import pytest

from perframe.analysis.designs import Backbone, design, layer_groups, possible, recognised
from perframe.analysis.published_series import published_series
from perframe.engines.base import ModelInfo
from perframe.export.architecture import count, make_architecture


def model(family: str, width: float = 1.0, classes: int = 1000, size: int = 224, **rule: int) -> ModelInfo:
    architecture = make_architecture(family, width=width, classes=classes, **rule)
    params, macs = count(architecture, (size, size))
    return ModelInfo(
        name=architecture.name,
        family=architecture.family,
        variant=architecture.variant,
        group_size=architecture.group_size,
        groups=architecture.groups,
        precision="fp32",
        input_shape=(3, size, size),
        sha256=None,
        params=params,
        macs=macs,
        activations=None,
    )


@pytest.mark.parametrize("family", ["mobilenet-v1", "resnext50"])
@pytest.mark.parametrize("width", [0.5, 1.0])
@pytest.mark.parametrize("classes", [10, 1000])
@pytest.mark.parametrize("rule", [{"group_size": 8}, {"groups": 4}])
def test_a_result_is_recognised_by_its_counts(
    family: str, width: float, classes: int, rule: dict[str, int]
) -> None:
    given = model(family, width, classes, 64, **rule)
    found = recognised(given)
    assert found is not None
    backbone, architecture = found
    assert (backbone.width, backbone.classes, backbone.input_size) == (width, classes, (64, 64))
    of_layers = design(backbone, architecture.layer_groups)
    assert (of_layers.params.sum(), of_layers.macs.sum()) == (given.params, given.macs)


def test_activations_are_those_of_the_onnx_graph() -> None:
    # Counted from the graphs of the exported networks, both at 224 x 224.
    assert {series.networks[0].model.activations for series in published_series()} == {10_187_752, 28_352_488}


@pytest.mark.parametrize(
    "change",
    [{"params": 4_000_000}, {"macs": 7}, {"family": "other"}, {"group_size": 3}, {"params": None}],
    ids=str,
)
def test_what_does_not_add_up_is_not_recognised(change: dict[str, object]) -> None:
    assert recognised(replace(model("mobilenet-v1", group_size=8), **change)) is None  # type: ignore[arg-type]


def test_a_group_size_that_divides_nothing_lies_between_those_that_do() -> None:
    backbone = Backbone("resnext50")
    macs = [design(backbone, layer_groups(backbone, "G", size)).macs.sum() for size in (8, 12, 16)]
    assert macs[0] < macs[1] < macs[2]
    assert macs[1] - macs[0] == pytest.approx(macs[2] - macs[1])


def test_groups_end_where_a_layer_has_no_more_channels() -> None:
    backbone = Backbone("mobilenet_v1")
    assert min(layer_groups(backbone, "G", 64)) == 1.0
    assert max(layer_groups(backbone, "g", 10_000)) == 1024.0


@pytest.mark.parametrize(
    "backbone", [Backbone("mobilenet_v1"), Backbone("resnext50"), Backbone("mobilenet_v1", 0.25)]
)
def test_what_is_possible_can_be_built_and_differs(backbone: Backbone) -> None:
    found = set()
    for rule, number in possible(backbone):
        name = {"group_size" if rule == "G" else "groups": number}
        architecture = make_architecture(backbone.family, width=backbone.width, **name)
        assert np.allclose(architecture.layer_groups, layer_groups(backbone, rule, number))
        found.add(architecture.layer_groups)
    assert len(found) == len(possible(backbone))
