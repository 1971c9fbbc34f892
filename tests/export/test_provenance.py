"""Nodes back to modules: by this program's metadata, and in real exports of PyTorch's two exporters."""

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from perframe.export.provenance import MODULE_KEY, node_modules, node_names


def exported(path: Path, *, dynamo: bool) -> onnx.GraphProto:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    network: Any = nn.Sequential()
    grouped = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    network.add_module("stem", nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()))
    network.add_module("block", nn.Sequential(grouped, nn.Flatten()))
    network.add_module("fc", nn.Linear(8, 5))
    # Statistics as after training: equal ones make the TorchScript exporter share them.
    network(torch.randn(4, 3, 12, 12))
    return exported_network(network, path, dynamo=dynamo)


def exported_network(network: Any, path: Path, *, dynamo: bool) -> onnx.GraphProto:
    torch = pytest.importorskip("torch")
    network.eval()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network, (torch.randn(2, 3, 12, 12),), path, dynamo=dynamo, opset_version=20, verbose=False
            )
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(path).graph


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_real_exports_lead_back_to_modules(tmp_path: Path, dynamo: bool) -> None:
    graph = exported(tmp_path / "model.onnx", dynamo=dynamo)
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    modules = node_modules(graph)
    of = {
        (node.op_type, modules[key])
        for key, node in zip(node_names(graph), graph.node, strict=True)
        if node.op_type != "Constant"
    }
    pool = "ReduceMean" if dynamo else "GlobalAveragePool"
    flatten = "Reshape" if dynamo else "Flatten"
    assert of == {
        ("Conv", "stem.0"),
        ("Relu", "stem.2"),
        ("Conv", "block.0.0"),
        ("Relu", "block.0.2"),
        (pool, "block.0.3"),
        (flatten, "block.1"),
        ("Gemm", "fc"),
    }


@pytest.mark.parametrize("module", ["features.3", ""], ids=["a module", "the network itself"])
def test_own_metadata_goes_before_everything(module: str) -> None:
    graph = onnx.GraphProto(node=[helper.make_node("Relu", ["x"], ["y"], name="/a/b/Relu")])
    graph.node[0].metadata_props.add(key=MODULE_KEY, value=module)
    assert node_modules(graph) == {"/a/b/Relu": module}


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/features/features.1/features.1.0/Conv", "features.1.0"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/layer1/layer1.0/downsample/downsample.0/Conv_1", "layer1.0.downsample.0"),
        ("/fc/Gemm", "fc"),
        ("/Flatten", ""),
        ("tower/conv1/Conv2D", "tower/conv1/Conv2D"),
    ],
)
def test_paths_in_node_names(name: str, module: str) -> None:
    graph = onnx.GraphProto(node=[helper.make_node("Relu", ["x"], ["y"], name=name)])
    assert node_modules(graph) == {name: module}


def test_weight_goes_before_the_scope_of_a_folded_batch_norm() -> None:
    graph = onnx.GraphProto(
        node=[helper.make_node("Conv", ["x", "f.0.weight", "f.0.weight_bias"], ["y"], name="node_Conv_3")],
        initializer=[helper.make_tensor(name, 1, [1], [0.0]) for name in ("f.0.weight", "f.0.weight_bias")],
    )
    graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'f', 'f.1', 'norm']")
    assert node_modules(graph) == {"node_Conv_3": "f.0"}


def test_weights_are_found_behind_dequantisation() -> None:
    names = ("f.0.weight_quantized", "f.0.weight_scale", "f.0.bias")
    graph = onnx.GraphProto(
        node=[
            helper.make_node("DequantizeLinear", list(names[:2]), ["w"], name="dequantise"),
            helper.make_node("Conv", ["x", "w", "f.0.bias"], ["y"], name="conv"),
        ],
        initializer=[helper.make_tensor(name, 1, [1], [0.0]) for name in names],
    )
    assert node_modules(graph)["conv"] == "f.0"


@pytest.mark.parametrize("scopes", ["[", "7", "['']", "[1, 2]", "__import__('os')", "(" * 9999, "{}"])
def test_scopes_that_name_no_module_leave_the_node_its_own_key(scopes: str) -> None:
    graph = onnx.GraphProto(node=[helper.make_node("Relu", ["x"], ["y"], name="relu")])
    graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert node_modules(graph) == {"relu": "relu"}


@pytest.mark.parametrize(
    ("scopes", "module"),
    [("['', 'relu']", ""), ("['', 'f', 'f.2', 'relu']", "f.2")],
    ids=["network", "module"],
)
def test_scopes_name_the_module_around_the_operation(scopes: str, module: str) -> None:
    graph = onnx.GraphProto(node=[helper.make_node("Relu", ["x"], ["y"], name="node_relu_1")])
    graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert node_modules(graph) == {"node_relu_1": module}


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_operations_outside_all_modules_belong_to_the_network(tmp_path: Path, dynamo: bool) -> None:
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 4, 1)

        def forward(self, x: Any) -> Any:
            return torch.sigmoid(self.convolution(x))

    graph = exported_network(Network(), tmp_path / "model.onnx", dynamo=dynamo)
    modules = node_modules(graph)
    assert [modules[key] for key in node_names(graph)] == ["convolution", ""]


def test_many_nodes_of_one_name_each_get_the_next_number() -> None:
    # Ten thousand: slow enough to notice if each of them counted from 1 again.
    nodes = [helper.make_node("Relu", ["x"], [f"y{i}"], name="a") for i in range(10_000)]
    keys = node_names(onnx.GraphProto(node=[*nodes, helper.make_node("Relu", ["x"], ["z"], name="a_7")]))
    taken_by_another = 7
    numbers = [i for i in range(1, 10_001) if i != taken_by_another]
    assert keys == ["a", *(f"a_{number}" for number in numbers), "a_7"]


def test_every_node_has_a_key_of_its_own() -> None:
    given = ["", "a", "a", "a_1", "", "Relu_0", "a"]
    graph = onnx.GraphProto(
        node=[helper.make_node("Relu", ["x"], [f"y{i}"], name=n) for i, n in enumerate(given)]
    )
    keys = node_names(graph)
    assert len(set(keys)) == len(given)
    assert keys[1] == "a" and keys[3] == "a_1" and keys[5] == "Relu_0" and keys[4] == "Relu_4"
