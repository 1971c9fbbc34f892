from pathlib import Path

import pytest
import torch

from perframe.errors import InputError, UsageError
from perframe.export.architecture import make_architecture
from perframe.export.checkpoint import load_checkpoint, save_checkpoint
from perframe.export.loading import load_network
from perframe.export.networks import new_network

_FACTORY = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

class Models:
    small = staticmethod(make)

def text():
    return "no network"

def fails():
    raise RuntimeError("no weights at home")

constant = 3
"""


@pytest.fixture
def factory_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory; a name of its own per test, since imports are kept."""
    name = f"models_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(_FACTORY)
    (tmp_path / "broken_models.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    return name


def _small() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    ).eval()


def test_a_checkpoint_of_ours_computes_what_was_saved(tmp_path: Path) -> None:
    architecture = make_architecture("resnext50", group_size=8, width=0.25, classes=9)
    network = new_network(architecture, seed=0, input_size=(32, 32))
    save_checkpoint(tmp_path / "a.pth.tar", network, architecture)
    loaded = load_network(load_checkpoint(tmp_path / "a.pth.tar"))
    frames = torch.rand(1, 3, 32, 32)
    assert loaded.architecture == architecture
    assert not loaded.module.training
    with torch.no_grad():
        assert torch.equal(loaded.module(frames), network(frames))


def test_statistics_in_an_unknown_order_are_noticed(tmp_path: Path) -> None:
    network = new_network(
        make_architecture("mobilenet-v1", groups=2, width=0.25), seed=0, input_size=(32, 32)
    )
    state = network.state_dict()
    by_layer: dict[str, list[str]] = {}
    for name, tensor in state.items():
        if tensor.ndim:
            by_layer.setdefault(name.rsplit(".", 1)[0], []).append(name)
    # Caffe's order (mean, variance, scale, bias) without the names that would tell.
    caffe = [name for names in by_layer.values() for name in sorted(names, key=lambda n: "running" not in n)]
    for name in caffe:
        if name.endswith("bn.bias"):
            state[name].sub_(0.5)
    torch.save({f"t{index}": state[name] for index, name in enumerate(caffe)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="should be the variance"):
        load_network(load_checkpoint(tmp_path / "a.pth"))


@pytest.mark.parametrize("attribute", ["make", "Models.small"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_factory_builds_any_network(
    attribute: str, prefix: str, factory_module: str, tmp_path: Path
) -> None:
    network = _small()
    torch.save({prefix + name: tensor for name, tensor in network.state_dict().items()}, tmp_path / "a.pth")
    loaded = load_network(load_checkpoint(tmp_path / "a.pth"), f"{factory_module}:{attribute}")
    frames = torch.rand(2, 1, 8, 8)
    assert (loaded.architecture, loaded.input_shape) == (None, (1, 224, 224))
    with torch.no_grad():
        assert torch.equal(loaded.module(frames), network(frames))


def test_a_factory_whose_names_share_a_usual_prefix_still_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrapped_net.py").write_text(
        "from torch import nn\n"
        "def make():\n    net = nn.Module()\n    net.model = nn.Linear(2, 2)\n    return net\n"
    )
    monkeypatch.chdir(tmp_path)
    torch.save({"model.weight": torch.ones(2, 2), "model.bias": torch.ones(2)}, tmp_path / "a.pth")
    loaded = load_network(load_checkpoint(tmp_path / "a.pth"), "wrapped_net:make")
    assert torch.equal(loaded.module.get_parameter("model.weight"), torch.ones(2, 2))


def test_tensors_that_do_not_fit_the_factory_are_named(factory_module: str, tmp_path: Path) -> None:
    state = _small().state_dict()
    del state["0.bias"]
    state["4.weight"] = torch.ones(2, 5)
    state["4.bias"] = torch.ones(2, dtype=torch.int64)
    state["head.weight"] = torch.ones(3)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError) as raised:
        load_network(load_checkpoint(tmp_path / "a.pth"), f"{factory_module}:make")
    for words in (
        "missing 0.bias of shape (4,)",
        "4.weight is (2, 5) float, expected (2, 4) float",
        "4.bias is (2,) integer, expected (2,) float",
        "extra head.weight of shape (3,)",
    ):
        assert words in raised.value.message


@pytest.mark.parametrize("spec", ["", "models", "models:", ":make", "a-b:make", "models.net:make()", "a:b:c"])
def test_a_malformed_factory_is_a_usage_error(spec: str, tmp_path: Path) -> None:
    torch.save(_small().state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"package\.module:callable"):
        load_network(load_checkpoint(tmp_path / "a.pth"), spec)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("no_such_module_anywhere:make", "cannot import no_such_module_anywhere"),
        ("broken_models:make", "a_library_that_is_not_there"),
        ("{}:absent", "has no absent"),
        ("{}:constant", "not callable"),
        ("{}:text", "found str"),
        ("{}:fails", "no weights at home"),
    ],
)
def test_a_factory_that_fails_is_an_input_error(
    spec: str, told: str, factory_module: str, tmp_path: Path
) -> None:
    torch.save(_small().state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError, match=told):
        load_network(load_checkpoint(tmp_path / "a.pth"), spec.format(factory_module))
