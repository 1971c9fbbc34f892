import pytest
import torch

from perframe.export.architecture import layers, make_architecture
from perframe.export.networks import build_network, new_network


@pytest.mark.parametrize("family", ["mobilenet-v1", "resnext50"])
@pytest.mark.parametrize("rule", [{"group_size": 4}, {"groups": 8}])
def test_the_module_is_the_layer_table(family: str, rule: dict[str, int]) -> None:
    architecture = make_architecture(family, **rule, width=0.5, classes=7, in_channels=1)
    with torch.device("meta"):
        network = build_network(architecture)
    weights = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if tensor.ndim > 1}
    assert weights == {f"{layer.name}.weight": layer.weight_shape for layer in layers(architecture)}
    assert not network.training


@pytest.mark.parametrize("family", ["mobilenet-v1", "resnext50"])
def test_output_sizes_of_the_table_are_those_of_torch(family: str) -> None:
    architecture = make_architecture(family, group_size=8, width=0.25)
    with torch.device("meta"):
        network = build_network(architecture)
        sizes: dict[str, tuple[int, ...]] = {}
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(
                    lambda _m, _i, output, name=name: sizes.__setitem__(name, tuple(output.shape[2:]))
                )
        network(torch.empty(1, 3, 97, 130))
    assert sizes == {
        layer.name: layer.output_size((97, 130)) for layer in layers(architecture) if layer.kind == "conv"
    }


@pytest.mark.parametrize("family", ["mobilenet-v1", "resnext50"])
def test_a_new_network_has_lively_activations(family: str) -> None:
    network = new_network(make_architecture(family, group_size=8, width=0.25), seed=1, input_size=(64, 64))
    shares = []
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(
                lambda _m, _i, output: shares.append(float((output > 0).float().mean()))
            )
    with torch.no_grad():
        logits = network(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert not network.training
    assert torch.isfinite(logits).all() and 0.05 < float(logits.std()) < 20
    assert min(shares) > 0.1


def test_a_seed_makes_one_network() -> None:
    architecture = make_architecture("mobilenet-v1", group_size=8, width=0.25)
    state = torch.get_rng_state()
    first, same, other = (
        new_network(architecture, seed=seed, input_size=(32, 32)).state_dict() for seed in (5, 5, 6)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])
    assert torch.equal(torch.get_rng_state(), state)
