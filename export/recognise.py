"""Which of the two families a set of tensors is, and which tensor is which, from their shapes.

The names a training program chose are hints at most: kernel sizes and channel counts tell the family, the
width and the groups of every layer, and tensors of equal shape are told apart by their order. Strides and the
input size leave no trace in the weights; the ImageNet form of both families (224 x 224, strides as published)
is assumed. A Wide ResNet-50-2 is, shape for shape, ResNeXt-50 with one group, and is called that.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from perframe.errors import InputError
from perframe.export.architecture import FAMILIES, Architecture, Family, LayerSpec, grouped_channels, layers
from perframe.export.assignment import TensorReader, layer_fits
from perframe.export.signatures import describe
from perframe.export.tensor_names import Shape, reading_orders
from perframe.export.width import fit_width

# Of the convolutions of a family, how many must be there to call a network a damaged member of it ...
_CLEAR_SHARE = 0.75
# ... and how many others it may have, relative to the same number.
_EXTRA_SHARE = 0.25
_LISTED = 4
_SHORTCUT = re.compile(r"downsample|shortcut|match|proj|skip|branch1(?![0-9a-z])")
_CLASSIFIER = re.compile(r"(?:^|[._/])(?:fc|classifier|logits|head|output|prob)")
_COUNTER = re.compile(r"num_batches_tracked$|scale_factor$|moving_average_fraction$")


@dataclass(frozen=True)
class Recognition:
    """A network of the two families.

    Attributes:
        architecture: Family, groups of every layer, width, classes.
        assignment: Our parameter or buffer name -> the name in the file, for every tensor of the network. A
            classifier stored as a 1x1 convolution (classes, features, 1, 1) is to be reshaped to (classes,
            features).
    """

    architecture: Architecture
    assignment: dict[str, str]


def recognise(shapes: Mapping[str, Shape], source: str = "checkpoint") -> Recognition:
    """Recognise MobileNet-V1 or ResNeXt-50 in any grouping, whatever the layers are called.

    Args:
        shapes: Name -> shape of every floating point tensor, in file order.
        source: Which file, for the messages.

    Raises:
        InputError: It is another network (named as far as it can be), or one of the two with tensors missing,
            extra or misshapen; those are named, expected against found.
    """
    shapes = {name: shape for name, shape in shapes.items() if shape and not _COUNTER.search(name)}
    best: _Match | None = None
    for order in reading_orders(shapes):
        for family in FAMILIES.values():
            match = _match(family, {name: shapes[name] for name in order})
            if match is not None and (best is None or len(match.problems) < len(best.problems)):
                best = match
        if best is not None and not best.problems:
            return Recognition(best.architecture, best.assignment)
    if best is None:
        raise InputError(
            f"{source}: neither MobileNet-V1 nor ResNeXt-50 but {describe(shapes)}.",
            "Give the .onnx of the network, or --factory package.module:callable that builds it.",
        )
    problems = best.problems
    more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    raise InputError(
        f"{source}: mostly {best.architecture.name}, but {'; '.join(problems[:_LISTED])}{more}.",
        "Save the whole state dict again; if the network is meant to differ, give its .onnx, "
        "or --factory package.module:callable that builds it.",
    )


@dataclass
class _Match:
    """An attempt to read the tensors as one family, in one order."""

    architecture: Architecture
    assignment: dict[str, str]
    problems: list[str]


def _match(family: Family, shapes: dict[str, Shape]) -> _Match | None:
    """Read the tensors as `family`; None where they are clearly something else."""
    convs = _of_rank(4, shapes)
    matrices = _of_rank(2, shapes)
    classifier = _find_classifier(family, convs, matrices)
    convs.pop(classifier or "", None)
    width = fit_width(family, convs.values(), shapes[classifier][1] if classifier else None)
    if width is None:
        return None
    stem = _find_stem(family, width, convs)
    architecture = Architecture(
        family,
        (1,) * len(grouped_channels(family, width)),
        width,
        classes=shapes[classifier][0] if classifier else 1000,
        in_channels=convs[stem][1] if stem else 3,
    )
    slots = [layer for layer in layers(architecture) if layer.kind == "conv"]
    by_name = _match_by_name(slots, convs)
    found = by_name or _match_by_shape(slots, convs, stem)
    complete = len(found) == len(slots) == len(convs)
    if not complete and _clearly_other(len(slots), len(found), len(convs) + len(matrices) - bool(classifier)):
        return None
    reader = TensorReader(replace(architecture, layer_groups=_layer_groups(slots, found, convs)), shapes)
    if by_name:
        reader.read_own_names()
    else:
        reader.read_convolutions(convs, found if complete else None)
        reader.read_classifier(classifier)
        reader.read_norms(list(_of_rank(1, shapes)))
    return _Match(reader.architecture, reader.assignment, reader.finish())


def _of_rank(rank: int, shapes: dict[str, Shape]) -> dict[str, Shape]:
    """The tensors of so many dimensions; empty ones are nobody's weight."""
    return {name: shape for name, shape in shapes.items() if len(shape) == rank and 0 not in shape}


def _clearly_other(slots: int, matched: int, present: int) -> bool:
    return matched < _CLEAR_SHARE * slots or present - matched > _EXTRA_SHARE * slots


def _find_classifier(family: Family, convs: dict[str, Shape], matrices: dict[str, Shape]) -> str | None:
    """The fully connected layer: a matrix, or as in Caffe one 1x1 convolution more than the family has."""
    if matrices:
        named = [name for name in matrices if _CLASSIFIER.search(name)]
        return (named or list(matrices))[-1]
    pointwise = [name for name, shape in convs.items() if shape[2:] == (1, 1)]
    usual = {"mobilenet_v1": 13, "resnext50": 36}[family]
    if len(pointwise) <= usual:
        return None
    named = [name for name in pointwise if _CLASSIFIER.search(name)]
    return (named or pointwise)[-1]


def _find_stem(family: Family, width: float, convs: dict[str, Shape]) -> str | None:
    """The first convolution. MobileNet's may look like the grouped layer after it; then the order tells."""
    skeleton = Architecture(family, (1,) * len(grouped_channels(family, width)), width)
    spec = layers(skeleton)[0]
    likely = [
        name
        for name, (out, _, *kernel) in convs.items()
        if out == spec.out_channels and kernel == [spec.kernel] * 2
    ]
    # A layer whose input does not divide its output cannot be a grouped one.
    certain = [name for name in likely if convs[name][0] % convs[name][1] or name.startswith("stem")]
    grouped = grouped_channels(family, width).count(spec.out_channels) if spec.kernel == 3 else 0
    return next(iter(certain), likely[0] if len(likely) > grouped else None)


def _match_by_name(slots: list[LayerSpec], convs: dict[str, Shape]) -> dict[str, str]:
    """Layer path -> tensor name where the names are ours; empty where they are not."""
    found = {slot.name: f"{slot.name}.weight" for slot in slots if _fits_name(slot, convs)}
    return found if len(found) >= _CLEAR_SHARE * len(slots) else {}


def _fits_name(slot: LayerSpec, convs: dict[str, Shape]) -> bool:
    shape = convs.get(f"{slot.name}.weight")
    return shape is not None and layer_fits(slot, shape)


def _match_by_shape(slots: list[LayerSpec], convs: dict[str, Shape], stem: str | None) -> dict[str, str]:
    """Layer path -> tensor name, layers of one shape in the order of the file."""
    found = {slots[0].name: stem} if stem else {}
    remaining = {name: shape for name, shape in convs.items() if name != stem}
    alike: dict[tuple[bool, Shape], list[LayerSpec]] = {}
    for slot in slots[1:]:
        shape = (slot.out_channels, slot.kernel) if slot.grouped else slot.weight_shape
        alike.setdefault((slot.grouped, shape), []).append(slot)
    for group in alike.values():
        names = [name for name, shape in remaining.items() if layer_fits(group[0], shape)]
        ordered = _order_shortcuts(group, names, slots, list(remaining.items()))
        found.update(zip((slot.name for slot in ordered), names, strict=False))
    return found


def _order_shortcuts(
    group: list[LayerSpec], names: list[str], slots: list[LayerSpec], convs: list[tuple[str, Shape]]
) -> list[LayerSpec]:
    """The layers of one shape in the file's order: past stage 0 a shortcut has the shape of `expand`."""
    shortcuts = [slot for slot in group if slot.name.endswith("shortcut.conv")]
    if len(shortcuts) != 1 or len(group) == 1 or not names:
        return group
    rest = [slot for slot in group if slot not in shortcuts]
    named = [index for index, name in enumerate(names) if _SHORTCUT.search(name)]
    if len(named) == 1:
        return [*rest[: named[0]], *shortcuts, *rest[named[0] :]]
    # No telling names: it comes first if it stands before the block's `reduce`, else after `expand` as ours
    # does.
    reduce_name = shortcuts[0].name.replace("shortcut", "reduce")
    reduce_shape = next(slot.weight_shape for slot in slots if slot.name == reduce_name)
    position = {name: index for index, (name, _) in enumerate(convs)}
    reduce_position = next((index for index, (_, shape) in enumerate(convs) if shape == reduce_shape), -1)
    return [*shortcuts, *rest] if position[names[0]] < reduce_position else group


def _layer_groups(slots: list[LayerSpec], found: dict[str, str], convs: dict[str, Shape]) -> tuple[int, ...]:
    """Groups of each grouped layer; where one is missing, what the rule of the others asks for."""
    sizes = [convs[found[s.name]][1] if s.name in found else None for s in slots if s.grouped]
    channels = [slot.out_channels for slot in slots if slot.grouped]
    known = [(size, count) for size, count in zip(sizes, channels, strict=True) if size]
    largest = max((size for size, _ in known), default=1)
    constant_size = all(size == min(largest, count) for size, count in known)
    usual = known[0][1] // known[0][0] if known else 1
    return tuple(
        count // (size or min(largest, count)) if size or constant_size else usual
        for size, count in zip(sizes, channels, strict=True)
    )
