"""The two network families as tables: which layers, how many channels, which group counts are legal.

MobileNet-V1 (arXiv 1704.04861, table 1) has its 3x3 depthwise layers turned into grouped ones; ResNeXt-50
(arXiv 1611.05431, table 1, base width 4 x 32) groups the 3x3 of each bottleneck. E2GC (arXiv 2006.15100)
keeps the *group size* G, the input channels of one group, the same in all of them; FgGC keeps the *number* of
groups g. Nothing here needs torch: parameters and MACs are counted from the table.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from perframe.errors import UsageError

Family = Literal["mobilenet_v1", "resnext50"]
Variant = Literal["E2GC", "FgGC", "other"]

FAMILIES: dict[str, Family] = {"mobilenet-v1": "mobilenet_v1", "resnext50": "resnext50"}
"""Name on the command line -> name in results."""

MAX_WIDTH = 16.0
"""A network 256 times its usual size; more is a slip of the finger, and would only end in a full memory."""

_STEM_CHANNELS: dict[Family, int] = {"mobilenet_v1": 32, "resnext50": 64}
# (output channels, stride of the grouped layer) of each MobileNet-V1 block.
_MOBILENET_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
# (blocks, channels of the grouped 3x3, output channels) of each ResNeXt-50 stage.
_RESNEXT_STAGES = ((3, 128, 256), (4, 256, 512), (6, 512, 1024), (3, 1024, 2048))


@dataclass(frozen=True)
class LayerSpec:
    """One convolution, or the final fully connected layer.

    Attributes:
        name: Path of the module that holds the weight, such as `blocks.3.grouped.conv`.
        norm: Path of the BatchNorm behind it; None for the fully connected layer.
        kind: "conv" or "fc".
        in_channels: Input channels (features, for "fc").
        out_channels: Output channels (classes, for "fc").
        kernel: Side of the square kernel; 1 for "fc".
        stride: Step of the kernel; 1 for "fc".
        padding: Zeros added on each side.
        groups: Number of groups.
        grouped: Whether this is one of the 3x3 layers that E2GC and FgGC are about.
        reduction: Input pixels of the network per output pixel of this layer, along one side.
    """

    name: str
    norm: str | None
    kind: Literal["conv", "fc"]
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: int
    groups: int
    grouped: bool
    reduction: int

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight: (out, in / groups, k, k), or (classes, features)."""
        if self.kind == "fc":
            return (self.out_channels, self.in_channels)
        return (self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel)

    def output_size(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output for a network input of `input_size` (height, width).

        Every strided layer of both families halves and rounds up, so the halvings can be taken at once.
        """
        if self.kind == "fc":
            return (1, 1)
        height, width = input_size
        return (math.ceil(height / self.reduction), math.ceil(width / self.reduction))

    def macs(self, input_size: tuple[int, int]) -> int:
        """Multiply-accumulates for one frame: n * m * d_k^2 * h * w / g."""
        height, width = self.output_size(input_size)
        return math.prod(self.weight_shape) * height * width

    def activations(self, input_size: tuple[int, int]) -> int:
        """Input and output elements for one frame."""
        if self.kind == "fc":
            return self.in_channels + self.out_channels
        before, after = (
            math.prod(math.ceil(side / reduction) for side in input_size)
            for reduction in (self.reduction // self.stride, self.reduction)
        )
        return self.in_channels * before + self.out_channels * after


@dataclass(frozen=True)
class Architecture:
    """What the weights of a network of the two families say about it.

    Attributes:
        family: Which network.
        layer_groups: Number of groups of each grouped 3x3 layer, in forward order.
        width: Multiplier of all channel counts.
        classes: Number of outputs.
        in_channels: Number of input channels (3 for colour images).
    """

    family: Family
    layer_groups: tuple[int, ...]
    width: float = 1.0
    classes: int = 1000
    in_channels: int = 3

    @property
    def group_size(self) -> int | None:
        """The constant group size G, None where there is none.

        A layer of fewer than G channels is one group, so several G may describe one network; this is the
        smallest.
        """
        channels = grouped_channels(self.family, self.width)
        sizes = [count // groups for count, groups in zip(channels, self.layer_groups, strict=True)]
        largest = max(sizes)
        constant = all(size == min(largest, count) for size, count in zip(sizes, channels, strict=True))
        return largest if constant else None

    @property
    def groups(self) -> int | None:
        """The constant number of groups g, None where there is none."""
        return self.layer_groups[0] if len(set(self.layer_groups)) == 1 else None

    @property
    def variant(self) -> Variant:
        """Which rule the grouped layers follow; E2GC where both hold (only g = 1 at the usual widths)."""
        if self.group_size is not None:
            return "E2GC"
        return "other" if self.groups is None else "FgGC"

    @property
    def name(self) -> str:
        """A short name such as `mobilenet_v1-E2GC-G8` or `resnext50-FgGC-g32-w0.5`."""
        parts: list[str] = [self.family, self.variant]
        if self.group_size is not None:
            parts.append(f"G{self.group_size}")
        elif self.groups is not None:
            parts.append(f"g{self.groups}")
        if self.width != 1.0:
            parts.append(f"w{self.width:g}")
        return "-".join(parts)


def scaled(channels: int, width: float) -> int:
    """Channels after the width multiplier, rounded to the nearest integer (half up).

    The MobileNet paper multiplies every channel count by alpha and leaves rounding open; at its own alphas
    (0.25, 0.5, 0.75) nothing is rounded. ResNeXt is scaled the same way.
    """
    return math.floor(channels * width + 0.5)


def grouped_channels(family: Family, width: float) -> tuple[int, ...]:
    """Channels (in = out) of each grouped 3x3 layer, in forward order."""
    if family == "mobilenet_v1":
        base = (_STEM_CHANNELS[family], *(channels for channels, _ in _MOBILENET_BLOCKS[:-1]))
    else:
        base = tuple(channels for blocks, channels, _ in _RESNEXT_STAGES for _ in range(blocks))
    return tuple(scaled(channels, width) for channels in base)


def make_architecture(
    family: str,
    *,
    group_size: int | None = None,
    groups: int | None = None,
    width: float = 1.0,
    classes: int = 1000,
    in_channels: int = 3,
) -> Architecture:
    """Return the E2GC network of constant `group_size`, or the FgGC network of constant `groups`.

    A group size larger than a layer's channel count means one group there.

    Args:
        family: `mobilenet-v1` or `resnext50`; the names in results are taken too.
        group_size: G, channels per group. Exactly one of this and `groups` is given.
        groups: g, number of groups.
        width: Multiplier of all channel counts; see `scaled`.
        classes: Number of outputs.
        in_channels: Number of input channels.

    Raises:
        UsageError: An unknown family, both or neither of the two rules, or a value that the channel counts do
            not allow; the message names the first layer that is in the way.
    """
    known = FAMILIES.get(family) or next((name for name in FAMILIES.values() if name == family), None)
    if known is None:
        raise UsageError(f"{family!r} is no family of networks.", f"Choose one of {', '.join(FAMILIES)}.")
    if (group_size is None) == (groups is None):
        found = "neither" if groups is None else "both"
        raise UsageError(
            f"{family}: expected either a group size or a number of groups, found {found}.",
            "Give one of --group-size (E2GC) and --groups (FgGC).",
        )
    for what, value in {
        "--group-size": group_size,
        "--groups": groups,
        "--classes": classes,
        "--input channels": in_channels,
    }.items():
        if value is not None and value < 1:
            raise UsageError(
                f"{family}: {what} {value} is not a positive number.", "Give a whole number from 1 up."
            )
    if not (0 < width <= MAX_WIDTH) or scaled(_STEM_CHANNELS[known], width) < 1:
        raise UsageError(
            f"{family}: width {width:g} does not give at least one channel, or is above {MAX_WIDTH:g}.",
            "1 is the published network; 0.25, 0.5 and 0.75 are usual.",
        )
    names = [layer.name for layer in layers(_skeleton(known, width)) if layer.grouped]
    channels = grouped_channels(known, width)
    if group_size is not None:
        layer_groups = tuple(
            1 if group_size >= count else _divide(count, group_size, name, "group size")
            for name, count in zip(names, channels, strict=True)
        )
    else:
        assert groups is not None
        for name, count in zip(names, channels, strict=True):
            _divide(count, groups, name, "number of groups")
        layer_groups = (groups,) * len(channels)
    return Architecture(known, layer_groups, width, classes, in_channels)


def _skeleton(family: Family, width: float) -> Architecture:
    """The ungrouped network, for the names of its layers."""
    return Architecture(family, (1,) * len(grouped_channels(family, width)), width)


def _divide(channels: int, divisor: int, layer: str, what: str) -> int:
    if channels % divisor == 0:
        return channels // divisor
    legal = [value for value in range(1, channels + 1) if channels % value == 0]
    below = max(value for value in legal if value <= divisor)
    above = [value for value in legal if value > divisor][:1]
    near = " or ".join(str(value) for value in [below, *above])
    raise UsageError(
        f"{layer}: {what} {divisor} does not divide its {channels} channels.",
        f"The nearest values that this layer allows are {near}.",
    )


def layers(architecture: Architecture) -> tuple[LayerSpec, ...]:
    """Every convolution and the final fully connected layer, in forward order.

    In a ResNeXt block the shortcut's convolution comes last, as it does in the module and its state dict.
    """
    if architecture.family == "mobilenet_v1":
        return tuple(_mobilenet_layers(architecture))
    return tuple(_resnext_layers(architecture))


def count(architecture: Architecture, input_size: tuple[int, int] = (224, 224)) -> tuple[int, int]:
    """Count parameters and MACs of one frame as the published tables do: conv and fc weights only.

    Args:
        architecture: The network.
        input_size: Height and width of its input, in pixels.

    Returns:
        Number of weights, and number of multiply-accumulates.
    """
    table = layers(architecture)
    return (
        sum(math.prod(layer.weight_shape) for layer in table),
        sum(layer.macs(input_size) for layer in table),
    )


def _conv(
    name: str,
    channels: tuple[int, int],
    kernel: int,
    *,
    stride: int = 1,
    groups: int | None = None,
    reduction: int,
) -> LayerSpec:
    """A convolution at `name`.conv with its BatchNorm at `name`.bn; `groups` marks a grouped layer."""
    return LayerSpec(
        name=f"{name}.conv",
        norm=f"{name}.bn",
        kind="conv",
        in_channels=channels[0],
        out_channels=channels[1],
        kernel=kernel,
        stride=stride,
        padding=kernel // 2,
        groups=1 if groups is None else groups,
        grouped=groups is not None,
        reduction=reduction,
    )


def _classifier(features: int, classes: int) -> LayerSpec:
    return LayerSpec("fc", None, "fc", features, classes, 1, 1, 0, 1, False, 1)


def _mobilenet_layers(architecture: Architecture) -> Iterator[LayerSpec]:
    channels, reduction = scaled(_STEM_CHANNELS["mobilenet_v1"], architecture.width), 2
    yield _conv("stem", (architecture.in_channels, channels), 3, stride=2, reduction=reduction)
    blocks = zip(_MOBILENET_BLOCKS, architecture.layer_groups, strict=True)
    for index, ((base_out, stride), groups) in enumerate(blocks):
        out, reduction = scaled(base_out, architecture.width), reduction * stride
        path = f"blocks.{index}"
        yield _conv(
            f"{path}.grouped", (channels, channels), 3, stride=stride, groups=groups, reduction=reduction
        )
        yield _conv(f"{path}.pointwise", (channels, out), 1, reduction=reduction)
        channels = out
    yield _classifier(channels, architecture.classes)


def _resnext_layers(architecture: Architecture) -> Iterator[LayerSpec]:
    channels = scaled(_STEM_CHANNELS["resnext50"], architecture.width)
    yield _conv("stem", (architecture.in_channels, channels), 7, stride=2, reduction=2)
    reduction = 4  # after the max pooling
    layer_groups = iter(architecture.layer_groups)
    for stage, (blocks, base_middle, base_out) in enumerate(_RESNEXT_STAGES):
        middle, out = scaled(base_middle, architecture.width), scaled(base_out, architecture.width)
        for block in range(blocks):
            path = f"stages.{stage}.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            yield _conv(f"{path}.reduce", (channels, middle), 1, reduction=reduction)
            reduction *= stride
            yield _conv(
                f"{path}.grouped",
                (middle, middle),
                3,
                stride=stride,
                groups=next(layer_groups),
                reduction=reduction,
            )
            yield _conv(f"{path}.expand", (middle, out), 1, reduction=reduction)
            if block == 0:
                yield _conv(f"{path}.shortcut", (channels, out), 1, stride=stride, reduction=reduction)
            channels = out
    yield _classifier(channels, architecture.classes)
