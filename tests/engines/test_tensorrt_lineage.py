"""Every layer of a TensorRT engine leads back to its nodes and modules, with and without the ONNX file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from perframe.engines.base import EngineLayer
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.tensorrt_cost import batch_of
from perframe.engines.tensorrt_describe import describe_engine
from perframe.engines.tensorrt_inspector import Inspection, parse_inspection, read_inspection
from perframe.engines.tensorrt_lineage import engine_layers, require_same_network, unique_names
from perframe.errors import InputError
from perframe.export.cost import layer_costs
from perframe.export.onnx_model import OnnxModel, open_onnx

MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[2, 4, 8, 8] x) => (float[2, 10] y)
{
  a = Conv<pads = [1, 1, 1, 1]>(x, conv1_weight)
  b = Relu(a)
  c = Conv<pads = [1, 1, 1, 1], group = 8>(b, conv2_weight)
  d = Add(c, b)
  e = Sigmoid(d)
  f = Mul(d, e)
  g = Conv(f, left_weight)
  h = Conv(f, right_weight)
  i = Concat<axis = 1>(g, h)
  j = GlobalAveragePool(i)
  k = Flatten(j)
  y = Gemm<transB = 1>(k, fc_weight)
}
"""
SHAPES = {
    "conv1": (8, 4, 3, 3),
    "conv2": (8, 1, 3, 3),
    "left": (6, 8, 1, 1),
    "right": (2, 8, 1, 1),
    "fc": (10, 8),
}
# MACs per frame of Conv_0, Conv_2, Conv_6, Conv_7, Gemm_11.
MACS = {"Conv_0": 64 * 288, "Conv_2": 64 * 72, "Conv_6": 64 * 48, "Conv_7": 64 * 16, "Gemm_11": 80}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    proto = onnx.parser.parse_model(MODEL)
    for index, node in enumerate(proto.graph.node):
        # One node has no name, as other exporters leave them.
        node.name = "" if node.op_type == "GlobalAveragePool" else f"{node.op_type}_{index}"
        node.input[:] = [name.replace("_weight", ".weight") for name in node.input]
    for name, shape in SHAPES.items():
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(np.full(shape, 0.1, np.float32), f"{name}.weight")
        )
    path = tmp_path_factory.mktemp("lineage") / "net.onnx"
    onnx.save(proto, str(path))
    return open_onnx(path)


def tensor(name: str, shape: Sequence[int]) -> dict[str, Any]:
    return {"Name": name, "Dimensions": list(shape), "Format/Datatype": "Row major linear FP16 format"}


def layer(name: str, kind: str, reads: Sequence[str], writes: Sequence[str], **more: Any) -> dict[str, Any]:
    shapes = dict.fromkeys((*reads, *writes), (2, 8, 8, 8)) | {"x": (2, 4, 8, 8), "y": (2, 10)}
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [tensor(each, shapes[each]) for each in reads],
        "Outputs": [tensor(each, shapes[each]) for each in writes],
        **more,
    }


def inspected(*layers: dict[str, Any]) -> Inspection:
    return parse_inspection(json.dumps({"Layers": layers, "Bindings": ["x", "y"]}), "engine")


def check_everything_counted_once(layers: Sequence[EngineLayer], model: OnnxModel) -> None:
    assert sum(each.macs or 0 for each in layers) == sum(MACS.values())
    nodes = {cost.name for cost in layer_costs(model)}
    assert {node for each in layers for node in each.onnx_nodes} == nodes


def test_fused_names_lead_to_nodes_and_copies_are_overhead(model: OnnxModel) -> None:
    found = engine_layers(
        inspected(
            layer("Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1", "Reformat", ["x"], ["x'"],
                  Origin="REFORMAT"),
            layer("Conv_0 + Relu_1", "CaskConvolution", ["x'"], ["b"]),
            layer("Reformatting CopyNode for Output Tensor 0 to Conv_0 + Relu_1", "NoOp", ["b"], ["b'"]),
            layer("Conv_2 + Add_3", "CaskConvolution", ["b'", "b"], ["d"]),
            layer("PWN(PWN(Sigmoid_4), Mul_5)", "PointWiseV2", ["d"], ["f"]),
            layer("Conv_6 || Conv_7", "CaskConvolution", ["f"], ["g", "h"]),
            layer("g copy", "Reformat", ["g"], ["i"], Origin="CONCAT"),
            layer("h copy", "Reformat", ["h"], ["i"], Origin="CONCAT"),
            layer("node_of_j", "CaskPooling", ["i"], ["j"]),
            layer("fc.weight + Gemm_11", "CaskConvolution", ["j"], ["z"]),
            layer("copied_squeeze_after_Gemm_11", "NoOp", ["z"], ["y"]),
        ),
        model,
        batch=2,
    )  # fmt: skip
    by_name = {each.name: each for each in found}
    assert [each.name for each in found if each.overhead] == [
        "Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1",
        "Reformatting CopyNode for Output Tensor 0 to Conv_0 + Relu_1",
        "g copy",
        "h copy",
        "copied_squeeze_after_Gemm_11",
    ]
    assert [each.module for each in found] == [
        "conv1", "conv1", "conv1", "conv2", "Sigmoid_4", "left", "left", "left", "GlobalAveragePool_9", "fc", "fc",
    ]  # fmt: skip
    assert by_name["Conv_0 + Relu_1"].onnx_nodes == ("Conv_0", "Relu_1")
    assert by_name["Conv_2 + Add_3"].group_size == 1 and by_name["Conv_2 + Add_3"].groups == 8
    assert by_name["Conv_6 || Conv_7"].macs == MACS["Conv_6"] + MACS["Conv_7"]
    assert by_name["PWN(PWN(Sigmoid_4), Mul_5)"].onnx_nodes == ("Sigmoid_4", "Mul_5")
    assert by_name["Conv_0 + Relu_1"].macs == MACS["Conv_0"]
    check_everything_counted_once(found, model)


def test_metadata_goes_before_names_and_a_split_node_is_counted_once(model: OnnxModel) -> None:
    nodes = "[ONNX Layer: %s]"
    found = engine_layers(
        inspected(
            layer("__myl_Move_myl0_0", "kgen", ["x"], ["x'"], Metadata=""),
            layer("__myl_MoveConv_myl0_1", "kgen", ["x'"], ["x''"], Metadata=nodes % "Conv_0"),
            layer("Conv_0_myl0_2", "conv", ["x''"], ["b"], Metadata="\x1f".join([nodes % "Conv_0", nodes % "Relu_1"])),
            layer("whatever", "fusion", ["b"], ["i"], Metadata="\x1e".join(
                nodes % name for name in ("Conv_2", "Add_3", "Sigmoid_4", "Mul_5", "Conv_6", "Conv_7", "Concat_8"))),
            layer("dummy_shape_call__mye622_0_myl9_0", "shape_call", [], []),
            layer("__myl_MeanGemm_myl0_3", "kgen", ["i"], ["y"], Metadata="".join(
                nodes % name for name in ("node_of_j", "Flatten_10", "Gemm_11"))),
        ),
        model,
        batch=2,
    )  # fmt: skip
    assert [each.overhead for each in found] == [True, False, False, False, True, False]
    assert [each.macs for each in found][:3] == [0, 0, MACS["Conv_0"]]
    assert [each.module for each in found] == ["conv1", "conv1", "conv1", "conv2", None, "fc"]
    assert found[1].onnx_nodes == ("Conv_0",)
    check_everything_counted_once(found, model)


def test_layers_whose_names_tell_nothing_are_found_between_their_tensors(model: OnnxModel) -> None:
    found = engine_layers(
        inspected(
            layer("{ForeignNode[Conv_0...Mul_5]}", "Myelin", ["x"], ["f"]),
            layer(
                "Reformatting CopyNode for Input Tensor 0 to m", "Reformat", ["f"], ["f'"], Origin="REFORMAT"
            ),
            layer("merged", "CaskConvolution", ["f'"], ["i"]),
            layer("tail\x1ftoo", "CaskGemm", ["i"], ["y"]),
        ),
        model,
        batch=2,
    )
    assert found[0].onnx_nodes == ("Conv_0", "Relu_1", "Conv_2", "Add_3", "Sigmoid_4", "Mul_5")
    assert found[2].onnx_nodes == ("Conv_6", "Conv_7", "Concat_8")
    assert found[3].onnx_nodes == ("GlobalAveragePool_9", "Flatten_10", "Gemm_11")
    assert [each.overhead for each in found] == [False, True, False, False]
    check_everything_counted_once(found, model)


def test_names_alone_are_enough_with_the_model(model: OnnxModel) -> None:
    names = [
        "Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1", "Conv_0\x1fRelu_1", "Conv_2 + Add_3",
        "PWN(Sigmoid_4, Mul_5)", "Conv_6", "Conv_7", "node_of_j", "Gemm_11",
    ]  # fmt: skip
    found = engine_layers(parse_inspection(json.dumps({"Layers": names}), "engine"), model, batch=2)
    assert [each.module for each in found] == [
        "conv1", "conv1", "conv2", "Sigmoid_4", "left", "right", "GlobalAveragePool_9", "fc",
    ]  # fmt: skip
    assert found[0].overhead
    check_everything_counted_once(found, model)


def test_a_layer_of_no_node_of_the_model_has_no_figures(model: OnnxModel) -> None:
    found = engine_layers(
        inspected(
            layer("Conv_0 + Relu_1", "CaskConvolution", ["x"], ["b"]), layer("odd", "PluginV3", ["p"], ["q"])
        ),
        model,
        batch=2,
    )
    assert (found[1].macs, found[1].module, found[1].overhead) == (None, None, False)


def test_another_model_is_refused(model: OnnxModel) -> None:
    with pytest.raises(InputError, match="none of its 12 nodes"):
        engine_layers(inspected(layer("/features/conv", "CaskConvolution", ["p"], ["q"])), model, batch=2)


def test_a_model_of_another_grouping_is_refused(model: OnnxModel) -> None:
    convolution = {"Kernel": [3, 3], "Groups": 4, "OutMaps": 8, "Weights": {"Type": "Half", "Count": 144}}
    found = inspected(
        layer("Conv_0 + Relu_1", "CaskConvolution", ["x"], ["b"]),
        layer("Conv_2 + Add_3", "CaskConvolution", ["b", "b"], ["d"], **convolution),
        layer("PWN(Sigmoid_4, Mul_5)", "PointWiseV2", ["d"], ["f"]),
        layer("Conv_6 || Conv_7", "CaskConvolution", ["f"], ["i"]),
    )
    layers = engine_layers(found, model, batch=2)
    with pytest.raises(InputError, match="4608 MACs per frame by the model, and 9216"):
        require_same_network(found, layers, layer_costs(model), batch=2, path=model.path)
    same = [replace(each, macs=9216) if "Conv_2" in each.name else each for each in layers]
    require_same_network(found, same, layer_costs(model), batch=2, path=model.path)


def test_without_the_model_names_tell_modules() -> None:
    found = engine_layers(
        inspected(
            layer(
                "/layer1/layer1.0/conv1/Conv + /layer1/layer1.0/relu/Relu", "CaskConvolution", ["x"], ["b"]
            ),
            layer(
                "features.0.0.weight + QuantizeLinear_8 + Conv_12 + PWN(Clip_16)",
                "CaskConvolution",
                ["b"],
                ["c"],
            ),
            layer("blocks.0.grouped.conv + blocks.0.grouped.act", "CaskConvolution", ["c"], ["d"]),
            layer("Reformatting CopyNode for Input Tensor 0 to pool", "Reformat", ["d"], ["d'"]),
            layer("pool", "CaskPooling", ["d'"], ["e"]),
            layer("QuantizeLinear_15", "Reformat", ["e"], ["f"], Origin="QDQ"),
            layer("(Unnamed Layer* 5) [Shuffle]", "Shuffle", ["f"], ["y"]),
        ),
        batch=2,
    )
    assert [each.module for each in found] == [
        "layer1.0.conv1", "features.0.0", "blocks.0.grouped.conv", "blocks.0.grouped.conv", "pool",
        "QuantizeLinear_15", "QuantizeLinear_15",
    ]  # fmt: skip
    assert [each.overhead for each in found] == [False, False, False, True, False, False, True]
    assert found[1].onnx_nodes == ("QuantizeLinear_8", "Conv_12", "Clip_16")


def test_names_are_made_unique() -> None:
    names = ["a", "b", "a", "a (2)", "a"]
    assert unique_names(names) == ["a", "b", "a (2)", "a (2) (2)", "a (3)"]


def dumped(model: OnnxModel, batch: int) -> Inspection:
    """An engine of a perframe export as TensorRT would show it: a convolution with its activation per layer."""
    costs = {cost.name: cost for cost in layer_costs(model)}
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    readers = {name: node for node in model.graph.node for name in node.input}
    layers = []
    for node in model.graph.node:
        weight = next((weights[name] for name in node.input[1:2] if name in weights), None)
        if weight is None:
            continue
        cost, after = costs[node.name], readers.get(node.output[0])
        fused = after is not None and after.op_type in ("Relu", "Clip")
        stride = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1, 1])
        pads = next((list(a.ints) for a in node.attribute if a.name == "pads"), [0, 0, 0, 0])
        channels = (cost.groups or 1) * weight[1]
        side = round(((cost.input_activations or 0) / channels) ** 0.5)
        written = cost.output_shape
        assert written is not None
        positions = (1,) * (4 - len(written))
        layers.append(
            {
                "Name": f"{node.name} + {after.name}" if fused and after is not None else node.name,
                "LayerType": "CaskConvolution",
                "ParameterType": "Convolution",
                "Inputs": [tensor(node.input[0], (batch, channels, side, side))],
                "Outputs": [tensor(node.output[0], (batch, *written[1:], *positions))],
                "Kernel": list(weight[2:]) or [1, 1],
                "PaddingMode": "kEXPLICIT_ROUND_DOWN",
                "PrePadding": pads[:2],
                "PostPadding": pads[2:],
                "Stride": stride,
                "Dilation": [1, 1],
                "OutMaps": weight[0],
                "Groups": cost.groups or 1,
                "Weights": {"Type": "Half", "Count": cost.params},
            }
        )
    raw = {"Layers": layers, "Bindings": [model.inputs[0].name, model.outputs[0].name]}
    return parse_inspection(json.dumps(raw), "engine")


@pytest.mark.parametrize(
    ("family", "form", "name"),
    [
        ("mobilenet-v1", {"group_size": 8}, "mobilenet_v1-E2GC-G8-w0.5"),
        ("resnext50", {"groups": 8}, "resnext50-FgGC-g8-w0.5"),
    ],
)
def test_a_network_is_recognised_and_counted_from_its_engine_alone(
    family: str, form: dict[str, int], name: str, tmp_path: Path
) -> None:
    new_checkpoint(family, tmp_path / "n.pth", width=0.5, classes=10, input_shape=(3, 64, 64), **form)
    model = convert(tmp_path / "n.pth", tmp_path / "n.onnx", input_shape=(3, 64, 64), parity=False).model
    found = dumped(model, 4)
    alone = engine_layers(found, batch=4)
    shapes = {model.inputs[0].name: (4, 3, 64, 64)}
    with_model = engine_layers(found, model, batch=4, input_shapes=shapes)
    for one, other in zip(alone, with_model, strict=True):
        assert (one.module, one.macs, one.params) == (other.module, other.macs, other.params)
        assert one.group_size == other.group_size or other.group_size is None
    described = describe_engine(found, alone, 4, "n", "n.json")
    assert described.name == name
    assert (described.precision, described.input_shape, described.sha256) == ("fp16", (3, 64, 64), None)
    assert described.macs == sum(cost.macs or 0 for cost in layer_costs(model, shapes))


# Networks of torchvision: ResNet-18, MobileNetV2, conv and fully connected, at 224 x 224.
@pytest.mark.parametrize(
    ("name", "batch", "count", "macs", "params"),
    [
        ("a100_resnet_fp16", 32, 36, 1_814_073_344, 11_678_912),
        ("a100_resnet_int8", 32, 37, 1_814_073_344, 11_678_912),
        ("mobilenet_v2_int8", 1, 73, 300_774_272, 3_469_760),
    ],
)
def test_a_recorded_engine_is_counted_to_the_last_multiplication(
    data_folder: Path, name: str, batch: int, count: int, macs: int, params: int
) -> None:
    found = read_inspection(data_folder / f"tensorrt_dumps/{name}.graph.json")
    assert batch_of(found, name, None) == batch
    assert found.inputs[0].shape == (batch, 3, 224, 224)
    layers = engine_layers(found, batch=batch)
    assert len(layers) == count
    assert sum(each.macs or 0 for each in layers) == macs
    assert sum(each.params or 0 for each in layers) == params
    assert all(each.macs is not None and each.module is not None for each in layers)
    kinds = Counter(
        each.overhead for each, seen in zip(layers, found.layers, strict=True) if seen.origin == "REFORMAT"
    )
    assert set(kinds) == {True}
    described = describe_engine(found, layers, batch, name, name)
    assert described.macs == macs and described.params == params
