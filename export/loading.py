"""A checkpoint turned into a network that runs: one of the two families, or what a factory builds."""

from dataclasses import dataclass

from perframe.errors import InputError
from perframe.export.architecture import Architecture, layers
from perframe.export.checkpoint import Checkpoint
from perframe.export.factory import network_from_factory
from perframe.export.networks import build_network
from perframe.export.pytorch import nn, torch
from perframe.export.recognise import recognise

_IMAGENET_SIZE = (224, 224)
_LISTED = 4


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with the weights of a checkpoint.

    Attributes:
        module: The network, in evaluation mode, float32, on the CPU.
        checkpoint: Where its weights come from.
        architecture: What was recognised; None for a factory's network.
        input_shape: (channels, height, width) to assume: the weights do not tell the size, 224 x 224 is
            usual.
    """

    module: nn.Module
    checkpoint: Checkpoint
    architecture: Architecture | None
    input_shape: tuple[int, int, int]


def load_network(checkpoint: Checkpoint, factory: str | None = None) -> LoadedNetwork:
    """Build the network of a checkpoint and load its weights, every tensor of it.

    Args:
        checkpoint: What `load_checkpoint` read.
        factory: `package.module:callable` that builds the network; without it the architecture is recognised.

    Raises:
        InputError: The network is not recognised, its tensors do not fit, or the factory fails.
        UsageError: `factory` is malformed.
    """
    if factory is not None:
        return _from_factory(checkpoint, factory)
    recognition = recognise(checkpoint.shapes, str(checkpoint.path))
    with torch.device("meta"):
        module = build_network(recognition.architecture)
    state = {ours: checkpoint.tensors[theirs] for ours, theirs in recognition.assignment.items()}
    state["fc.weight"] = state["fc.weight"].flatten(1)
    for layer in layers(recognition.architecture):
        if layer.norm is not None:
            _check_variance(checkpoint, recognition.assignment[f"{layer.norm}.running_var"])
            state[f"{layer.norm}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    module.load_state_dict(state, assign=True)
    return LoadedNetwork(
        module=module.eval(),
        checkpoint=checkpoint,
        architecture=recognition.architecture,
        input_shape=(recognition.architecture.in_channels, *_IMAGENET_SIZE),
    )


def _check_variance(checkpoint: Checkpoint, name: str) -> None:
    """A negative variance betrays an order of the BatchNorm tensors other than the one assumed."""
    if bool((checkpoint.tensors[name] < 0).any()):
        raise InputError(
            f"{checkpoint.path}: {name} should be the variance of a BatchNorm but holds negative numbers.",
            "Keep the tensors' own names, or torch's order: weight, bias, running_mean, running_var.",
        )


def _from_factory(checkpoint: Checkpoint, factory: str) -> LoadedNetwork:
    module = network_from_factory(factory).to("cpu", torch.float32)
    expected = module.state_dict()
    given = {**checkpoint.tensors, **checkpoint.buffers}
    prefixed = {checkpoint.prefix + name: tensor for name, tensor in given.items()}
    if len(expected.keys() & prefixed.keys()) > len(expected.keys() & given.keys()):
        given = prefixed
    problems = _differences(expected, given)
    if problems:
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise InputError(
            f"{checkpoint.path}: does not fit {factory}: {'; '.join(problems[:_LISTED])}{more}.",
            "Let the factory build the network that was trained.",
        )
    # Counters of training steps may be absent; everything else was just checked.
    module.load_state_dict({**expected, **{name: given[name] for name in expected if name in given}})
    channels = next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)
    return LoadedNetwork(module.eval(), checkpoint, None, (channels, *_IMAGENET_SIZE))


def _differences(expected: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> list[str]:
    missing = [
        f"missing {name} of shape {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name not in given and not name.endswith("num_batches_tracked")
    ]
    misshapen = [
        f"{name} is {_kind(given[name])}, expected {_kind(tensor)}"
        for name, tensor in expected.items()
        if name in given and _kind(given[name]) != _kind(tensor)
    ]
    extra = [
        f"extra {name} of shape {tuple(tensor.shape)}"
        for name, tensor in given.items()
        if name not in expected and tensor.ndim > 0
    ]
    return [*missing, *misshapen, *extra]


def _kind(tensor: torch.Tensor) -> str:
    """Shape, and whether it counts or weighs: loading integers into a weight would pass silently."""
    return f"{tuple(tensor.shape)} {'float' if tensor.is_floating_point() else 'integer'}"
