"""int8 files: which layers, which scales, and that both are the same for every group size."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from perframe.arrays import Array
from perframe.errors import BuildError
from perframe.export.precision import prepare
from perframe.export.provenance import node_modules
from perframe.export.quantise import (
    QUANTISED_KEY,
    activations_to_quantise,
    quantise,
    quantised_layers,
    unquantised_layers,
)

NETWORK = """
m (float[N, 4, 6, 6] x) => (float[N, 3] logits)
  <float[8, 2, 3, 3] w1 = {0}, float[8] b1 = {0}, float[3, 8] w2 = {0}, float[3] b2 = {0}>
{
  a = Conv <group = 2> (x, w1, b1)
  r = Relu(a)
  p = GlobalAveragePool(r)
  f = Flatten(p)
  logits = Gemm <transB = 1> (f, w2, b2)
}
"""


def model(text: str, opset: int = 20, **weights: Array) -> onnx.ModelProto:
    """A graph; weights that are given replace those of the text, the others are random."""
    parsed = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]>\n{text}')
    random = np.random.default_rng(0)
    for tensor in parsed.graph.initializer:
        values = weights.get(tensor.name)
        if values is None:
            values = random.standard_normal(tuple(tensor.dims), np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return parsed


def quantised(source: onnx.ModelProto, **ranges: float) -> onnx.ModelProto:
    own = prepare(source, "a.onnx")
    quantise(own, {name: ranges.get(name, 4.0) for name in activations_to_quantise(own.graph)}, "a.onnx")
    onnx.checker.check_model(own, full_check=True)
    return own


def values_of(proto: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def run(proto: onnx.ModelProto, x: Array) -> Array:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    output: Array = session.run(None, {"x": x})[0]
    return output


def test_weights_have_a_symmetric_scale_per_channel() -> None:
    source = model(NETWORK)
    before, after = values_of(source), values_of(quantised(source))
    for name, channels in (("w1", 8), ("w2", 3)):
        steps, scale, zero = (after[f"{name}/{part}"] for part in ("int8", "scale", "zero"))
        assert steps.dtype == np.int8
        assert (scale.shape, steps.shape) == ((channels,), before[name].shape)
        assert not zero.any()
        wide = scale.reshape(-1, *[1] * (steps.ndim - 1))
        # Half a step at most, and every channel uses its whole range.
        assert (np.abs(steps * wide - before[name]) <= wide * 0.5001).all()
        assert (np.abs(steps).reshape(channels, -1).max(axis=1) == 127).all()
    # Biases stay as they were; fp32 weights are gone.
    assert after["b1"].dtype == np.float32
    assert not {"w1", "w2"} & after.keys()


def test_activations_are_quantised_where_weighted_layers_read_them() -> None:
    source = model(NETWORK)
    assert activations_to_quantise(source.graph) == ("x", "f")
    after = quantised(source, x=2.54, f=6.0)
    assert [node.op_type for node in after.graph.node] == [
        "QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv", "Relu", "GlobalAveragePool", "Flatten",
        "QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Gemm",
    ]  # fmt: skip
    assert values_of(after)["x/scale"] == np.float32(0.02)
    x = np.random.default_rng(1).uniform(-2.5, 2.5, (3, 4, 6, 6)).astype(np.float32)
    exact, found = run(source, x), run(after, x)
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_names_modules_and_other_metadata_survive() -> None:
    source = model(NETWORK)
    source.metadata_props.add(key="perframe.architecture", value="mine")
    source.graph.node[0].name = "stem.conv"
    before, after = node_modules(source.graph), quantised(source)
    modules = node_modules(after.graph)
    assert before.items() <= modules.items()
    by_name = {node.name: node for node in after.graph.node}
    # A pair belongs to the module whose result it rounds, that of the input to the one that reads it.
    assert modules["x/QuantizeLinear"] == modules["w1/DequantizeLinear"] == "stem.conv"
    assert modules["f/QuantizeLinear"] == before["Flatten_3"]
    assert len(by_name) == len(after.graph.node)
    metadata = {entry.key: entry.value for entry in after.metadata_props}
    assert metadata["perframe.architecture"] == "mine"
    assert json.loads(metadata[QUANTISED_KEY]) == ["stem.conv", "Gemm_4"]


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_the_set_of_layers_does_not_depend_on_the_group_size(group: int) -> None:
    text = f"""
    m (float[N, 8, 6, 6] x) => (float[N, 8, 4, 4] y)
      <float[8, {8 // group}, 3, 3] w1 = {{0}}, float[8, 8, 1, 1] w2 = {{0}}>
    {{ a = Conv <group = {group}> (x, w1)  b = Relu(a)  y = Conv(b, w2) }}
    """
    after = quantised(model(text))
    assert quantised_layers(after.graph) == ("Conv_0", "Conv_2")
    assert unquantised_layers(after.graph) == ()


def test_every_reader_of_a_tensor_reads_the_quantised_one() -> None:
    text = """
    m (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y, float[N, 4, 6, 6] r)
      <float[4, 4, 1, 1] w = {0}, float[4, 4, 1, 1] v = {0}>
    { r = Conv(x, v)  c = Conv(r, w)  y = Add(c, r) }
    """
    nodes = {node.name: list(node.input) for node in quantised(model(text)).graph.node}
    # A shortcut is then kept once, in int8.
    assert nodes["Conv_1"] == ["r/fp32", "w/fp32"]
    assert nodes["Add_2"] == ["c", "r/fp32"]


def test_what_cannot_be_quantised_is_listed() -> None:
    text = """
    m (float[2, 4] x, float[2, 4, 3, 3] z) => (float[2, 2] y, float[2, 4, 3, 3] t)
      <float[4, 3] w = {0}, float[4, 4, 1, 1] v = {0}>
    { a = MatMul(x, w)  b = Transpose <perm = [1, 0]> (a)  y = MatMul(a, b)  t = ConvTranspose(z, v) }
    """
    after = quantised(model(text))
    assert quantised_layers(after.graph) == ("MatMul_0",)
    assert unquantised_layers(after.graph) == ("MatMul_2", "ConvTranspose_3")
    # Output channels of a matrix that is not transposed are its columns.
    assert values_of(after)["w/columns/scale"].shape == (3,)
    assert "v" in values_of(after)


def test_a_shared_weight_is_quantised_once() -> None:
    text = """
    m (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) <float[4, 4, 1, 1] w = {0}>
    { a = Conv(x, w)  y = Conv(a, w) }
    """
    after = quantised(model(text))
    assert [node.op_type for node in after.graph.node].count("DequantizeLinear") == 3
    assert quantised_layers(after.graph) == ("Conv_0", "Conv_1")


def test_a_channel_of_zeros_stays_zero() -> None:
    w1 = np.zeros((8, 2, 3, 3), np.float32)
    w1[0] = 1.0
    found = values_of(quantised(model(NETWORK, w1=w1)))
    assert np.isfinite(found["w1/scale"]).all() and (found["w1/scale"] > 0).all()
    assert not found["w1/int8"][1:].any()


def test_layers_someone_else_quantised_are_recognised() -> None:
    text = """
    m (float[2, 4] x) => (float[2, 2] y)
      <float s = {0}, int8 z = {0}, int8[4, 3] w = {0}, float[3, 2] v = {0}>
    {
      q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  e = DequantizeLinear(w, s, z)
      a = MatMul(d, e)  y = MatMul(a, v)
    }
    """
    parsed = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]>\n{text}')
    assert quantised_layers(parsed.graph) == ("MatMul_3",)
    assert unquantised_layers(parsed.graph) == ("MatMul_4",)


def test_refusals_name_the_cause() -> None:
    with pytest.raises(BuildError, match="found none"):
        quantised(model("m (float[2] x) => (float[2] y) { y = Relu(x) }"))
    with pytest.raises(BuildError, match="operator set 13 or newer, found 12"):
        quantised(model(NETWORK, opset=12))
    w1 = np.full((8, 2, 3, 3), np.inf, np.float32)
    with pytest.raises(BuildError, match="weights of 'Conv_0' are not all finite"):
        quantised(model(NETWORK, w1=w1))


def test_the_file_holds_int8() -> None:
    kinds = {tensor.name: tensor.data_type for tensor in quantised(model(NETWORK)).graph.initializer}
    assert kinds["w1/int8"] == kinds["x/zero"] == TensorProto.INT8
