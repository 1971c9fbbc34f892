"""fp16 and bf16 files: what is rounded, what stays fp32, and what the rounding did."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, numpy_helper

from perframe.arrays import Array
from perframe.errors import BuildError, InputError
from perframe.export.narrow import Rounding, narrow, widen
from perframe.export.precision import prepare
from perframe.export.provenance import MODULE_KEY, node_modules
from perframe.export.write_onnx import write_onnx

TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
TORCH = {"fp16": torch.float16, "bf16": torch.bfloat16}
BOTH = pytest.mark.parametrize("precision", ["fp16", "bf16"])


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model('<ir_version: 10, opset_import: ["": 20]>\n' + text)


def narrowed(source: onnx.ModelProto, precision: str) -> tuple[onnx.ModelProto, Rounding]:
    own = prepare(source, "a.onnx")
    rounding = narrow(own, precision, "a.onnx")
    onnx.checker.check_model(own, full_check=True)
    return own, rounding


def run(proto: onnx.ModelProto, **inputs: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    output: Array = session.run(None, inputs)[0]
    return output


def rounded(values: Array, precision: str) -> Array:
    """Torch's own rounding, as fp32: an independent witness."""
    result: Array = torch.from_numpy(values).to(TORCH[precision]).to(torch.float32).numpy()
    return result


def weight(proto: onnx.ModelProto, name: str) -> TensorProto:
    found: TensorProto = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    return found


def values_of(tensor: TensorProto) -> Array:
    return numpy_helper.to_array(tensor).astype(np.float32)


@BOTH
def test_a_network_keeps_names_modules_inputs_and_outputs(
    onnx_file: Path, precision: str, tmp_path: Path
) -> None:
    before = onnx.load(str(onnx_file))
    after, rounding = narrowed(before, precision)
    assert {tensor.data_type for tensor in after.graph.initializer} == {TYPES[precision]}
    assert [tensor.name for tensor in after.graph.initializer] == [t.name for t in before.graph.initializer]
    assert after.graph.input == before.graph.input
    assert after.graph.output == before.graph.output
    assert after.metadata_props == before.metadata_props

    casts = [node for node in after.graph.node if node.op_type == "Cast"]
    others = [node for node in after.graph.node if node.op_type != "Cast"]
    assert [node.name for node in others] == [node.name for node in before.graph.node]
    modules = node_modules(after.graph)
    assert {node.name: modules[node.name] for node in others} == node_modules(before.graph)
    # One behind the input, one before the output, of the first and the last module.
    assert [modules[node.name] for node in casts] == ["stem.conv", "fc"]
    assert all(any(e.key == MODULE_KEY for e in node.metadata_props) for node in after.graph.node)
    assert rounding.values == sum(numpy_helper.to_array(t).size for t in before.graph.initializer)
    assert (rounding.clamped, rounding.kept_fp32) == (0, ())

    write_onnx(after, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").stat().st_size < 0.6 * onnx_file.stat().st_size


@BOTH
@given(arrays(np.float32, 8, elements=st.floats(width=32, allow_nan=False, allow_infinity=True)))
def test_weights_are_rounded_to_the_nearest(precision: str, values: Array) -> None:
    source = model("m (float[8] x) => (float[8] y) <float[8] w = {0,0,0,0,0,0,0,0}> { y = Add(x, w) }")
    weight(source, "w").CopyFrom(numpy_helper.from_array(values, "w"))
    after, rounding = narrowed(source, precision)
    found, expected = values_of(weight(after, "w")), rounded(values, precision)
    largest = torch.finfo(TORCH[precision]).max
    beyond = np.isfinite(values) & (np.abs(values.astype(np.float64)) > largest)
    np.testing.assert_array_equal(found[~beyond], expected[~beyond])
    # What has no number of the type becomes its largest one, and is counted.
    np.testing.assert_array_equal(np.abs(found[beyond]), np.float32(largest))
    assert rounding.clamped == np.count_nonzero(beyond)
    assert rounding.vanished == np.count_nonzero((values != 0) & (expected == 0))


def test_what_is_no_number_stays_none() -> None:
    source = model("m (float[2] x) => (float[2] y) <float[2] w = {0, 0}> { y = Add(x, w) }")
    bits = np.array([0x7FFFFFFF, 0xFF800001], np.uint32)
    weight(source, "w").CopyFrom(numpy_helper.from_array(bits.view(np.float32), "w"))
    for precision in TYPES:
        assert np.isnan(values_of(weight(narrowed(source, precision)[0], "w"))).all()


def test_an_operator_without_the_type_stays_in_fp32() -> None:
    source = model("""
    m (float[2, 3] x) => (float[2, 2] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}>
    { a = Relu(x)  b = Einsum <equation = "ik,jk->ij"> (a, w)  y = Neg(b) }
    """)
    after, rounding = narrowed(source, "bf16")
    assert rounding.kept_fp32 == ("Einsum",)
    assert weight(after, "w").data_type == TensorProto.FLOAT
    # x to bf16, its ReLU back to fp32, the product to bf16, and the output to fp32.
    assert Counter(node.op_type for node in after.graph.node)["Cast"] == 4
    x = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]], np.float32)
    np.testing.assert_array_equal(run(widen(after), x=x), run(source, x=x))
    assert narrowed(source, "fp16")[1].kept_fp32 == ()


def test_sizes_and_scales_stay_what_they_were() -> None:
    # 300 is no bf16 number: a size computed in it would be 300 -> 300 + 1 -> 302.
    source = model("""
    m (float[1, 1, 1, 300] x) => (float[1, 1, 1, n] y) <float one = {1}, float[4] scales = {1, 1, 1, 2}>
    {
      s = Shape(x)  f = Cast <to = 1> (s)  g = Add(f, one)  h = Cast <to = 7> (g)
      i = Constant <value = int64[1] {3}> ()  wide = Gather(h, i)
      zero = Constant <value = int64[1] {0}> ()  pads = Concat <axis = 0> (zero, wide)
      r = Resize(x, , scales)
      flat = Reshape(r, minus)  p = Pad(flat, pads)  y = Reshape(p, four)
    }
    """)
    for name, sizes in (("minus", [-1]), ("four", [1, 1, 1, -1])):
        source.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
    x = np.arange(300, dtype=np.float32).reshape(1, 1, 1, 300)
    for precision in TYPES:
        after, _ = narrowed(source, precision)
        assert weight(after, "scales").data_type == TensorProto.FLOAT
        assert weight(after, "one").data_type == TensorProto.FLOAT
        assert run(widen(after), x=x).shape == (1, 1, 1, 901)


def test_a_weight_read_in_both_types_is_kept_in_both() -> None:
    source = model("""
    m (float[2, 2] x) => (float[2, 2] y) <float[2, 2] w = {1, 2, 3, 4.0001}>
    { a = MatMul(x, w)  b = Einsum <equation = "ik,kj->ij"> (a, w)  y = Relu(b) }
    """)
    after, _ = narrowed(source, "bf16")
    kinds = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
    assert kinds == {"w": TensorProto.FLOAT, "w/bf16": TensorProto.BFLOAT16}


@BOTH
def test_weights_in_constants_and_among_the_inputs_are_weights(precision: str) -> None:
    source = model("""
    m (float[2] x, float[2] v) => (float[2] y) <float[2] v = {3, 4}>
    { c = Constant <value = float[2] {1, 2}> ()  a = Mul(x, c)  y = Add(a, v) }
    """)
    after, _ = narrowed(source, precision)
    assert {t.name: t.data_type for t in after.graph.initializer} == dict.fromkeys("vc", TYPES[precision])
    assert [value.name for value in after.graph.input] == ["x"]


@BOTH
def test_the_wide_form_rounds_every_result(precision: str) -> None:
    source = model("""
    m (float[4, 8] x) => (float[4, 8] y) <float[8, 8] w = {0}, float[8] b = {0}>
    { a = MatMul(x, w)  c = Add(a, b)  y = Relu(c) }
    """)
    random = np.random.default_rng(0)
    w, b = random.standard_normal((8, 8), np.float32), random.standard_normal(8, np.float32)
    weight(source, "w").CopyFrom(numpy_helper.from_array(w, "w"))
    weight(source, "b").CopyFrom(numpy_helper.from_array(b, "b"))
    x = random.standard_normal((4, 8), np.float32)
    expected = rounded(x, precision) @ rounded(w, precision)
    expected = rounded(rounded(expected, precision) + rounded(b, precision), precision)
    found = run(widen(narrowed(source, precision)[0]), x=x)
    np.testing.assert_array_equal(found, np.maximum(expected, 0))


def test_a_model_that_is_not_narrow_is_not_widened(onnx_file: Path) -> None:
    source = onnx.load(str(onnx_file))
    assert widen(source) is source


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m (float16[2] x) => (float16[2] y) <float16[2] w = {1, 2}> { y = Add(x, w) }", "fp16"),
        ("m (double[2] x) => (double[2] y) <double[2] w = {1, 2}> { y = Add(x, w) }", "fp64"),
        (
            "m (float[2] x) => (float[2] y) <float s = {1}, int8 z = {0}>"
            "{ q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }",
            "a quantised one",
        ),
    ],
)
def test_what_is_not_fp32_is_refused(text: str, found: str) -> None:
    with pytest.raises(InputError, match=f"expected an fp32 model, found {found}"):
        prepare(model(text), "a.onnx")


def test_control_flow_is_refused() -> None:
    source = model("""
    m (float[2] x, bool c) => (float[2] y)
    { y = If (c) <then_branch = t () => (float[2] a) { a = Relu(x) },
                  else_branch = e () => (float[2] b) { b = Neg(x) }> }
    """)
    with pytest.raises(BuildError, match=r"graph inside a node \(If\)"):
        prepare(source, "a.onnx")


def test_bf16_needs_an_operator_set_that_knows_it(onnx_file: Path) -> None:
    after, _ = narrowed(onnx.load(str(onnx_file)), "bf16")
    assert [(entry.domain, entry.version) for entry in after.opset_import] == [("", 22)]
    old = model("m (float[2] x) => (float[4] y) { y = Upsample <height_scale = 1.0, width_scale = 2.0> (x) }")
    old.opset_import[0].version = 1
    with pytest.raises(BuildError, match="operator set 22"):
        narrow(prepare(old, "a.onnx"), "bf16", "a.onnx")
