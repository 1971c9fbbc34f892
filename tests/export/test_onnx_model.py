"""Opening ONNX files: what is accepted, what is refused, and the shapes of inputs."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from perframe.errors import InputError, PerframeError, UsageError
from perframe.export.onnx_model import (
    OnnxModel,
    fixed_batch,
    open_onnx,
    parse_input_shapes,
    resolve_input_shapes,
)

HEADER = '<ir_version: 8, opset_import: ["" : 18], producer_name: "tests", producer_version: "1">'
SMALL = f"""{HEADER}
main (float[batch, 3, 8, 8] image) => (float[batch, 4, 6, 6] y)
<float[4, 3, 3, 3] w>
{{ y = Conv (image, w) }}"""


def small_model() -> onnx.ModelProto:
    model = parser.parse_model(SMALL)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w"))
    del model.graph.value_info[:]
    return model


def saved(tmp_path: Path, model: onnx.ModelProto | str | bytes, name: str = "model.onnx") -> Path:
    path = tmp_path / name
    if isinstance(model, str):
        model = parser.parse_model(model)
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def external_model(location: str, *, offset: int = 0, length: int | None = None) -> onnx.ModelProto:
    model = small_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset)}
    if length is not None:
        entries["length"] = str(length)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


def opened(tmp_path: Path, signature: str) -> OnnxModel:
    """A model with the given inputs."""
    return open_onnx(saved(tmp_path, f"{HEADER} main ({signature}) => (float[N] y) {{ y = Identity (x) }}"))


def test_describes_the_model(tmp_path: Path) -> None:
    model = small_model()
    model.metadata_props.add(key="perframe.model", value="x")
    path = saved(tmp_path, model)
    opened = open_onnx(path)
    assert opened.path == path
    assert opened.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert opened.size_bytes == path.stat().st_size
    assert [(i.name, i.dtype, i.shape) for i in opened.inputs] == [("image", "float32", ("batch", 3, 8, 8))]
    assert [(o.name, o.shape) for o in opened.outputs] == [("y", ("batch", 4, 6, 6))]
    assert (opened.opset, opened.producer, opened.metadata) == (18, "tests 1", {"perframe.model": "x"})


def test_weights_are_no_inputs_even_where_old_files_list_them(tmp_path: Path) -> None:
    model = small_model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    assert [info.name for info in open_onnx(saved(tmp_path, model)).inputs] == ["image"]


def test_large_values_are_let_go_of_and_small_ones_kept(tmp_path: Path) -> None:
    model = parser.parse_model(
        f"{HEADER} main (float[N, 2000] x) => (float[N, 50, 40] z) {{\n"
        "  y = Add (x, big)\n  c = Constant <value_ints = [0]> ()\n  z = Reshape (y, shape)\n}"
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.ones((1, 2000), np.float32), "big"),
            numpy_helper.from_array(np.array([0, 50, 40]), "shape"),
        ]
    )
    path = saved(tmp_path, model)
    graph = open_onnx(path).graph
    assert graph.ByteSize() < path.stat().st_size - 8000 + 100
    assert [list(tensor.dims) for tensor in graph.initializer] == [[1, 2000], [3]]
    assert numpy_helper.to_array(graph.initializer[1]).tolist() == [0, 50, 40]


def test_large_constant_nodes_are_let_go_of_too(tmp_path: Path) -> None:
    model = parser.parse_model(f"{HEADER} main (float[N, 2000] x) => (float[N, 2000] z) {{ z = Add (x, c) }}")
    values = numpy_helper.from_array(np.ones(2000, np.float32))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=values))
    assert open_onnx(saved(tmp_path, model)).graph.ByteSize() < 500


@pytest.mark.parametrize(
    "content",
    [
        b"not a model, just some text\n" * 20,
        b"PK\x03\x04" + bytes(200),
        np.random.default_rng(0).bytes(4096),
        onnx.ModelProto(ir_version=8).SerializeToString(),
        small_model().SerializeToString()[:-40],
    ],
    ids=["text", "zip", "random", "no graph", "truncated"],
)
def test_what_is_not_onnx_is_bad_input(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="expected an ONNX model") as caught:
        open_onnx(saved(tmp_path, content))
    assert "perframe export" in caught.value.hint


def test_every_truncation_is_bad_input(tmp_path: Path) -> None:
    content = small_model().SerializeToString()
    for length in range(1, len(content)):
        with pytest.raises(InputError):
            open_onnx(saved(tmp_path, content[:length]))


def test_missing_empty_and_directory(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    for path in (tmp_path / "missing.onnx", tmp_path / "empty.onnx", tmp_path):
        with pytest.raises(InputError):
            open_onnx(path)


@pytest.mark.parametrize(
    "text",
    [
        "main (float[N] x) => (float[N] y) { y = Relu (absent) }",
        "main (float[N] x) => (float[N] y) { y = Relu (z) z = Relu (y) }",
        "main (float[N] x) => (float[N] y) { y = Relu (x) y = Abs (x) }",
        "main (float[N] x) => (float[N] y) { y = Nonsense (x) }",
        "main (float[N] x) => (float[N] y) { y = absent.domain.Relu (x) }",
        "main (float[N] x) => () { y = Relu (x) }",
        "main () => (float[1] y) { y = Constant <value = float[1] {1.0}> () }",
        "main (seq(float[N]) x) => (float[N] y) { y = ConcatFromSequence <axis = 0> (x) }",
    ],
    ids=["dangling", "cycle", "duplicate", "operator", "domain", "no output", "no input", "sequence"],
)
def test_broken_graphs_are_bad_input(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        open_onnx(saved(tmp_path, f"{HEADER} {text}"))


@pytest.mark.parametrize("field", ["shape", "type"])
def test_outputs_need_no_stated_type_as_in_the_runtime(tmp_path: Path, field: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = small_model()
    output = model.graph.output[0]
    (output if field == "type" else output.type.tensor_type).ClearField(field)
    path = saved(tmp_path, model)
    (expected,) = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_outputs()
    (found,) = open_onnx(path).outputs
    assert (found.name, found.dtype, list(found.shape)) == ("y", "float32", expected.shape)


def test_output_of_unknown_rank_has_no_dimensions_and_of_unknown_type_is_named(tmp_path: Path) -> None:
    text = "main (float[N, 4] x) => (float[M] y) { y = other.Something (x) }"
    header = HEADER.replace('"" : 18', '"" : 18, "other" : 1')
    model = parser.parse_model(f"{header} {text}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert open_onnx(saved(tmp_path, model)).outputs[0].shape == ()
    model.graph.output[0].type.tensor_type.ClearField("elem_type")
    with pytest.raises(InputError, match="'y' has the unknown data type 0"):
        open_onnx(saved(tmp_path, model))
    model.graph.output[0].ClearField("type")
    with pytest.raises(InputError, match="'y' is expected to be a tensor, found no type"):
        open_onnx(saved(tmp_path, model))


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("shape", "input 'image' is expected to have a shape, found none"),
        ("elem_type", "'image' has the unknown data type 0"),
        ("type", "'image' is expected to be a tensor, found no type"),
    ],
)
def test_inputs_need_a_stated_type_and_are_named(tmp_path: Path, field: str, says: str) -> None:
    model = small_model()
    value = model.graph.input[0]
    (value if field == "type" else value.type.tensor_type).ClearField(field)
    with pytest.raises(InputError, match=says):
        open_onnx(saved(tmp_path, model))


def test_operators_of_other_domains_are_tolerated(tmp_path: Path) -> None:
    header = HEADER.replace('"" : 18', '"" : 18, "com.microsoft" : 1, "com.microsoft.nchwc" : 1')
    text = (
        "main (float[N] x) => (float[N] y) { z = com.microsoft.Gelu (x) y = com.microsoft.nchwc.MaxPool (z) }"
    )
    assert open_onnx(saved(tmp_path, f"{header} {text}")).outputs[0].name == "y"


def test_weights_shorter_than_their_shape_are_bad_input(tmp_path: Path) -> None:
    model = small_model()
    model.graph.initializer[0].raw_data = bytes(100)
    with pytest.raises(InputError, match="'w' expected 432 bytes of values, found 100"):
        open_onnx(saved(tmp_path, model))


def test_external_data_beside_the_model_counts(tmp_path: Path) -> None:
    path = saved(tmp_path, external_model("sub/weights.bin", offset=8, length=432))
    data = tmp_path / "sub" / "weights.bin"
    data.parent.mkdir()
    data.write_bytes(bytes(440))
    first = open_onnx(path)
    assert first.size_bytes == path.stat().st_size + 440
    data.write_bytes(bytes(432) + b"\1" * 8)
    second = open_onnx(path)
    assert len(first.sha256) == 64 and first.sha256 != second.sha256
    values = numpy_helper.to_array(second.graph.initializer[0])
    assert values.ravel()[-1] == struct.unpack("<f", b"\1" * 4)[0]


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../weights.bin",
        "a/../../weights.bin",
        "..\\weights.bin",
        "C:\\weights.bin",
        "",
        "a\0b",
        ".",
    ],
)
def test_external_data_that_leaves_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(432))
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(InputError, match="tensor 'w'"):
        open_onnx(saved(folder, external_model(location)))


def test_external_data_behind_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(432))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "file").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    for location in ("file", "up/secret"):
        with pytest.raises(InputError, match="link that leaves") as caught:
            open_onnx(saved(folder, external_model(location)))
        assert location in caught.value.message


@pytest.mark.parametrize(
    ("offset", "length", "says"),
    [
        (0, None, "found 436"),
        (8, 432, "436 bytes where"),
        (-4, 432, "where byte -4"),
        (0, 10**30, "where byte"),
    ],
)
def test_external_data_of_the_wrong_size_is_refused(
    tmp_path: Path, offset: int, length: int | None, says: str
) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(436))
    with pytest.raises(InputError, match=says):
        open_onnx(saved(tmp_path, external_model("weights.bin", offset=offset, length=length)))


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'w' lie in 'weights.bin', which is missing"):
        open_onnx(saved(tmp_path, external_model("weights.bin")))


def test_symbolic_first_dimension_is_the_batch(tmp_path: Path) -> None:
    model = opened(tmp_path, "float[N, 3, 224, 224] x, float[1, 2] scale")
    assert fixed_batch(model) is None
    assert resolve_input_shapes(model, 16) == {"x": (16, 3, 224, 224), "scale": (1, 2)}


def test_fixed_batch_takes_no_other(tmp_path: Path) -> None:
    model = opened(tmp_path, "float[1, 3, 224, 224] x")
    assert fixed_batch(model) == 1
    assert resolve_input_shapes(model, 1) == {"x": (1, 3, 224, 224)}
    with pytest.raises(UsageError, match="the model's batch is fixed at 1"):
        resolve_input_shapes(model, 4)


def test_symbolic_sizes_need_an_override_and_the_hint_shows_it(tmp_path: Path) -> None:
    model = opened(tmp_path, "float[N, 3, H, W] x")
    with pytest.raises(InputError, match="H, W") as caught:
        resolve_input_shapes(model, 1)
    assert "--input 3x224x224" in caught.value.hint
    assert resolve_input_shapes(model, 2, (3, 160, 96)) == {"x": (2, 3, 160, 96)}
    assert resolve_input_shapes(model, 2, {"x": (3, 160, 96)}) == {"x": (2, 3, 160, 96)}


def test_several_inputs_need_overrides_by_name(tmp_path: Path) -> None:
    model = opened(tmp_path, "float[N, 3, H, W] x, int64[N, T] tokens")
    with pytest.raises(InputError) as missing:
        resolve_input_shapes(model, 1, {"tokens": (9,)})
    assert "--input x:3x224x224" in missing.value.hint
    with pytest.raises(UsageError, match="by name"):
        resolve_input_shapes(model, 1, (3, 224, 224))
    given = {"x": (3, 8, 8), "tokens": (9,)}
    assert resolve_input_shapes(model, 5, given) == {"x": (5, 3, 8, 8), "tokens": (5, 9)}


@pytest.mark.parametrize("override", [(3, 200, 224), (1, 3, 224, 224), (224,)])
def test_override_against_the_model_says_expected_and_found(
    tmp_path: Path, override: tuple[int, ...]
) -> None:
    model = opened(tmp_path, "float[N, 3, 224, W] x")
    with pytest.raises(UsageError, match=r"expected 3x224xW, found"):
        resolve_input_shapes(model, 1, override)


def test_unknown_input_name_and_impossible_batch(tmp_path: Path) -> None:
    model = opened(tmp_path, "float[N, 3] x")
    with pytest.raises(UsageError, match="no input 'y'"):
        resolve_input_shapes(model, 1, {"y": (3,)})
    for batch in (0, -1):
        with pytest.raises(UsageError, match="at least 1"):
            resolve_input_shapes(model, batch)


def test_input_flags() -> None:
    assert parse_input_shapes([]) is None
    assert parse_input_shapes(["3x224x224"]) == (3, 224, 224)
    assert parse_input_shapes(["128"]) == (128,)
    assert parse_input_shapes(["serving:x:0:3x8x8", "b:9"]) == {"serving:x:0": (3, 8, 8), "b": (9,)}


@pytest.mark.parametrize(
    "texts",
    [
        *([""], ["x"], ["3x"], ["3x0x4"], ["3x-2"], ["3,224,224"], ["3x2.5"], [":3x4"], ["x:"], ["٣x٤"]),
        *(["3x4", "3x4"], ["a:3", "a:4"], ["a:3", "4"], ["4", "a:3"]),
    ],
)
def test_malformed_input_flags_are_usage_errors(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--input"):
        parse_input_shapes(texts)


def test_random_damage_never_escapes_as_another_error(tmp_path: Path) -> None:
    content = bytearray(small_model().SerializeToString())
    generator = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(content)
        for position in generator.integers(0, len(content), 3):
            damaged[position] = generator.integers(0, 256)
        try:
            open_onnx(saved(tmp_path, bytes(damaged)))
        except PerframeError:
            continue
