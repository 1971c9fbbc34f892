"""Per-layer cost against closed formulas, ONNX Runtime's real shapes, and real exports."""

import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, parser

from perframe.errors import InputError
from perframe.export.cost import LayerCost, ModelCost, layer_costs, totals
from perframe.export.onnx_model import open_onnx

HEADER = '<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1, "custom" : 1]>'


def costs_of(tmp_path: Path, text: str, **weights: Sequence[int]) -> tuple[LayerCost, ...]:
    """Costs of a graph given as ONNX text, with float weights of the given shapes."""
    return costs_of_model(tmp_path, parser.parse_model(f"{HEADER} {text}"), **weights)


def costs_of_model(tmp_path: Path, model: onnx.ModelProto, **weights: Sequence[int]) -> tuple[LayerCost, ...]:
    for name, shape in weights.items():
        values = np.ones(shape, np.float32)
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, shape, values))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return layer_costs(open_onnx(path))


def test_grouped_convolution_follows_the_formula(tmp_path: Path) -> None:
    n, m, k, h, w, g = 24, 16, 3, 14, 14, 4
    text = f"""main (float[N,{m},{h},{w}] x) => (float[N,{n},{h},{w}] y) {{
        y = Conv <group={g}, pads=[1,1,1,1]> (x, W, B)
    }}"""
    (cost,) = costs_of(tmp_path, text, W=(n, m // g, k, k), B=(n,))
    assert cost.macs == n * m * k**2 * h * w // g
    assert cost.params == n * m * k**2 // g
    assert (cost.bias_params, cost.groups, cost.group_size) == (n, g, m // g)
    assert (cost.input_activations, cost.output_activations) == (m * h * w, n * h * w)
    assert cost.activations == (n + m) * h * w
    assert cost.intensity == pytest.approx(cost.macs / (cost.params + cost.activations))
    assert cost.output_shape == (1, n, h, w)


@pytest.mark.parametrize("batch", ["1", "4", "N"])
def test_counts_are_per_frame_whatever_the_batch(tmp_path: Path, batch: str) -> None:
    text = f"main (float[{batch},3,8,8] x) => (float[{batch},4,6,6] y) {{ y = Conv (x, W) }}"
    (cost,) = costs_of(tmp_path, text, W=(4, 3, 3, 3))
    assert (cost.macs, cost.input_activations, cost.output_activations) == (4 * 27 * 36, 192, 144)


def test_transposed_convolution_spreads_its_input(tmp_path: Path) -> None:
    text = """main (float[N,8,5,5] x) => (float[N,6,11,11] y) {
        y = ConvTranspose <group=2, strides=[2,2]> (x, W)
    }"""
    (cost,) = costs_of(tmp_path, text, W=(8, 3, 3, 3))
    assert (cost.macs, cost.params) == (8 * 5 * 5 * 3 * 9, 8 * 3 * 9)
    assert (cost.groups, cost.group_size, cost.output_shape) == (2, 4, (1, 6, 11, 11))


def test_fully_connected_layers_in_every_form(tmp_path: Path) -> None:
    text = """main (float[N,12] x) => (float[N,7] y) {
        a = Gemm <transB=1> (x, W1, B1)
        b = MatMul (a, W2)
        y = Add (b, B2)
    }"""
    gemm, matmul, add = costs_of(tmp_path, text, W1=(9, 12), B1=(9,), W2=(9, 7), B2=(7,))
    assert (gemm.macs, gemm.params, gemm.bias_params) == (108, 108, 9)
    assert (matmul.macs, matmul.params, matmul.bias_params) == (63, 63, 0)
    assert (add.macs, add.params, add.bias_params, add.input_activations) == (0, 0, 7, 7)
    assert gemm.groups is None and gemm.group_size is None


def test_products_of_activations_have_macs_and_no_weights(tmp_path: Path) -> None:
    text = """main (float[N,4,6,8] q, float[N,4,8,5] k) => (float[N,4,6,5] y) {
        s = MatMul (q, k)
        y = Softmax <axis = -1> (s)
    }"""
    matmul, softmax = costs_of(tmp_path, text)
    assert (matmul.macs, matmul.params) == (4 * 6 * 5 * 8, 0)
    assert matmul.input_activations == 4 * 6 * 8 + 4 * 8 * 5
    assert (softmax.macs, softmax.activations) == (0, 2 * 120)


def test_recurrent_layers_count_every_step(tmp_path: Path) -> None:
    text = "main (float[20,1,16] x) => (float[20,1,1,8] y) { y = LSTM <hidden_size=8> (x, W, R, B) }"
    model = parser.parse_model(f"{HEADER} {text}")
    (cost,) = costs_of_model(tmp_path, model, W=(1, 32, 16), R=(1, 32, 8), B=(1, 64))
    # The leading dimension, which is time here, is taken for the frames.
    assert (cost.macs, cost.params, cost.bias_params) == (32 * 24, 32 * 24, 64)


def test_other_layers_have_activations_and_zero_macs(tmp_path: Path) -> None:
    text = """main (float[N,4,8,8] x) => (float[N,4] y) {
        b = BatchNormalization (x, s, t, mean, variance)
        r = Relu (b)
        d = Mul (r, r)
        p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (d)
        g = GlobalAveragePool (p)
        y = Flatten (g)
    }"""
    layers = costs_of(tmp_path, text, s=(4,), t=(4,), mean=(4,), variance=(4,))
    assert [layer.op for layer in layers] == [
        *("BatchNormalization", "Relu", "Mul", "MaxPool", "GlobalAveragePool", "Flatten")
    ]
    assert {(layer.macs, layer.params) for layer in layers} == {(0, 0)}
    assert [layer.bias_params for layer in layers] == [8, 0, 0, 0, 0, 0]
    # Mul reads one tensor, although twice.
    assert [layer.activations for layer in layers] == [512, 512, 512, 320, 68, 8]
    assert all(layer.intensity == 0.0 for layer in layers)


def test_constants_and_shape_arithmetic_are_no_layers(tmp_path: Path) -> None:
    text = """main (float[N,4,3,3] x) => (float[N,2] y) {
        shape = Shape (x)
        zero = Constant <value = int64 {0}> ()
        axes = Constant <value = int64[1] {0}> ()
        batch = Gather (shape, zero)
        batch1 = Unsqueeze (batch, axes)
        rest = Constant <value = int64[1] {-1}> ()
        target = Concat <axis=0> (batch1, rest)
        flat = Reshape (x, target)
        turned = Transpose <perm=[1,0]> (W)
        y = MatMul (flat, turned)
    }"""
    reshape, matmul = costs_of(tmp_path, text, W=(2, 36))
    assert (reshape.op, reshape.input_activations, reshape.output_shape) == ("Reshape", 36, (1, 36))
    assert (matmul.op, matmul.macs, matmul.params) == ("MatMul", 72, 72)


def test_weights_behind_dequantisation_count_as_weights(tmp_path: Path) -> None:
    text = """main (float[N,4,5,5] x) => (float[N,6,5,5] y)
    <float s = {0.1}, int8 z = {0}> {
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        w = DequantizeLinear (W, s, z)
        y = Conv (d, w, B)
    }"""
    model = parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.append(helper.make_tensor("W", TensorProto.INT8, [6, 2, 1, 1], [1] * 12))
    model.graph.node[-1].attribute.append(helper.make_attribute("group", 2))
    quantise, dequantise, conv = costs_of_model(tmp_path, model, B=(6,))
    assert (quantise.params, dequantise.params, quantise.activations) == (0, 0, 200)
    assert (conv.macs, conv.params, conv.bias_params, conv.group_size) == (6 * 2 * 25, 12, 6, 2)
    assert conv.input_activations == 100


def test_integer_operators(tmp_path: Path) -> None:
    text = """main (uint8[N,4,5,5] x, uint8[N,6] a) => (uint8[N,6,3,3] y, int32[N,2] c)
    <float s = {0.1}, uint8 z = {0}> {
        y = QLinearConv (x, s, z, W, s, z, s, z, B)
        c = MatMulInteger (a, V)
    }"""
    model = parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.extend(
        [
            helper.make_tensor("W", TensorProto.UINT8, [6, 4, 3, 3], [1] * 216),
            helper.make_tensor("V", TensorProto.UINT8, [6, 2], [1] * 12),
            helper.make_tensor("B", TensorProto.INT32, [6], [1] * 6),
        ]
    )
    conv, matmul = costs_of_model(tmp_path, model)
    assert (conv.macs, conv.params, conv.bias_params, conv.group_size) == (6 * 9 * 36, 216, 6, 4)
    assert (conv.input_activations, conv.output_activations) == (100, 54)
    assert (matmul.macs, matmul.params, matmul.input_activations) == (12, 12, 6)


def test_unknown_operators_are_none_and_never_zero(tmp_path: Path) -> None:
    text = """main (float[N,4,5,5] x) => (float[N,4,5,5] y) {
        a = custom.Something (x)
        b = Relu (a)
        y = Conv (b, W)
    }"""
    unknown, relu, conv = costs_of(tmp_path, text, W=(4, 4, 1, 1))
    assert (unknown.macs, unknown.params, unknown.bias_params, unknown.intensity) == (None, None, None, None)
    assert (unknown.input_activations, unknown.output_activations, unknown.output_shape) == (100, None, None)
    assert (relu.macs, relu.activations) == (0, None)
    # The graph itself states the shape of its output.
    assert (conv.macs, conv.params, conv.input_activations) == (400, 16, None)
    assert totals((unknown, relu, conv)) == ModelCost(None, None, None, None)


@pytest.mark.parametrize(
    ("equation", "q", "k", "macs"),
    [
        ("bhid, bhjd -> bhij", "N,4,6,8", "N,4,5,8", 4 * 6 * 5 * 8),
        ("bhid,bhjd", "N,4,6,8", "N,4,5,8", 4 * 6 * 5 * 8),
        ("bij,bkl->bik", "N,6,8", "N,5,3", 6 * 8 * 5 * 3),
        ("bii,bij->bj", "N,6,6", "N,6,3", 6 * 3),
        ("...ij,...jk->...ik", "N,6,8", "N,8,5", None),
    ],
)
def test_einsum_of_two_operands_takes_every_index_once(
    tmp_path: Path, equation: str, q: str, k: str, macs: int | None
) -> None:
    text = (
        f'main (float[{q}] q, float[{k}] k) => (float[N,A] y) {{ y = Einsum <equation="{equation}"> (q, k) }}'
    )
    (cost,) = costs_of(tmp_path, text)
    assert (cost.macs, cost.params) == (macs, 0)


def test_einsum_weights_are_parameters(tmp_path: Path) -> None:
    text = 'main (float[N,4] x) => (float[N,2] y) { y = Einsum <equation="bi,io->bo"> (x, W) }'
    (cost,) = costs_of(tmp_path, text, W=(4, 2))
    assert (cost.macs, cost.params, cost.output_activations) == (8, 8, 2)


def test_einsum_of_more_operands_is_not_guessed(tmp_path: Path) -> None:
    text = 'main (float[N,4] x) => (float[N,2] y) { y = Einsum <equation="bi,io,i->bo"> (x, W, V) }'
    (cost,) = costs_of(tmp_path, text, W=(4, 2), V=(4,))
    assert (cost.macs, cost.params) == (None, None)


def test_totals_add_up_layers_that_multiply(tmp_path: Path) -> None:
    text = "main (float[N,3,8,8] x) => (float[N,4,6,6] y) { a = Conv (x, W, B) y = Relu (a) }"
    layers = costs_of(tmp_path, text, W=(4, 3, 3, 3), B=(4,))
    assert totals(layers) == ModelCost(params=108, bias_params=4, macs=3888, activations=192 + 144)


def test_contradicting_shapes_are_bad_input(tmp_path: Path) -> None:
    text = "main (float[N,3,H,W] x) => (float[N,5] y) { a = Flatten (x) y = Gemm (a, V) }"
    model = parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.append(helper.make_tensor("V", TensorProto.FLOAT, [48, 5], [0.0] * 240))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    opened = open_onnx(path)
    assert layer_costs(opened, {"x": (1, 3, 4, 4)})[1].macs == 240
    with pytest.raises(InputError, match="do not fit together for input x 1x3x5x5"):
        layer_costs(opened, {"x": (1, 3, 5, 5)})
    with pytest.raises(InputError, match="--input 3x224x224"):
        layer_costs(opened)


@pytest.mark.parametrize(
    ("node", "weight", "says"),
    [
        (
            "Conv",
            (4, 5, 3, 3),
            "expected 5 input channels, as its weights 4x5x3x3 and groups 1 take, found 6",
        ),
        ("Conv <group=2>", (4, 6, 3, 3), "expected 12 input channels, .* groups 2 take, found 6"),
        ("Conv <group=3>", (4, 2, 3, 3), "expected output channels divisible by its 3 groups, found 4"),
        ("Conv <group=0>", (4, 6, 3, 3), "expected at least 1 group, found 0"),
        ("ConvTranspose", (5, 4, 3, 3), "expected 5 input channels, .* found 6"),
    ],
)
def test_convolution_that_contradicts_its_input_is_bad_input(
    tmp_path: Path, node: str, weight: tuple[int, ...], says: str
) -> None:
    text = f"main (float[N,6,8,8] x) => (float[N,A,B,C] y) {{ y = {node} (x, W) }}"
    model = parser.parse_model(f"{HEADER} {text}")
    model.graph.node[0].name = "stem"
    with pytest.raises(InputError, match=f"model.onnx: {node.split()[0]} 'stem' {says}"):
        costs_of_model(tmp_path, model, W=weight)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.ModelProto, int]:
    """A convolution of random geometry, and its MACs per output position."""
    group = draw(st.integers(1, 4))
    size_in, size_out = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    dilations = [draw(st.integers(1, 2)) for _ in range(2)]
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad.startswith("SAME"):
        dilations = [1, 1]  # ONNX Runtime and the standard differ on dilated SAME padding
    pads = [draw(st.integers(0, 2)) for _ in range(4)] if auto_pad == "NOTSET" else None
    sizes = [draw(st.integers(d * (k - 1) + 1, 12)) for d, k in zip(dilations, kernel, strict=True)]
    strides = [draw(st.integers(1, 3)) for _ in range(2)]
    node = helper.make_node(
        "Conv",
        ["x", "W"],
        ["y"],
        group=group,
        strides=strides,
        dilations=dilations,
        auto_pad=auto_pad,
        pads=pads,
    )
    shape = [size_out * group, size_in, *kernel]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size_in * group, *sizes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", size_out * group, "h", "w"])],
        [helper.make_tensor("W", TensorProto.FLOAT, shape, np.ones(shape, np.float32))],
    )
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets), math.prod(shape)


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_any_convolution_agrees_with_the_runtime(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[onnx.ModelProto, int]
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, macs_per_position = drawn
    (cost,) = costs_of_model(tmp_path_factory.getbasetemp(), model)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sizes = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    (output,) = session.run(None, {"x": np.zeros((1, *sizes), np.float32)})
    assert cost.output_shape == output.shape
    # n*m*k^2*h*w/g, where the weights hold n*m*k^2/g elements.
    assert cost.macs == macs_per_position * output.shape[2] * output.shape[3]
    assert cost.input_activations == math.prod(sizes) and cost.output_activations == output.size


def test_graphs_that_the_runtime_has_optimised_cost_the_same(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    text = """main (float[N,3,16,16] x) => (float[N,5] y) {
        a = Conv <pads=[1,1,1,1]> (x, W0, B0)
        b = Relu (a)
        c = Conv <group=4, pads=[1,1,1,1]> (b, W1)
        d = Relu (c)
        e = GlobalAveragePool (d)
        f = Flatten (e)
        y = Gemm (f, W2)
    }"""
    shapes = {"W0": (64, 3, 3, 3), "B0": (64,), "W1": (64, 16, 3, 3), "W2": (64, 5)}
    expected = totals(costs_of(tmp_path, text, **shapes))
    levels = runtime.GraphOptimizationLevel
    for level in (levels.ORT_ENABLE_EXTENDED, levels.ORT_ENABLE_ALL):
        options = runtime.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = level, 3
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        runtime.InferenceSession(str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"])
        layers = layer_costs(open_onnx(tmp_path / "optimised.onnx"))
        found = totals(layers)
        assert found == expected, [layer.op for layer in layers]


def test_real_export_of_grouped_separable_layers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    layers, expected_macs, expected_params, expected_activations = [], 0, 0, 0
    channels, size, group_size = 8, 16, 4
    for out in (16, 32):
        layers += [nn.Conv2d(channels, channels, 3, 2, 1, groups=channels // group_size, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, out, 1, bias=False)]
        layers += [nn.BatchNorm2d(out), nn.ReLU()]
        area, size = size * size, size // 2
        expected_params += channels * group_size * 9 + channels * out
        expected_macs += (channels * group_size * 9 + channels * out) * size * size
        expected_activations += channels * area + (2 * channels + out) * size * size
        channels = out
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.onnx.export(
            network, (torch.zeros(1, 8, 16, 16),), tmp_path / "m.onnx", dynamo=False, opset_version=20
        )
        logging.disable(logging.NOTSET)
    costs = layer_costs(open_onnx(tmp_path / "m.onnx"))
    found = totals(costs)
    assert found.params == expected_params + channels * 10
    assert found.macs == expected_macs + channels * 10
    assert found.activations == expected_activations + channels + 10
    assert [cost.group_size for cost in costs if cost.groups not in (None, 1)] == [group_size, group_size]
