"""Shapes behind shape arithmetic: in real exports, against ONNX Runtime, and in graphs made to do harm."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from perframe.errors import InputError
from perframe.export.cost import layer_costs, totals
from perframe.export.onnx_model import OnnxModel, open_onnx
from perframe.export.shapes import infer_shapes

HEADER = '<ir_version: 8, opset_import: ["" : 17, "custom" : 1]>'


def opened(tmp_path: Path, model: str | onnx.ModelProto) -> OnnxModel:
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(f"{HEADER} {model}") if isinstance(model, str) else model, path)
    return open_onnx(path)


def traced(tmp_path: Path, network: Any, shape: tuple[int, ...], *, dynamic: bool) -> OnnxModel:
    """An export of the TorchScript exporter, which writes shape arithmetic as nodes."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "traced.onnx"
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network.eval(),
                (torch.zeros(shape),),
                path,
                dynamo=False,
                opset_version=17,
                input_names=["x"],
                dynamic_axes={"x": {0: "N"}} if dynamic else None,
            )
    finally:
        logging.disable(logging.NOTSET)
    return open_onnx(path)


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed batch", "dynamic batch"])
def test_channel_shuffle_hides_no_convolution(tmp_path: Path, dynamic: bool) -> None:
    torch = pytest.importorskip("torch")
    nn, groups, channels, size = torch.nn, 2, 8, 6

    class Shuffle(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.convolutions = nn.ModuleList(
                nn.Conv2d(channels // 2, channels // 2, 1, groups=groups) for _ in range(3)
            )

        def forward(self, x: Any) -> Any:
            for convolution in self.convolutions:
                left, right = x.chunk(2, dim=1)
                x = torch.cat((left, convolution(right)), dim=1)
                n, c, h, w = x.size()
                x = x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
            return x

    costs = layer_costs(traced(tmp_path, Shuffle(), (1, channels, size, size), dynamic=dynamic))
    one = (channels // 2) ** 2 // groups * size**2
    assert [cost.macs for cost in costs if cost.op == "Conv"] == [one] * 3
    assert totals(costs).macs == 3 * one


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed batch", "dynamic batch"])
def test_attention_hides_no_product(tmp_path: Path, dynamic: bool) -> None:
    torch = pytest.importorskip("torch")
    nn, d, heads, patches = torch.nn, 16, 4, 16

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.token = nn.Conv2d(3, d, 4, 4), nn.Parameter(torch.zeros(1, 1, d))
            self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
            for _ in range(2):
                b, n, c = x.shape
                q, k, v = self.qkv(x).reshape(b, n, 3, heads, c // heads).permute(2, 0, 3, 1, 4).unbind(0)
                attended = (q @ k.transpose(-2, -1)).softmax(-1) @ v
                x = self.out(attended.transpose(1, 2).reshape(b, n, c))
            return x

    model = traced(tmp_path, Attention(), (1, 3, 16, 16), dynamic=dynamic)
    n = patches + 1
    expected = patches * 48 * d + 2 * (n * d * 3 * d + 2 * n * n * d + n * d * d)
    assert totals(layer_costs(model)).macs == expected
    if dynamic:
        assert totals(layer_costs(model, {"x": (3, 3, 16, 16)})).macs == expected


def test_shapes_agree_with_the_runtime_through_all_kinds_of_arithmetic(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    text = """main (float[N,6,4,5] x) => (float[A,B] y)
    <int64 zero = {0}, int64 one = {1}, int64[1] axis0 = {0}, int64[1] two = {2}, int64[1] rest = {-1},
     int64[1] four = {4}, int64 three = {3}, float half = {0.5}, int64[3] unknown = {-1, 4, -1},
     int64[3] ones = {1, 1, 1}, float[1] grow = {2.0}> {
        s = Shape (x)
        c = Gather (s, one)
        c_half_float = Cast <to = 1> (c)
        c_half_scaled = Mul (c_half_float, half)
        c_half_floor = Floor (c_half_scaled)
        c_half = Cast <to = 7> (c_half_floor)
        c_half_1 = Unsqueeze (c_half, axis0)
        batch = Slice (s, axis0, rest, axis0, four)
        target = Concat <axis = 0> (batch, c_half_1, two, rest)
        r = Reshape (x, target)
        s2 = Shape <start = 1> (r)
        same = Equal (unknown, ones)
        filled = ConstantOfShape (axis0)
        numbers = Range (zero, three, one)
        steps = Add (numbers, one)
        mixed = Where (same, ones, steps)
        bigger = Max (mixed, s2)
        grown = Div (bigger, two)
        one_of_each, two_of_each, three_of_each = Split <axis = 0> (grown)
        shape3 = Concat <axis = 0> (one_of_each, two_of_each, three_of_each)
        product = ReduceProd <keepdims = 1> (shape3)
        e0 = Squeeze (product, axis0)
        e1 = Unsqueeze (e0, axis0)
        ex_shape = Concat <axis = 0> (e1, c_half_1)
        line = Reshape (x, rest)
        top = Slice (line, axis0, c_half_1)
        y = Expand (top, ex_shape)
    }"""
    model = opened(tmp_path, text)
    found = infer_shapes(model, {"x": (2, 6, 4, 5)})
    proto = onnx.load(model.path)
    named = {value.name for value in proto.graph.output}
    inner = [name for node in proto.graph.node for name in node.output if name not in named]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(None, {"x": np.zeros((2, 6, 4, 5), np.float32)})
    assert {name: found.get(name) for name in ("y", *inner)} == {
        name: value.shape for name, value in zip(("y", *inner), values, strict=True)
    }


def test_arithmetic_behind_a_declared_shape_is_followed(tmp_path: Path) -> None:
    text = """main (float[N,4,6] x) => (float[N,5] y)
    <int64[1] axis0 = {0}, int64[1] one = {1}, int64[1] rest = {-1}, int64[1] two = {2}, float[24,5] w> {
        a = custom.Something (x)
        s = Shape (a)
        batch = Slice (s, axis0, one)
        per_row = Slice (s, one, two)
        rows = Div (per_row, per_row)
        target = Concat <axis = 0> (batch, rows, rest)
        b = Reshape (a, target)
        c = Flatten (b)
        y = MatMul (c, w)
    }"""
    model = parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.append(numpy_helper.from_array(np.ones((24, 5), np.float32), "w"))
    del model.graph.value_info[:]
    assert "b" not in infer_shapes(opened(tmp_path, model), {"x": (1, 4, 6)})
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", 4, 6]))
    shapes = infer_shapes(opened(tmp_path, model), {"x": (3, 4, 6)})
    assert (shapes["b"], shapes["y"]) == ((3, 1, 24), (3, 5))


def test_branches_that_read_computed_shapes_are_inferred(tmp_path: Path) -> None:
    text = """main (float[N,4] x, bool flag) => (float[A,B] y)
    <int64[2] halves = {1, 2}, int64[1] tail = {-1}> {
        s = Shape (x)
        d = Div (s, halves)
        d_and_rest = Concat <axis = 0> (d, tail)
        r = Reshape (x, d_and_rest)
        y = If (flag) <
            then_branch = yes () => (float[A,B,C] t) { t = Relu (r) },
            else_branch = no () => (float[A,B,C] e) { e = Neg (r) }
        >
    }"""
    model = parser.parse_model(f"{HEADER} {text}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert infer_shapes(opened(tmp_path, model), {"x": (3, 4), "flag": ()})["y"] == (3, 2, 2)


def test_contradictions_that_only_arithmetic_shows_are_bad_input(tmp_path: Path) -> None:
    text = """main (float[N,H,W] x) => (float[N,A] y) <int64[1] start = {1}, int64[1] end = {3}, int64 d = {2},
    int64[1] rest = {-1}, float[8] w = {1,1,1,1,1,1,1,1}> {
        s = Shape (x)
        sizes = Slice (s, start, end)
        halves = Div (sizes, d)
        target = Concat <axis = 0> (rest, halves)
        b = Reshape (x, target)
        y = Add (b, w)
    }"""
    model = opened(tmp_path, text)
    assert infer_shapes(model, {"x": (1, 4, 16)})["y"] == (4, 2, 8)
    with pytest.raises(InputError, match="do not fit together for input x 1x4x20"):
        infer_shapes(model, {"x": (1, 4, 20)})


@pytest.mark.parametrize(
    "producer",
    [
        "v = ConstantOfShape (huge)",
        "v = Range (zero, limit, one)",
        "v = Range (lowest, highest, step)",
        "v = Range (zero, limit, zero)",
        "v = Expand (one, huge)",
        "v = Div (huge, zero)",
        "v = Mod (huge, zero)",
        "v = Gather (huge, limit)",
        "v = Reshape (huge, huge)",
        "v = Slice (huge, huge, huge, huge, huge)",
        "v = Pow (huge, huge)",
        "v = Cast <to = 8> (huge)",
        "nan = Sqrt (negative) v = Cast <to = 7> (nan)",
        "v = Concat <axis = 0> (huge, huge, huge)",
    ],
)
def test_hostile_arithmetic_costs_nothing_and_tells_nothing(tmp_path: Path, producer: str) -> None:
    text = f"""main (float[N,4] x) => (float[A] y)
    <int64[2] huge = {{4294967296, 4294967295}}, int64 zero = {{0}}, int64 one = {{1}},
     int64 limit = {{4611686018427387904}}, int64 lowest = {{-9223372036854775808}},
     int64 highest = {{9223372036854775807}}, int64 step = {{8589934592}}, float negative = {{-1.0}}> {{
        {producer}
        w = Cast <to = 7> (v)
        z = Reshape (x, w)
        y = custom.Something (z)
    }}"""
    try:
        shapes = infer_shapes(opened(tmp_path, text), {"x": (1, 4)})
    except InputError:
        return  # inference itself refuses some of these
    assert "y" not in shapes


def test_no_file_is_read_for_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [7.0])
    value.ClearField("float_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="secret.bin")
    filled = helper.make_node("ConstantOfShape", ["two"], ["filled"], value=value)
    (tmp_path / "secret.bin").write_bytes(np.array([2.0], np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    nodes = [
        filled,
        helper.make_node("Cast", ["filled"], ["target"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["A", "B"])],
        [numpy_helper.from_array(np.array([2]), "two")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert "y" not in infer_shapes(open_onnx(path), {"x": (1, 4)})


def test_a_long_chain_of_computed_reshapes_is_followed_to_its_end(tmp_path: Path) -> None:
    nodes, tensor = [], "x"
    for i in range(300):
        nodes += [
            helper.make_node("Shape", [tensor], [f"shape{i}"]),
            helper.make_node("Div", [f"shape{i}", "one"], [f"same{i}"]),
            helper.make_node("Reshape", [tensor, f"same{i}"], [f"x{i}"]),
        ]
        tensor = f"x{i}"
    nodes.append(helper.make_node("MatMul", [tensor, "w"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "A", "B"])],
        [
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.ones((8, 2), np.float32), "w"),
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    assert totals(layer_costs(opened(tmp_path, model))).macs == 64
