"""Where a network of the two families spends its work, layer by layer: what models of its energy are computed from.

A design need not be a network. The number of groups may be any real number between 1 and a layer's channels, so that a
model can be asked about G = 12, which divides no layer of ResNeXt-50, and drawn as a curve.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from perframe.arrays import Array
from perframe.engines.base import ModelInfo
from perframe.errors import UsageError
from perframe.export.architecture import Architecture, Family, LayerSpec, count, layers, make_architecture

Rule = Literal["G", "g"]
"""What is the same in all grouped layers: the group size (E2GC) or the number of groups (FgGC)."""

_WIDTH = re.compile(r"-w(\d+(?:\.\d+)?)(?:-|$)")


@dataclass(frozen=True)
class Backbone:
    """What E2GC and FgGC forms of one network have in common.

    Attributes:
        family: Which network.
        width: Multiplier of all channel counts.
        classes: Number of outputs.
        in_channels: Number of input channels.
        input_size: Height and width of the input, in pixels.
    """

    family: Family
    width: float = 1.0
    classes: int = 1000
    in_channels: int = 3
    input_size: tuple[int, int] = (224, 224)


@dataclass(frozen=True, eq=False)
class Design:
    """A backbone with its grouped layers divided into groups; every array has one entry per layer.

    Attributes:
        macs: Multiply-accumulates of one frame.
        params: Weights.
        activations: Input and output elements of one frame.
        groups: Number of groups g.
        grouped: Whether the layer is one of those that E2GC and FgGC are about.
    """

    macs: Array
    params: Array
    activations: Array
    groups: Array
    grouped: Array


@lru_cache(maxsize=4096)
def recognised(model: ModelInfo) -> tuple[Backbone, Architecture] | None:
    """Return what network of the two families a result is of; `None` if it is none, or of neither rule.

    A result names family, G and g, but width and number of classes only through its name and its counts: what is found
    is taken only if it has exactly the parameters and MACs of the result.
    """
    if model.family not in ("mobilenet_v1", "resnext50") or len(model.input_shape) != 3:
        return None
    if model.params is None or (model.group_size is None and model.groups is None):
        return None
    written = _WIDTH.search(model.name)
    width, size = float(written[1]) if written else 1.0, model.input_shape[1:]
    numbers = {"group_size": model.group_size} if model.group_size is not None else {"groups": model.groups}
    try:
        one = make_architecture(
            model.family, **numbers, width=width, classes=1, in_channels=model.input_shape[0]
        )
    except UsageError:
        return None
    features = layers(one)[-1].in_channels
    params, macs = count(one, size)
    classes = 1 + (model.params - params) // features
    if (params + (classes - 1) * features, macs + (classes - 1) * features) != (model.params, model.macs):
        return None
    backbone = Backbone(one.family, width, classes, one.in_channels, (size[0], size[1]))
    return backbone, Architecture(one.family, one.layer_groups, width, classes, one.in_channels)


@lru_cache(maxsize=64)
def dense_layers(backbone: Backbone) -> tuple[LayerSpec, ...]:
    """Return the layers of the backbone with every grouped layer in one group."""
    return layers(
        make_architecture(
            backbone.family,
            groups=1,
            width=backbone.width,
            classes=backbone.classes,
            in_channels=backbone.in_channels,
        )
    )


@lru_cache(maxsize=64)
def _dense(backbone: Backbone) -> Design:
    table, size = dense_layers(backbone), backbone.input_size
    return Design(
        macs=np.array([layer.macs(size) for layer in table], dtype=np.float64),
        params=np.array([math.prod(layer.weight_shape) for layer in table], dtype=np.float64),
        activations=np.array([layer.activations(size) for layer in table], dtype=np.float64),
        groups=np.ones(len(table)),
        grouped=np.array([layer.grouped for layer in table]),
    )


def design(backbone: Backbone, layer_groups: Sequence[float]) -> Design:
    """Return the backbone with these numbers of groups in its grouped layers, in forward order."""
    dense = _dense(backbone)
    groups = dense.groups.copy()
    groups[dense.grouped] = layer_groups
    return Design(dense.macs / groups, dense.params / groups, dense.activations, groups, dense.grouped)


def layer_groups(backbone: Backbone, rule: Rule, number: float) -> tuple[float, ...]:
    """Return the number of groups of each grouped layer, whether or not it divides the channels.

    Args:
        backbone: The network.
        rule: "G" keeps the group size (E2GC), "g" the number of groups (FgGC).
        number: What is kept, 1 or more.
    """
    channels = [layer.in_channels for layer in dense_layers(backbone) if layer.grouped]
    if rule == "G":
        return tuple(max(each / number, 1.0) for each in channels)
    return tuple(min(number, float(each)) for each in channels)


def possible(backbone: Backbone) -> tuple[tuple[Rule, int], ...]:
    """Return every constant G, then every constant g, that is a network, each network once."""
    channels = [layer.in_channels for layer in dense_layers(backbone) if layer.grouped]
    found: list[tuple[Rule, int]] = [
        ("G", size)
        for size in range(1, max(channels) + 1)
        if all(each % size == 0 or size >= each for each in channels)
    ]
    common = math.gcd(*channels)
    # One group is the E2GC network of the largest G; so is any g if all layers are equally wide.
    found += [
        ("g", number)
        for number in range(2, common + 1)
        if common % number == 0 and len({each // number for each in channels}) > 1
    ]
    return tuple(found)
