"""Each way to name the tensors of a network, from a real file to equal outputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from perframe.export.architecture import Architecture, make_architecture
from perframe.export.checkpoint import load_checkpoint
from perframe.export.loading import load_network
from perframe.export.networks import new_network

State = dict[str, torch.Tensor]
Scheme = Callable[[str, str], str]

_CLASSES = 12


def _state(architecture: Architecture) -> tuple[torch.nn.Module, State]:
    """A network whose every tensor is unlike every other, and its state without counters."""
    network = new_network(architecture, seed=3, input_size=(32, 32))
    generator = torch.Generator().manual_seed(4)
    for name, tensor in network.state_dict().items():
        if ".bn." in name and tensor.ndim:
            tensor.add_(torch.rand(tensor.shape, generator=generator))
    network.get_parameter("fc.bias").data.normal_(generator=generator)
    return network, {name: tensor for name, tensor in network.state_dict().items() if tensor.ndim}


def _rename(state: State, scheme: Scheme) -> State:
    renamed = {}
    for name, tensor in state.items():
        path, role = name.rsplit(".", 1)
        renamed[scheme(path, role)] = tensor
    return renamed


def _torchvision(path: str, role: str) -> str:
    if path == "fc" or path.startswith("stem"):
        return {"stem.conv": "conv1", "stem.bn": "bn1"}.get(path, path) + f".{role}"
    _, stage, block, part, kind = path.split(".")
    parts = {"reduce": 1, "grouped": 2, "expand": 3}
    layer = f"downsample.{0 if kind == 'conv' else 1}" if part == "shortcut" else f"{kind}{parts[part]}"
    return f"layer{int(stage) + 1}.{block}.{layer}.{role}"


def _model_numbers(path: str, role: str) -> str:
    """The common MobileNet-V1 in torch: `model.3.4.running_var`, `fc.weight`."""
    if path == "fc":
        return f"fc.{role}"
    *block, kind = path.split(".")
    if block == ["stem"]:
        return f"model.0.{0 if kind == 'conv' else 1}.{role}"
    index = {"grouped": 0, "pointwise": 3}[block[2]] + (kind == "bn")
    return f"model.{int(block[1]) + 1}.{index}.{role}"


def _tensorflow(path: str, role: str) -> str:
    words = {
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
        "weight": "gamma",
        "bias": "beta",
    }
    layer = path.replace(".", "_")
    return f"{layer}/{words[role]}" if path.endswith("bn") else f"{layer}/{role}"


def _caffe_mobilenet(path: str, role: str) -> str:
    if path == "fc":
        return f"fc7.{role}"
    *block, kind = path.split(".")
    if block == ["stem"]:
        layer = "conv1"
    else:
        number = ["2_1", "2_2", "3_1", "3_2", "4_1", "4_2", *(f"5_{i}" for i in range(1, 7)), "6"][
            int(block[1])
        ]
        layer = f"conv{number}/{ {'grouped': 'dw', 'pointwise': 'sep'}[block[2]] }"
    if kind == "conv":
        return f"{layer}.{role}"
    return f"{layer}/bn.{role}" if role.startswith("running") else f"{layer}/scale.{role}"


def _caffe_resnext(shortcut: str) -> Scheme:
    def scheme(path: str, role: str) -> str:
        if path == "fc":
            return f"classifier.{role}"
        if path.startswith("stem"):
            layer = "conv1"
        else:
            _, stage, block, part, _ = path.split(".")
            number = [0, 3, 7, 13][int(stage)] + int(block) + 1
            words = {"reduce": "conv1", "grouped": "conv2", "expand": "conv3", "shortcut": shortcut}
            layer = f"resx{number}_{words[part]}"
        if path.endswith("conv"):
            return f"{layer}.{role}"
        return f"{layer}_bn.{role}" if role.startswith("running") else f"{layer}_scale.{role}"

    return scheme


def _shortcut_first(state: State) -> State:
    """The block's shortcut defined before its other layers."""
    blocks: dict[str, list[str]] = {}
    for name in state:
        key = ".".join(name.split(".")[:3]) if name.startswith("stages") else name.split(".")[0]
        blocks.setdefault(key, []).append(name)
    return {
        name: state[name]
        for names in blocks.values()
        for name in sorted(names, key=lambda n: "shortcut" not in n)
    }


def _statistics_before_scale(state: State) -> State:
    """The order of Caffe: mean and variance in one layer, then scale and bias in the next."""
    layers: dict[str, list[str]] = {}
    for name in state:
        layers.setdefault(name.rsplit(".", 1)[0], []).append(name)
    return {
        name: state[name]
        for names in layers.values()
        for name in sorted(names, key=lambda n: "running" not in n)
    }


def _convolutions_first(state: State) -> State:
    """Every convolution defined before the first BatchNorm."""
    return {name: state[name] for name in sorted(state, key=lambda n: state[n].ndim == 1 and n != "fc.bias")}


def _stripped(state: State) -> State:
    return {f"t{index}": tensor for index, tensor in enumerate(state.values())}


def _pointwise_classifier(state: State) -> State:
    return {name: tensor[..., None, None] if tensor.ndim == 2 else tensor for name, tensor in state.items()}


def _same(state: State) -> State:
    return state


_MOBILENET = {
    "ours": _same,
    "model numbers": lambda state: _rename(state, _model_numbers),
    "tensorflow": lambda state: _rename(state, _tensorflow),
    "caffe": lambda state: _pointwise_classifier(_rename(_statistics_before_scale(state), _caffe_mobilenet)),
    "stripped": _stripped,
    "stripped, 1x1 classifier": lambda state: _stripped(_pointwise_classifier(state)),
}
_RESNEXT = {
    "ours": _same,
    "torchvision": lambda state: _rename(state, _torchvision),
    "caffe, match last": lambda state: _rename(_statistics_before_scale(state), _caffe_resnext("match_conv")),
    "caffe, match first": lambda state: _rename(_shortcut_first(state), _caffe_resnext("match_conv")),
    "caffe, proj first": lambda state: _rename(_shortcut_first(state), _caffe_resnext("proj")),
    "stripped": _stripped,
    "stripped, shortcut first": lambda state: _stripped(_shortcut_first(state)),
}
_CASES = [
    *[pytest.param("mobilenet-v1", rename, id=f"mobilenet {name}") for name, rename in _MOBILENET.items()],
    *[pytest.param("resnext50", rename, id=f"resnext {name}") for name, rename in _RESNEXT.items()],
]


@pytest.mark.parametrize(("family", "rename"), _CASES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_rebuilt_network_computes_what_the_original_did(
    family: str, rename: Callable[[State], State], suffix: str, tmp_path: Path
) -> None:
    architecture = make_architecture(family, group_size=4, width=0.25, classes=_CLASSES)
    original, state = _state(architecture)
    path = tmp_path / f"network{suffix}"
    named = {name: tensor.contiguous() for name, tensor in rename(state).items()}
    if suffix == ".pth":
        torch.save(named, path)
    else:
        save_file(named, path)
    loaded = load_network(load_checkpoint(path))
    assert loaded.architecture == architecture
    assert loaded.input_shape == (3, 224, 224)
    frames = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = original(frames)
        # Where weights lie in memory may change the order of sums.
        assert torch.allclose(
            loaded.module(frames), expected, rtol=0.0, atol=1e-5 * float(expected.abs().max())
        )


@pytest.mark.parametrize("family", ["mobilenet-v1", "resnext50"])
def test_convolutions_defined_before_the_norms_are_matched_by_rank(family: str, tmp_path: Path) -> None:
    architecture = make_architecture(family, groups=4, width=0.25, classes=_CLASSES)
    original, state = _state(architecture)
    path = tmp_path / "network.pt"
    torch.save(_stripped(_convolutions_first(state)), path)
    loaded = load_network(load_checkpoint(path))
    frames = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = original(frames)
        # Where weights lie in memory may change the order of sums.
        assert torch.allclose(
            loaded.module(frames), expected, rtol=0.0, atol=1e-5 * float(expected.abs().max())
        )
