import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from perframe.errors import BuildError, UnavailableError
from perframe.export.architecture import Architecture, layers, make_architecture
from perframe.export.networks import new_network
from perframe.export.provenance import MODULE_KEY, node_modules
from perframe.export.reference import reference_activations, run_reference
from perframe.export.to_onnx import export_onnx

_ARCHITECTURES = [
    make_architecture("mobilenet-v1", group_size=4, width=0.25, classes=7),
    make_architecture("resnext50", groups=8, width=0.25, classes=7),
]
_IDS = ["mobilenet", "resnext"]


class _Block(nn.Module):
    """What other people's networks do: modules used twice, functions, in-place ReLU, attention, no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.shared = nn.Conv2d(4, 4, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.bn(self.conv(x)))
        y = self.shared(self.act(self.shared(y)))
        return nn.functional.relu(x + y * self.gate(y)) * 2 + 1


class _Other(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), _Block(), nn.Sequential(_Block(), nn.Dropout()))
        self.add_module("conv2_1/dw", nn.Conv2d(4, 4, 3, groups=4))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.heads = nn.ModuleList([nn.Linear(4, 5), nn.Linear(4, 2)])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.get_submodule("conv2_1/dw")(self.features(self.norm(x)))
        y = torch.flatten(self.pool(y), 1)
        return self.heads[0](y), self.heads[1](y)


def _other() -> nn.Module:
    torch.manual_seed(0)
    network = _Other()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def _frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _run(path: Path, frames: np.ndarray, *, inner: bool = False) -> dict[str, np.ndarray]:
    """Outputs by name; with `inner` those of every node, by the node's name."""
    model = onnx.load(path)
    named = {value.name: value.name for value in model.graph.output}
    if inner:
        named |= {node.output[0]: node.name for node in model.graph.node}
        given = {value.name for value in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in named if name not in given)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = [value.name for value in session.get_outputs()]
    return dict(zip((named[name] for name in outputs), session.run(outputs, {"input": frames}), strict=True))


@pytest.mark.parametrize("architecture", _ARCHITECTURES, ids=_IDS)
def test_a_network_of_ours_is_exported_layer_by_layer(architecture: Architecture, tmp_path: Path) -> None:
    network = new_network(architecture, seed=0, input_size=(64, 64))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    path = tmp_path / "a.onnx"
    export_onnx(network, (3, 64, 64), path, metadata={"perframe.family": architecture.family})
    model = onnx.load(path)

    assert model.producer_name == "perframe"
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "perframe.family": architecture.family
    }
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    (given,), (logits,) = model.graph.input, model.graph.output
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["batch", 3, 64, 64]
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["batch", 7]
    assert (given.name, logits.name) == ("input", "logits")

    operations = [node.op_type for node in model.graph.node]
    assert not {"BatchNormalization", "Identity", "Constant"} & set(operations)
    table = [layer.name for layer in layers(architecture)]
    weighted = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert weighted == table
    assert {tensor.name for tensor in model.graph.initializer} == {
        f"{name}.{kind}" for name in table for kind in ("weight", "bias")
    }
    for node in model.graph.node:
        assert {entry.key: entry.value for entry in node.metadata_props} == {MODULE_KEY: node.name}
        assert network.get_submodule(node.name) is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())

    # Another batch than the traced one; parity at every node.
    frames = _frames(3, 3, 64, 64)
    found = _run(path, frames, inner=True)
    expected = reference_activations(network, frames, node_modules(model.graph))
    assert expected.keys() == {node.name for node in model.graph.node}
    np.testing.assert_allclose(
        _run(path, frames)["logits"], run_reference(network, frames), rtol=1e-3, atol=1e-4
    )
    for name, activation in expected.items():
        if name != "fc":  # its output is called logits
            np.testing.assert_allclose(found[name], activation, rtol=1e-3, atol=1e-3, err_msg=name)


def test_a_network_of_anyone_keeps_its_sources(tmp_path: Path) -> None:
    network, path = _other(), tmp_path / "a.onnx"
    export_onnx(network, (3, 16, 16), path)
    model = onnx.load(path)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    tensors = [name for node in model.graph.node for name in node.output]
    assert len(set(tensors)) == len(tensors)
    assert [value.name for value in model.graph.output] == ["output_0", "output_1"]
    sources = node_modules(model.graph)
    assert {sources[name] or "" for name in names} <= {name for name, _ in network.named_modules()} | set(
        names
    )
    by_name = {node.name: node.op_type for node in model.graph.node}
    for name, operation in {
        "norm": "BatchNormalization",  # nothing before it to fold it into
        "features.0": "Conv",
        "features.1.conv": "Conv",
        "features.1.shared/Conv": "Conv",
        "features.1.shared/Conv_1": "Conv",
        "features.1.act/Relu_1": "Relu",
        "features.1/Add": "Add",
        "features.1/Add_1": "Add",
        "features.2.0.gate.2": "Sigmoid",
        "conv2_1/dw": "Conv",
        "heads.1": "Gemm",
    }.items():
        assert by_name[name] == operation

    frames = _frames(2, 3, 16, 16)
    found = _run(path, frames, inner=True)
    expected = reference_activations(network, frames, sources)
    assert {"norm", "features.1.conv", "features.2.0.gate.2", "conv2_1/dw", "pool"} <= expected.keys()
    assert not {"features.1.shared/Conv", "features.1.act/Relu", "features.1/Add"} & expected.keys()
    for name in expected.keys() & found.keys():
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_training_flags_stay_as_they_were(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).train()
    network[1].eval()
    export_onnx(network, (3, 4, 4), tmp_path / "a.onnx")
    assert [part.training for part in network] == [True, False, True]
    assert int(network[1].num_batches_tracked) == 0


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    network = new_network(_ARCHITECTURES[0], seed=0, input_size=(32, 32))
    for name in ("a.onnx", "b.onnx"):
        export_onnx(network, (3, 32, 32), tmp_path / name, metadata={"b": "1", "a": "2"})
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_weights_above_the_limit_go_to_a_file_beside_it(tmp_path: Path) -> None:
    network, frames = new_network(_ARCHITECTURES[0], seed=0, input_size=(32, 32)), _frames(1, 3, 32, 32)
    path = tmp_path / "a.onnx"
    export_onnx(network, (3, 32, 32), path, inline_limit_bytes=100_000)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    assert path.stat().st_size < 100_000 < (tmp_path / "a.onnx.data").stat().st_size
    np.testing.assert_allclose(
        _run(path, frames)["logits"], run_reference(network, frames), rtol=1e-3, atol=1e-4
    )


def test_an_unwritable_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        export_onnx(nn.Conv2d(3, 2, 1), (3, 4, 4), tmp_path / "none" / "a.onnx")


class _Returns(nn.Module):
    def __init__(self, result: str) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: torch.Tensor) -> object:
        if self.result == "dictionary":
            return {"logits": x}
        return torch.special.bessel_j0(x)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (nn.Conv2d(4, 2, 1), "does not run on 2 frames of 3x8x8"),
        (_Returns("dictionary"), "returns a dict"),
        (_Returns("bessel"), "bessel_j0"),
    ],
)
def test_a_network_that_cannot_be_exported_is_a_build_error(
    network: nn.Module, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(BuildError, match=told):
        export_onnx(network, (3, 8, 8), path)
    assert list(tmp_path.iterdir()) == []


def test_the_export_needs_no_onnxscript(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['onnxscript'] = None; sys.modules['onnx_ir'] = None\n"
        "from pathlib import Path\n"
        "from perframe.export.architecture import make_architecture\n"
        "from perframe.export.networks import new_network\n"
        "from perframe.export.to_onnx import export_onnx\n"
        "architecture = make_architecture('mobilenet-v1', group_size=8, width=0.25)\n"
        "network = new_network(architecture, seed=0, input_size=(32, 32))\n"
        "export_onnx(network, (3, 32, 32), Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.onnx")], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
