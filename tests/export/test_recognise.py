import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perframe.errors import InputError
from perframe.export.architecture import Architecture, grouped_channels, layers, make_architecture
from perframe.export.networks import build_network
from perframe.export.recognise import recognise
from perframe.export.tensor_names import Shape

Shapes = dict[str, Shape]

_PUBLISHED = [
    *[("mobilenet_v1", "group_size", value) for value in (1, 2, 4, 8, 16, 32)],
    *[("mobilenet_v1", "groups", value) for value in (2, 4, 8, 16, 32)],
    *[("resnext50", "group_size", value) for value in (1, 2, 4, 8, 16, 32)],
    *[("resnext50", "groups", value) for value in (2, 4, 8, 16, 32)],
]


def _shapes(architecture: Architecture) -> Shapes:
    """The shapes of a state dict, from the table; `test_naming` does the same with files."""
    shapes: Shapes = {}
    for layer in layers(architecture):
        shapes[f"{layer.name}.weight"] = layer.weight_shape
        norm = [f"{layer.norm}.{role}" for role in ("weight", "bias", "running_mean", "running_var")]
        shapes |= dict.fromkeys(norm if layer.norm else ["fc.bias"], (layer.out_channels,))
    return shapes


def _stripped(shapes: Shapes) -> Shapes:
    return {f"t{index}": shape for index, shape in enumerate(shapes.values())}


def _alphabetical(shapes: Shapes) -> Shapes:
    return {name: shapes[name] for name in sorted(shapes)}


@pytest.mark.parametrize(("family", "rule", "value"), _PUBLISHED)
def test_all_22_configurations_are_recognised_without_names(family: str, rule: str, value: int) -> None:
    architecture = make_architecture(family, **{rule: value})
    with torch.device("meta"):
        state = build_network(architecture).state_dict()
    shapes = _stripped({name: tuple(tensor.shape) for name, tensor in state.items()})
    for given_order in (shapes, _alphabetical(shapes)):
        recognition = recognise(given_order)
        assert recognition.architecture == architecture
        expected = {name: f"t{index}" for index, name in enumerate(state) if "batches" not in name}
        assert recognition.assignment == expected


@given(
    st.sampled_from(["mobilenet-v1", "resnext50"]),
    st.floats(0.1, 2),
    st.integers(1, 2000),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=30, deadline=None)
def test_any_grouping_width_and_class_count_is_recognised(
    family: str, width: float, classes: int, in_channels: int, random: object
) -> None:
    base = make_architecture(family, groups=1, width=width, classes=classes, in_channels=in_channels)
    channels = grouped_channels(base.family, width)
    choice = random.choice  # type: ignore[attr-defined]
    groups = tuple(choice([g for g in range(1, count + 1) if count % g == 0]) for count in channels)
    architecture = Architecture(base.family, groups, width, classes, in_channels)
    found = recognise(_shapes(architecture)).architecture
    # Rounding hides the typed width: the one found gives the same channels.
    assert [layer.weight_shape for layer in layers(found)] == [
        layer.weight_shape for layer in layers(architecture)
    ]
    assert (found.layer_groups, found.classes, found.in_channels) == (groups, classes, in_channels)


def test_as_many_classes_as_channels_confuse_nothing() -> None:
    for family in ("mobilenet-v1", "resnext50"):
        architecture = make_architecture(family, group_size=8, classes=1024)
        assert recognise(_stripped(_shapes(architecture))).architecture == architecture


def test_a_grey_depthwise_network_has_a_stem_like_its_first_grouped_layer() -> None:
    architecture = make_architecture("mobilenet-v1", group_size=1, in_channels=1)
    for shapes in (
        _shapes(architecture),
        _stripped(_shapes(architecture)),
        _alphabetical(_shapes(architecture)),
    ):
        assert recognise(shapes).architecture == architecture


_DAMAGE = [
    ("blocks.3.grouped.conv.weight", None, "missing blocks.3.grouped.conv.weight", "(128, 8, 3, 3)"),
    ("blocks.8.pointwise.conv.weight", None, "missing blocks.8.pointwise.conv.weight", "(512, 512, 1, 1)"),
    ("stem.conv.weight", None, "missing stem.conv.weight", "(32, 3, 3, 3)"),
    ("stem.bn.running_var", None, "missing stem.bn.running_var", "(32,)"),
    ("fc.weight", None, "missing fc.weight", "(1000, 1024)"),
    ("fc.bias", None, "missing fc.bias", "(1000,)"),
    ("blocks.5.pointwise.conv.weight", (512, 255, 1, 1), "(512, 255, 1, 1)", "expected (512, 256, 1, 1)"),
    ("blocks.5.grouped.conv.weight", (256, 7, 3, 3), "(256, 7, 3, 3)", "expected (256, 8, 3, 3)"),
    ("blocks.5.grouped.bn.weight", (255,), "(255,)", "expected (256,)"),
    ("fc.bias", (999,), "(999,)", "expected (1000,)"),
    ("extra.weight", (3, 4), "extra", "(3, 4)"),
    ("blocks.2.grouped.se.weight", (8, 128, 1, 1), "extra", "(8, 128, 1, 1)"),
]


@pytest.mark.parametrize("stripped", [False, True], ids=["named", "stripped"])
@pytest.mark.parametrize(("name", "shape", "kind", "told"), _DAMAGE)
def test_a_damaged_tensor_is_named(
    name: str, shape: Shape | None, kind: str, told: str, stripped: bool
) -> None:
    shapes = _shapes(make_architecture("mobilenet-v1", group_size=8))
    if shape is None:
        del shapes[name]
    else:
        shapes[name] = shape
    with pytest.raises(InputError) as raised:
        recognise(_stripped(shapes) if stripped else shapes, "net.pth")
    message = raised.value.message
    assert message.startswith("net.pth: mostly mobilenet_v1-E2GC-G8, but ")
    assert told in message
    if not stripped:
        assert kind in message and "; " not in message


@pytest.mark.parametrize("block", range(13))
@pytest.mark.parametrize("part", ["grouped", "pointwise"])
def test_one_missing_convolution_is_located_without_names(block: int, part: str) -> None:
    shapes = _shapes(make_architecture("mobilenet-v1", group_size=8))
    del shapes[f"blocks.{block}.{part}.conv.weight"]
    with pytest.raises(InputError) as raised:
        recognise(_stripped(shapes))
    assert f"but missing blocks.{block}.{part}.conv.weight of shape" in raised.value.message
    assert "; " not in raised.value.message


def _torchvision_names(shapes: Shapes) -> Shapes:
    renamed = {}
    for name, shape in shapes.items():
        parts = {"reduce": "1", "grouped": "2", "expand": "3"}
        if name.startswith("stages"):
            _, stage, block, part, kind, role = name.split(".")
            layer = f"downsample.{0 if kind == 'conv' else 1}" if part == "shortcut" else kind + parts[part]
            name = f"layer{int(stage) + 1}.{block}.{layer}.{role}"
        else:
            name = name.replace("stem.conv", "conv1").replace("stem.bn", "bn1")
        renamed[name] = shape
    return renamed


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("layer3.2.conv2.weight", "missing stages.2.2.grouped.conv.weight (layer3.2.conv2.weight)"),
        ("layer3.5.conv3.weight", "missing stages.2.5.expand.conv.weight (layer3.5.conv3.weight)"),
        ("layer2.0.downsample.0.weight", "missing stages.1.0.shortcut.conv.weight of shape"),
        (
            "layer1.1.bn2.running_mean",
            "missing stages.0.1.grouped.bn.running_mean (layer1.1.bn2.running_mean)",
        ),
        ("layer1.1.bn2.bias", "missing stages.0.1.grouped.bn.bias (layer1.1.bn2.bias)"),
    ],
)
def test_a_missing_tensor_is_also_named_as_the_file_would(name: str, told: str) -> None:
    shapes = _torchvision_names(_shapes(make_architecture("resnext50", groups=32)))
    assert recognise(shapes).architecture.name == "resnext50-FgGC-g32"
    del shapes[name]
    with pytest.raises(InputError) as raised:
        recognise(shapes)
    assert told in raised.value.message and "; " not in raised.value.message


def test_biases_of_convolutions_are_extra_tensors() -> None:
    shapes = _torchvision_names(_shapes(make_architecture("resnext50", groups=32)))
    shapes["layer1.0.conv1.bias"] = (128,)
    with pytest.raises(InputError, match=r"but extra layer1\.0\.conv1\.bias of shape \(128,\)\."):
        recognise(shapes)


def test_a_network_of_neither_family_is_named_with_two_ways_on() -> None:
    with pytest.raises(InputError) as raised:
        recognise({"a.weight": (8, 3, 3, 3), "b.weight": (10, 8)}, "net.pth")
    assert raised.value.message.startswith("net.pth: neither MobileNet-V1 nor ResNeXt-50 but 1 convolution (")
    assert ".onnx" in raised.value.hint and "--factory package.module:callable" in raised.value.hint


@given(
    st.dictionaries(
        st.text(max_size=12),
        st.lists(st.integers(0, 70), max_size=5).map(tuple),
        max_size=12,
    )
)
@settings(deadline=None)
def test_arbitrary_tensors_are_an_input_error(shapes: Shapes) -> None:
    with pytest.raises(InputError):
        recognise(shapes)


def test_shapes_with_empty_tensors_are_an_input_error() -> None:
    shapes = _shapes(make_architecture("mobilenet-v1", group_size=8))
    shapes["blocks.0.grouped.conv.weight"] = (32, 0, 3, 3)
    with pytest.raises(InputError, match=r"blocks\.0\.grouped"):
        recognise(_stripped(shapes))
