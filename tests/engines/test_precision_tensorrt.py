"""TensorRT takes every precision of both families as it is written. Parsing needs no GPU."""

from pathlib import Path

import numpy as np
import pytest

from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.lower import PrecisionSpec
from perframe.export.precision import PRECISIONS

pytestmark = pytest.mark.tensorrt

SHAPE = (3, 64, 64)


@pytest.fixture(
    scope="module",
    params=[("mobilenet-v1", {"group_size": 8}), ("resnext50", {"groups": 8})],
    ids=["mobilenet", "resnext"],
)
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network in all four precisions."""
    folder = tmp_path_factory.mktemp("models")
    family, form = request.param
    np.save(folder / "i.npy", np.random.default_rng(0).standard_normal((4, *SHAPE), np.float32))
    new_checkpoint(family, folder / "n.pth", width=0.25, classes=10, input_shape=SHAPE, **form)
    fp32 = convert(folder / "n.pth", folder / "fp32.onnx", input_shape=SHAPE, parity=False).model.path
    models = {"fp32": fp32}
    for name in PRECISIONS[1:]:
        spec = PrecisionSpec(name, folder / "i.npy" if name == "int8" else None)
        models[name] = convert(fp32, folder / f"{name}.onnx", precision=spec, parity=False).model.path
    return models


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_parser_takes_it_and_keeps_its_types(models: dict[str, Path], precision: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(models[precision].read_bytes())
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    assert network.get_input(0).dtype == network.get_output(0).dtype == trt.float32

    found = [network.get_layer(index) for index in range(network.num_layers)]
    convolutions = [layer for layer in found if layer.type == trt.LayerType.CONVOLUTION]
    names = {"fp32": trt.float32, "fp16": trt.float16, "bf16": trt.bfloat16, "int8": trt.float32}
    assert {layer.get_output(0).dtype for layer in convolutions} == {names[precision]}
    # Each convolution and the fully connected layer have one pair for weights; pairs for activations are shared.
    quantised = sum(layer.type == trt.LayerType.DEQUANTIZE for layer in found)
    if precision == "int8":
        assert quantised >= len(convolutions) + 1 + 2
    else:
        assert quantised == 0
