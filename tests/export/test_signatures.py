import pytest

from perframe.export.signatures import describe
from perframe.export.tensor_names import Shape


def _norm(name: str, channels: int) -> dict[str, Shape]:
    return {f"{name}.{role}": (channels,) for role in ("weight", "bias", "running_mean", "running_var")}


def _resnet(
    blocks: tuple[int, ...], *, bottleneck: bool, classes: int = 1000, groups: int = 1, base: int = 64
) -> dict[str, Shape]:
    """Shapes of a ResNet, wide ResNet or ResNeXt as in their papers."""
    shapes: dict[str, Shape] = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64)}
    channels = 64
    for stage, number in enumerate(blocks):
        planes = 64 * 2**stage
        middle = planes * base // 64 * groups
        out = planes * 4 if bottleneck else planes
        for block in range(number):
            at = f"layer{stage + 1}.{block}"
            if bottleneck:
                convs = [(middle, channels, 1, 1), (middle, middle // groups, 3, 3), (out, middle, 1, 1)]
            else:
                convs = [(out, channels, 3, 3), (out, out, 3, 3)]
            if channels != out:
                convs.append((out, channels, 1, 1))
            for index, shape in enumerate(convs):
                shapes |= {f"{at}.conv{index}.weight": shape, **_norm(f"{at}.bn{index}", shape[0])}
            channels = out
    return {**shapes, "fc.weight": (classes, channels), "fc.bias": (classes,)}


def _vgg16(classes: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    channels = 3
    for index, out in enumerate((64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)):
        shapes |= {f"features.{index}.weight": (out, channels, 3, 3), f"features.{index}.bias": (out,)}
        channels = out
    for index, (out, features) in enumerate(((4096, 512 * 49), (4096, 4096), (classes, 4096))):
        shapes |= {f"classifier.{index}.weight": (out, features), f"classifier.{index}.bias": (out,)}
    return shapes


def _mobilenet_v2(classes: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {"stem.weight": (32, 3, 3, 3), **_norm("stem.bn", 32)}
    channels, index = 32, 0
    stages = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    for expansion, out, number in stages:
        for _ in range(number):
            hidden = channels * expansion
            convs = [(hidden, channels, 1, 1)] if expansion > 1 else []
            for shape in [*convs, (hidden, 1, 3, 3), (out, hidden, 1, 1)]:
                shapes |= {f"{index}.weight": shape, **_norm(f"{index}.bn", shape[0])}
                index += 1
            channels = out
    shapes |= {"head.weight": (1280, 320, 1, 1), **_norm("head.bn", 1280)}
    return {**shapes, "classifier.1.weight": (classes, 1280), "classifier.1.bias": (classes,)}


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (_resnet((2, 2, 2, 2), bottleneck=False, classes=10), "ResNet-18 (10 classes)"),
        (_resnet((3, 4, 6, 3), bottleneck=False), "ResNet-34 (1000 classes)"),
        (_resnet((3, 4, 6, 3), bottleneck=True, classes=37), "ResNet-50 (37 classes)"),
        (_resnet((3, 4, 23, 3), bottleneck=True), "ResNet-101 (1000 classes)"),
        (_resnet((3, 8, 36, 3), bottleneck=True), "ResNet-152 (1000 classes)"),
        (_resnet((3, 4, 23, 3), bottleneck=True, groups=32, base=8), "ResNeXt-101 32x8d (1000 classes)"),
        (_resnet((3, 4, 23, 3), bottleneck=True, groups=64, base=4), "ResNeXt-101 64x4d (1000 classes)"),
        (_resnet((3, 4, 23, 3), bottleneck=True, base=128), "Wide ResNet-101-2 (1000 classes)"),
        (_vgg16(100), "VGG-16 (100 classes)"),
        (_mobilenet_v2(5), "MobileNet-V2 (5 classes)"),
    ],
)
def test_known_networks_are_named_for_any_number_of_classes(shapes: dict[str, Shape], name: str) -> None:
    assert describe(shapes) == name


def test_an_unknown_network_is_described_by_what_it_is_made_of() -> None:
    shapes: dict[str, Shape] = {
        "a": (8, 3, 3, 3),
        "b": (8, 1, 3, 3),
        "c": (1_000_000, 8),
    }
    assert (
        describe(shapes) == "2 convolutions (1 of them depthwise), 1 fully connected layer, 8.0 M parameters"
    )
