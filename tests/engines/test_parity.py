from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from perframe.engines.convert import convert
from perframe.engines.parity import Reference, check_parity, difference
from perframe.errors import BuildError
from perframe.export.checkpoint import load_checkpoint
from perframe.export.loading import load_network
from perframe.export.reference import reference_activations, run_reference

SHAPE = (3, 64, 64)


def reference_of(module: nn.Module) -> Reference:
    return Reference(
        lambda inputs: run_reference(module, inputs["input"]),
        lambda inputs, modules: reference_activations(module, inputs["input"], modules),
    )


def test_a_good_export_passes_and_says_how_close_it_is(checkpoint: Path, tmp_path: Path) -> None:
    done = convert(checkpoint, tmp_path / "m.onnx", input_shape=SHAPE)
    assert done.parity is not None
    assert [each.batch for each in done.parity.differences] == [1, 3]
    for each in done.parity.differences:
        assert 0 < each.max_rel < 1e-4
        assert each.cosine > 0.999999
        assert each.top1_agreement == 1.0


@pytest.mark.parametrize("layer", ["stem.conv", "blocks.4.grouped.conv", "fc"])
def test_a_wrong_layer_is_named(checkpoint: Path, onnx_file: Path, tmp_path: Path, layer: str) -> None:
    model = onnx.load(str(onnx_file))
    for tensor in model.graph.initializer:
        if tensor.name == f"{layer}.weight":
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.01, tensor.name)
            )
    wrong = tmp_path / "wrong.onnx"
    onnx.save(model, str(wrong))
    module = load_network(load_checkpoint(checkpoint)).module
    with pytest.raises(BuildError, match=f"first layer that diverges: {layer}"):
        check_parity(wrong, reference_of(module))


def test_a_value_that_is_not_finite_is_infinitely_far_off() -> None:
    good = np.ones((2, 3))
    bad = good.copy()
    bad[1, 1] = np.nan
    assert difference(good, bad).max_rel == np.inf
    assert difference(bad, bad).max_rel == np.inf


def test_another_shape_is_no_agreement() -> None:
    assert difference(np.ones((2, 3)), np.ones((2, 4))).top1_agreement == 0.0


def test_the_difference_is_relative_to_the_largest_reference_value() -> None:
    found = difference(np.array([[0.0, 4.0], [1.0, 2.0]]), np.array([[0.4, 4.0], [2.5, 2.0]]))
    assert found.max_abs == pytest.approx(1.5)
    assert found.max_rel == pytest.approx(1.5 / 4.0)
    assert found.top1_agreement == 0.5
