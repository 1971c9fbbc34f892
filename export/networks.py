"""The two families as torch modules. The only file that defines `nn.Module` classes.

Shapes, strides and names come from the layer table of `perframe.export.architecture`, so what is counted is
what runs. Every operation belongs to a module of its own, each used once: a layer of the exported graph then
has one unmistakable source.
"""

from collections import OrderedDict
from collections.abc import Iterable

from perframe.export.architecture import Architecture, LayerSpec, layers
from perframe.export.pytorch import nn, torch

_CALIBRATION_FRAMES = 4


class Add(nn.Module):
    """The sum of a block's two branches."""

    def forward(self, branch: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
        """Add two tensors of one shape."""
        return branch + shortcut


class Bottleneck(nn.Module):
    """A ResNeXt block: 1x1 reduce, grouped 3x3, 1x1 expand, plus the shortcut.

    Args:
        parts: The layers of the block, by the last word of their path (`reduce`, `grouped`, ...).
    """

    def __init__(self, parts: dict[str, LayerSpec]) -> None:
        super().__init__()
        self.reduce = _convolution(parts["reduce"])
        self.grouped = _convolution(parts["grouped"])
        self.expand = _convolution(parts["expand"], relu=False)
        self.shortcut = _convolution(parts["shortcut"], relu=False) if "shortcut" in parts else nn.Identity()
        self.add = Add()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        branch = self.expand(self.grouped(self.reduce(x)))
        return self.relu(self.add(branch, self.shortcut(x)))


def build_network(architecture: Architecture) -> nn.Module:
    """Return the network in evaluation mode, with torch's default initial weights.

    Module names are those of `perframe.export.architecture.layers`. Input (N, in_channels, H, W), output
    logits (N, classes). Build it under `torch.device("meta")` to load weights into it without initialising
    any.
    """
    table = layers(architecture)
    by_path = {layer.name.removesuffix(".conv"): layer for layer in table}
    network: OrderedDict[str, nn.Module] = OrderedDict(stem=_convolution(by_path["stem"]))
    if architecture.family == "mobilenet_v1":
        network["blocks"] = nn.Sequential(
            *(
                nn.Sequential(OrderedDict((part, _convolution(layer)) for part, layer in parts.items()))
                for parts in _blocks(by_path, "blocks")
            )
        )
    else:
        network["stem"].add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
        network["stages"] = nn.Sequential(
            *(
                nn.Sequential(*(Bottleneck(parts) for parts in _blocks(by_path, f"stages.{stage}")))
                for stage in range(4)
            )
        )
    network["pool"] = nn.AdaptiveAvgPool2d(1)
    network["flatten"] = nn.Flatten()
    network["fc"] = nn.Linear(table[-1].in_channels, table[-1].out_channels)
    return nn.Sequential(network).eval()


def new_network(
    architecture: Architecture, *, seed: int, input_size: tuple[int, int] = (224, 224)
) -> nn.Module:
    """Return an untrained network whose activations look like those of a trained one.

    Weights are drawn by He's rule (arXiv 1502.01852, fan-in), and the BatchNorm statistics are those of one
    batch of random frames. With the default statistics activations of a deep network fade or explode, and a
    profile of zeros and infinities measures the wrong power.

    Args:
        architecture: The network.
        seed: Equal seeds give equal networks.
        input_size: Height and width of the frames that set the statistics, in pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        network = build_network(architecture)
    network.to_empty(device="cpu")
    norms = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            norms.append((module, module.momentum))
            module.momentum = None  # the plain mean over batches, here one
    frames = torch.randn(_CALIBRATION_FRAMES, architecture.in_channels, *input_size, generator=generator)
    network.train()
    with torch.no_grad():
        network(frames)
    for norm, momentum in norms:
        norm.momentum = momentum
    return network.eval()


def _convolution(layer: LayerSpec, *, relu: bool = True) -> nn.Sequential:
    """Convolution, BatchNorm and, except before a sum, ReLU."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            groups=layer.groups,
            bias=False,
        ),
        bn=nn.BatchNorm2d(layer.out_channels),
    )
    if relu:
        parts["relu"] = nn.ReLU()
    return nn.Sequential(parts)


def _blocks(by_path: dict[str, LayerSpec], parent: str) -> Iterable[dict[str, LayerSpec]]:
    """The layers under `parent`, block by block, by the last word of their path."""
    blocks: dict[str, dict[str, LayerSpec]] = {}
    for path, layer in by_path.items():
        if path.startswith(f"{parent}."):
            block, part = path.rsplit(".", 1)
            blocks.setdefault(block, {})[part] = layer
    return blocks.values()
