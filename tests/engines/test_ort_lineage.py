"""Every step ONNX Runtime executes at its highest optimisation level leads back to the right source nodes."""

from collections import Counter
from pathlib import Path

import onnx
import pytest

from perframe.engines.base import BuildSpec, EngineArtifact
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.ort import OnnxRuntime
from perframe.export.onnx_model import OnnxModel, open_onnx, resolve_input_shapes
from perframe.export.provenance import node_names


def built(model: OnnxModel, folder: Path) -> tuple[EngineArtifact, onnx.GraphProto]:
    artifact = OnnxRuntime().build(model, BuildSpec(resolve_input_shapes(model, 1)), folder / "engine")
    return artifact, open_onnx(artifact.path).graph


def network(folder: Path, family: str, **form: int) -> OnnxModel:
    new_checkpoint(family, folder / "n.pth", width=0.5, classes=10, input_shape=(3, 64, 64), **form)
    return convert(folder / "n.pth", folder / "n.onnx", input_shape=(3, 64, 64), parity=False).model


def check_lineage(model: OnnxModel, folder: Path) -> None:
    artifact, optimised = built(model, folder)
    source = dict(zip(node_names(model.graph), model.graph.node, strict=True))
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    optimised_weights = {tensor.name: tuple(tensor.dims) for tensor in optimised.initializer}

    # Every source node is computed by exactly one step, and no multiplication is lost.
    assert Counter(node for layer in artifact.layers for node in layer.onnx_nodes) == Counter(source.keys())
    assert sum(layer.macs or 0 for layer in artifact.layers) == artifact.model.macs
    assert all(layer.module is not None for layer in artifact.layers)
    # The weights a step holds are those of the source node it is accounted under: an independent witness.
    for layer, node in zip(artifact.layers, optimised.node, strict=True):
        heavy = [name for name in layer.onnx_nodes if source[name].op_type in ("Conv", "Gemm")]
        if node.op_type in ("Conv", "FusedConv", "Gemm", "FusedGemm"):
            assert len(heavy) == 1, layer
            assert optimised_weights[node.input[1]] == weights[source[heavy[0]].input[1]], layer
            assert layer.module == heavy[0], layer
        else:
            assert not heavy, layer


# One form whose convolutions fit the blocked layout, one that needs reorder steps, depthwise, and dense.
@pytest.mark.parametrize(
    ("family", "form"),
    [
        ("mobilenet-v1", {"group_size": 8}),
        ("mobilenet-v1", {"group_size": 1}),
        ("mobilenet-v1", {"groups": 2}),
        ("resnext50", {"group_size": 32}),
        ("resnext50", {"groups": 8}),
    ],
)
def test_steps_lead_back_to_modules(family: str, form: dict[str, int], tmp_path: Path) -> None:
    check_lineage(network(tmp_path, family, **form), tmp_path)


def test_what_the_runtime_added_is_overhead_of_the_module_whose_output_it_moves(tmp_path: Path) -> None:
    artifact, optimised = built(network(tmp_path, "mobilenet-v1", group_size=8), tmp_path)
    assert [layer.overhead for layer in artifact.layers] == [
        node.op_type.startswith("Reorder") for node in optimised.node
    ]
    before = {
        tensor: layer
        for layer, node in zip(artifact.layers, optimised.node, strict=True)
        for tensor in node.output
    }
    moved = [
        (layer.module, before[node.input[0]].module)
        for layer, node in zip(artifact.layers, optimised.node, strict=True)
        if layer.overhead and node.input[0] in before
    ]
    assert moved
    assert all(ours == theirs for ours, theirs in moved)


def test_a_graph_of_foreign_names_keeps_its_lineage(tmp_path: Path) -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20]>
    strange (float[batch, 32, 8, 8] x) => (float[batch, 32, 8, 8] y)
      <float[32, 32, 1, 1] w1 = {%s}, float[32, 32, 1, 1] w2 = {%s}>
    {
      a = Conv(x, w1)
      b = Relu(a)
      c = Conv(b, w2)
      d = Add(c, x)
      e = Relu(d)
      y = Sigmoid(e)
    }
    """
    numbers = ", ".join("0.1" for _ in range(1024))
    path = tmp_path / "foreign.onnx"
    onnx.save(onnx.parser.parse_model(text % (numbers, numbers)), str(path))
    artifact, _ = built(open_onnx(path), tmp_path)
    computed = [layer.onnx_nodes for layer in artifact.layers if not layer.overhead]
    assert computed[0] == ("Conv_0", "Relu_1")
    assert computed[1][0] == "Conv_2"
    assert [node for nodes in computed for node in nodes] == [
        "Conv_0", "Relu_1", "Conv_2", "Add_3", "Relu_4", "Sigmoid_5",
    ]  # fmt: skip
