"""The inspector's document is read in the forms of all versions, and whatever else it may hold does no harm."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.engines.tensorrt_cost import batch_of
from perframe.engines.tensorrt_inspector import Inspection, parse_inspection, read_inspection
from perframe.engines.tensorrt_lineage import engine_layers
from perframe.errors import InputError, PerframeError

CONVOLUTION = {
    "Name": "conv1 + relu1",
    "LayerType": "CaskConvolution",
    "ParameterType": "Convolution",
    "Kernel": [3, 3],
    "PaddingMode": "kEXPLICIT_ROUND_DOWN",
    "PrePadding": [1, 1],
    "PostPadding": [1, 1],
    "Stride": [2, 2],
    "Dilation": [1, 1],
    "OutMaps": 64,
    "Groups": 4,
    "Weights": {"Type": "Half", "Count": 4608},
    "Bias": {"Type": "Half", "Count": 64},
    "HasSparseWeights": 0,
    "Activation": "RELU",
    "TacticName": "ampere_h16816cudnn_128x128_ldg8_relu_exp_nhwc_tn_v1",
    "TacticValue": "0xe2222883a6602489",
}
FORMATS = {
    "8.x": {"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"},
    "10.x": {"Location": "Device", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"},
    "11.x": {
        "Location": "Device",
        "Format": "Channel major FP16 format where channel % 8 == 0",
        "Datatype": "Half",
    },
}


def document(version: str) -> dict[str, Any]:
    """One layer, as a version shows it."""
    layer = {
        **CONVOLUTION,
        "Inputs": [{"Name": "x", "Dimensions": [8, 32, 14, 14], **FORMATS[version]}],
        "Outputs": [{"Name": "y", "Dimensions": [8, 64, 7, 7], **FORMATS[version]}],
    }
    if version != "8.x":
        layer |= {
            "StreamId": 0,
            "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]",
            "HasDynamicFilter": 0,
        }
    if version != "11.x":
        return {"Layers": [layer], "Bindings": ["x", "y"]}
    tensors = [("x", "Input", [-1, 32, 14, 14]), ("y", "Output", [-1, 64, 7, 7])]
    return {
        "Layers": [layer],
        "I/O Tensors": [
            {
                "Name": name,
                "IOMode": mode,
                "DataType": "Half",
                "Dimensions": shape,
                "Location": "Device",
                "IsShapeInferenceIO": False,
                "ProfileInfo": [{"MinShape": shape, "OptShape": shape, "MaxShape": shape}],
            }
            for name, mode, shape in tensors
        ],
        "Engine Metadata": {"Multi-Device": "Disabled"},
    }


def parsed(raw: object) -> Inspection:
    return parse_inspection(json.dumps(raw), "engine")


@pytest.mark.parametrize("version", ["8.x", "10.x", "11.x"])
def test_every_version_says_the_same_of_one_layer(version: str) -> None:
    found = parsed(document(version))
    (layer,) = found.layers
    assert found.detailed
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in (*found.inputs, *found.outputs)] == [
        ("x", (8, 32, 14, 14), "fp16"),
        ("y", (8, 64, 7, 7), "fp16"),
    ]
    assert layer.convolution is not None
    assert (layer.convolution.kernel, layer.convolution.groups, layer.convolution.out_maps) == ((3, 3), 4, 64)
    assert (layer.convolution.stride, layer.convolution.padding) == ((2, 2), (2, 2))
    assert (layer.convolution.weights, layer.convolution.weights_dtype) == (4608, "fp16")
    assert layer.inputs[0].dtype == "fp16" and "Channel major" in str(layer.inputs[0].format)
    assert layer.tactic == CONVOLUTION["TacticName"] and layer.tactic_value == CONVOLUTION["TacticValue"]
    assert layer.stream == (None if version == "8.x" else 0)
    assert layer.onnx_nodes == (() if version == "8.x" else ("conv1", "relu1"))
    (described,) = engine_layers(found, batch=batch_of(found, "engine", None))
    assert described.macs == 7 * 7 * 4608
    assert (described.groups, described.group_size) == (4, 8)
    assert (described.module, described.kernel) == ("conv1", CONVOLUTION["TacticName"])


def test_an_engine_of_default_verbosity_has_names_only() -> None:
    found = parse_inspection(
        '{"Layers": ["Conv_0 + Relu_1"\n,"MaxPool_2"\n],\n"Bindings": ["x"\n,"y"\n]}', "e"
    )
    assert [layer.name for layer in found.layers] == ["Conv_0 + Relu_1", "MaxPool_2"]
    assert not found.detailed
    assert [layer.macs for layer in engine_layers(found)] == [None, None]
    with pytest.raises(PerframeError, match="--batch"):
        batch_of(found, "e", None)
    assert batch_of(found, "e", 4) == 4


def test_sizes_that_vary_take_the_batch_that_is_given() -> None:
    raw = document("10.x")
    layer = raw["Layers"][0]
    for tensor in (*layer["Inputs"], *layer["Outputs"]):
        tensor["Dimensions"][0] = -1
        tensor["Format/Datatype"] = "N/A due to dynamic shapes"
    found = parsed(raw)
    assert found.inputs[0].shape == (None, 32, 14, 14)
    assert found.inputs[0].dtype is None
    with pytest.raises(PerframeError, match="vary"):
        batch_of(found, "e", None)
    (described,) = engine_layers(found, batch=batch_of(found, "e", 16))
    assert described.macs == 7 * 7 * 4608


def test_a_batch_that_contradicts_the_engine_is_refused() -> None:
    with pytest.raises(PerframeError, match="the engine's batch is 8, found --batch 4"):
        batch_of(parsed(document("8.x")), "e", 4)


@pytest.mark.parametrize(
    ("metadata", "nodes"),
    [
        ("", ()),
        ("some other front end's text", ()),
        ("[ONNX Layer: a]", ("a",)),
        ("[ONNX Layer: a]\x1f[ONNX Layer: b]\x1e[ONNX Layer: c]", ("a", "b", "c")),
        ("[ONNX Layer: a][ONNX Layer: b]", ("a", "b")),
        ("[ONNX Layer: a[0]]\x1e[ONNX Layer: b]", ("a[0]", "b")),
    ],
)
def test_metadata_names_onnx_nodes_however_they_are_separated(metadata: str, nodes: tuple[str, ...]) -> None:
    (layer,) = parsed({"Layers": [{"Name": "l", "Metadata": metadata}]}).layers
    assert layer.onnx_nodes == nodes


def test_pooling_that_was_fused_behind_does_not_shrink_a_convolution() -> None:
    fused = {f"Conv{key}" if key in KEYS else key: value for key, value in CONVOLUTION.items()}
    layer = {
        **fused,
        "LayerType": "ConvActPool",
        "ParameterType": "ConvActPool",
        "PoolingWindowSize": [3, 3],
        "PoolingStride": [2, 2],
        "Inputs": [{"Name": "x", "Dimensions": [8, 32, 14, 14]}],
        "Outputs": [{"Name": "y", "Dimensions": [8, 64, 4, 4]}],
    }
    (described,) = engine_layers(parsed({"Layers": [layer], "Bindings": ["x", "y"]}), batch=8)
    assert described.macs == 7 * 7 * 4608
    assert described.output_activations == 64 * 7 * 7


KEYS = {
    "ParameterType", "Kernel", "PaddingMode", "PrePadding", "PostPadding", "Stride", "Dilation", "OutMaps",
    "Groups", "Weights", "Bias",
}  # fmt: skip


@pytest.mark.parametrize(
    ("operands", "macs", "params"),
    [
        (([8, 512], [512, 1000], [8, 1000]), 512 * 1000, 512 * 1000),
        (([8, 512], [1000, 512], [8, 1000]), 512 * 1000, 512 * 1000),
        (([512, 8], [512, 1000], [8, 1000]), 512 * 1000, 512 * 1000),
        (([8, 512], [256, 1000], [8, 1000]), None, None),
        (([8, 512], [512, 1000], [8, 10, 100]), None, None),
    ],
)
def test_a_matrix_product_is_counted_whichever_way_its_operands_lie(
    operands: tuple[list[int], ...], macs: int | None, params: int | None
) -> None:
    left, right, product = operands
    layer = {
        "Name": "/fc/Gemm_myl0_1",
        "LayerType": "gemm",
        "Inputs": [{"Name": "a", "Dimensions": left}, {"Name": "__mye519_dconst", "Dimensions": right}],
        "Outputs": [{"Name": "y", "Dimensions": product}],
        "Metadata": "[ONNX Layer: /fc/Gemm]",
    }
    (described,) = engine_layers(parsed({"Layers": [layer]}), batch=8)
    assert (described.macs, described.params, described.module) == (macs, params, "fc")


@pytest.mark.parametrize(
    "changed",
    [
        {"Kernel": "3x3"},
        {"Kernel": []},
        {"Groups": 0},
        {"Groups": None},
        {"OutMaps": -1, "Weights": {"Count": 10**30}},
        {"Weights": "Half"},
        {"Inputs": [{"Name": "x", "Dimensions": [8, 31, 14, 14]}]},
        {"Inputs": [{"Name": "x"}], "Weights": {}},
        {"Inputs": 5, "Outputs": None},
        {"Outputs": [{"Name": "y", "Dimensions": [8] * 99}], "Stride": [0, 0]},
    ],
)
def test_what_is_not_as_expected_counts_as_not_told(changed: dict[str, Any]) -> None:
    raw = document("8.x")
    raw["Layers"][0] |= changed
    (described,) = engine_layers(parsed(raw), batch=8)
    assert described.macs in (None, 7 * 7 * 4608)
    assert described.name == "conv1 + relu1"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a JSON document"),
        ('{"Layers": [{"Name": "conv1"', "not a JSON document"),
        ("[" * 100_000, "not a JSON document"),
        ('{"Layers": []}', "found none"),
        ('{"layer": 1}', "found no list"),
        ("17", "found no list"),
        ('{"Layers": [17]}', "found 17"),
        (json.dumps({"Layers": ["a"] * 20_001}), "at most 20000 layers, found 20001"),
        ('{"Layers": [{"LayerType": "NoOp"}]}', "expected a name"),
    ],
)
def test_what_is_no_inspectors_document_is_refused(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    path.write_text(text or "\n")
    with pytest.raises(InputError, match=word) as caught:
        read_inspection(path)
    assert str(path) in caught.value.message


def test_quotes_and_backslashes_that_were_not_escaped_are_read_as_they_are() -> None:
    text = (
        '{"Layers": [{\n  "Name": "C:\\models\\a "quoted" b",\n  "LayerType": "NoOp",\n  "Alpha": -nan\n}]}'
    )
    assert parse_inspection(text, "e").layers[0].name == 'C:\\models\\a "quoted" b'


def test_halves_of_characters_do_not_survive() -> None:
    (layer,) = parse_inspection('{"Layers": ["a\\ud800b"]}', "e").layers
    layer.name.encode("utf-8")


WORDS = st.sampled_from(
    [
        "Layers", "Name", "LayerType", "Inputs", "Outputs", "Dimensions", "Kernel", "Groups", "OutMaps", "Weights",
        "Count", "Type", "Stride", "PrePadding", "PaddingMode", "Metadata", "Bindings", "I/O Tensors", "IOMode",
        "Input", "gemm", "CaskConvolution", "Reformat", "kEXPLICIT", "[ONNX Layer: a]\x1e[ONNX Layer: b]", "x", "y",
        "Reformatting CopyNode for Input Tensor 0 to x", "PWN(PWN(a, b), c) + d", "{ForeignNode[a...b]}",
    ]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-1, 64)
    | st.floats()
    | WORDS
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)
TENSORS = st.lists(
    st.fixed_dictionaries({"Name": WORDS, "Dimensions": st.lists(st.integers(-1, 9), max_size=5) | VALUES}),
    max_size=3,
)
LAYERS = st.lists(
    st.fixed_dictionaries(
        {"Name": WORDS},
        optional={
            "LayerType": WORDS,
            "Inputs": TENSORS,
            "Outputs": TENSORS,
            "Kernel": st.lists(st.integers(0, 3), max_size=3) | VALUES,
            "Stride": VALUES,
            "Groups": st.integers(-1, 4),
            "OutMaps": st.integers(-1, 8),
            "Weights": st.fixed_dictionaries({"Count": st.integers(0, 600)}),
            "Metadata": WORDS,
        },
    )
    | VALUES,
    max_size=4,
)


@given(
    raw=st.fixed_dictionaries({"Layers": LAYERS}, optional={"Bindings": VALUES, "I/O Tensors": VALUES})
    | VALUES
)
def test_no_document_does_harm(raw: Any) -> None:
    try:
        found = parsed(raw)
        layers = engine_layers(found, batch=batch_of(found, "e", None))
    except PerframeError as error:
        assert "\n" not in error.message
    else:
        assert len(layers) == len(found.layers) == len({layer.name for layer in layers})


@given(at=st.floats(0, 1), cut=st.booleans(), junk=st.text(max_size=3))
def test_no_damage_to_a_document_does_harm(at: float, cut: bool, junk: str) -> None:
    text = json.dumps(document("10.x"), indent=1)
    where = int(at * len(text))
    try:
        found = parse_inspection(text[:where] + junk + ("" if cut else text[where + 1 :]), "e")
        engine_layers(found, batch=1)
    except InputError:
        pass
