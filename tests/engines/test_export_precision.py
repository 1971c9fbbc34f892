"""A network written in each precision is still the same network, and computes the same within what was promised."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from perframe.arrays import Array
from perframe.engines.base import BuildSpec, ModelInfo
from perframe.engines.convert import Conversion, convert, inspect_file, new_checkpoint
from perframe.engines.lower import CALIBRATION_KEY, PrecisionSpec
from perframe.engines.ort import OnnxRuntime
from perframe.engines.parity import LAYER_TOLERANCES, TOLERANCE, check_layers
from perframe.engines.prepare import build_engine, engine_for
from perframe.engines.running import running
from perframe.errors import BuildError, InputError, UnavailableError, UsageError
from perframe.export.architecture import layers, make_architecture
from perframe.export.cost import LayerCost
from perframe.export.onnx_model import open_onnx, resolve_input_shapes
from perframe.export.quantise import QUANTISED_KEY

SHAPE = (3, 64, 64)
NARROW = ("fp16", "bf16", "int8")
FORMS = {
    "mobilenet E2GC": ("mobilenet-v1", {"group_size": 4}),
    "resnext FgGC": ("resnext50", {"groups": 8}),
}


@pytest.fixture(scope="module")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(0).standard_normal((12, *SHAPE), np.float32))
    return path


@pytest.fixture(scope="module", params=FORMS, ids=list(FORMS))
def exports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, image_file: Path
) -> dict[str, Conversion]:
    """One network in all four precisions."""
    folder = tmp_path_factory.mktemp("exports")
    family, form = FORMS[request.param]
    new_checkpoint(family, folder / "n.pth", width=0.25, classes=10, input_shape=SHAPE, **form)
    fp32 = convert(folder / "n.pth", folder / "fp32.onnx", input_shape=SHAPE)
    return {"fp32": fp32} | {
        name: convert(fp32.model.path, folder / f"{name}.onnx", precision=spec(name, image_file))
        for name in NARROW
    }


def spec(name: str, images: Path) -> PrecisionSpec:
    return PrecisionSpec(name, images if name == "int8" else None)


def identity(model: ModelInfo) -> dict[str, object]:
    fields = dict(vars(model))
    return {name: value for name, value in fields.items() if name not in ("precision", "sha256", "quantised")}


def multiplying(costs: tuple[LayerCost, ...]) -> list[object]:
    return [(c.name, c.module, c.macs, c.params, c.groups, c.group_size) for c in costs if c.macs]


def test_every_precision_passes_parity_and_says_how(exports: dict[str, Conversion]) -> None:
    worst = {}
    for name, done in exports.items():
        assert done.precision == name
        assert done.parity is not None
        assert [each.batch for each in done.parity.differences] == [1, 3]
        assert (done.parity.seed is None) == (name == "int8")
        if name == "fp32":
            assert done.parity.tolerance == TOLERANCE
            assert done.parity.worst_layer is None
        else:
            assert done.parity.tolerance == LAYER_TOLERANCES[name]
            assert done.parity.worst_layer in {node.name for node in done.model.graph.node}
            worst[name] = done.parity.worst_layer_error or 0.0
    # A layer adds about as much as its type rounds off.
    assert 0.5 * 2**-11 < worst["fp16"] < 3 * 2**-11
    assert 0.5 * 2**-8 < worst["bf16"] < 3 * 2**-8
    assert 0.005 < worst["int8"] < 0.1


def test_it_is_still_the_same_network(exports: dict[str, Conversion]) -> None:
    found = {name: inspect_file(done.model.path) for name, done in exports.items()}
    assert [inspection.model.precision for inspection in found.values()] == ["fp32", *NARROW]
    for inspection in found.values():
        assert identity(inspection.model) == identity(found["fp32"].model)
        assert multiplying(inspection.costs) == multiplying(found["fp32"].costs)
        bias_params = [cost.bias_params for cost in inspection.costs if cost.macs]
        assert bias_params == [cost.bias_params for cost in found["fp32"].costs if cost.macs]
    assert found["fp32"].model.family != "other"
    # What was put between costs no MACs and belongs to a module of the network.
    modules = {cost.module for cost in found["fp32"].costs}
    for name in NARROW:
        assert {cost.module for cost in found[name].costs} == modules


def test_every_convolution_and_matrix_is_quantised(exports: dict[str, Conversion]) -> None:
    done = exports["int8"]
    weighted = [node.name for node in done.model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert list(done.quantised) == weighted
    assert done.unquantised == ()
    assert json.loads(done.model.metadata[QUANTISED_KEY]) == weighted
    assert done.model.metadata[CALIBRATION_KEY].startswith("entropy, 12 images, sha256 ")
    assert {len(each.quantised) for name, each in exports.items() if name != "int8"} == {0}


def test_onnx_runtime_runs_what_it_has_kernels_for(exports: dict[str, Conversion], tmp_path: Path) -> None:
    frames = np.random.default_rng(1).standard_normal((2, *SHAPE), np.float32)
    logits: dict[str, Array] = {}
    for name in ("fp32", "fp16", "int8"):
        session = onnxruntime.InferenceSession(
            str(exports[name].model.path), providers=["CPUExecutionProvider"]
        )
        logits[name] = session.run(None, {"input": frames})[0]
        assert logits[name].dtype == np.float32
    for name in ("fp16", "int8"):
        cosine = np.vdot(logits[name], logits["fp32"]) / (
            np.linalg.norm(logits[name]) * np.linalg.norm(logits["fp32"])
        )
        assert cosine > 0.8
    with pytest.raises(UnavailableError, match="has no kernel"):
        build_engine(exports["bf16"].model.path, tmp_path / "engine")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_steps_of_the_engine_lead_back_to_modules(
    exports: dict[str, Conversion], precision: str, tmp_path: Path
) -> None:
    model = exports[precision].model
    artifact = OnnxRuntime().build(model, BuildSpec(resolve_input_shapes(model, 1)), tmp_path / "engine")
    modules = {cost.module for cost in inspect_file(model.path).costs}
    weighted = {node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    assert {layer.module for layer in artifact.layers} <= modules
    assert sum(layer.macs or 0 for layer in artifact.layers) == artifact.model.macs
    owners = {layer.module: set(layer.onnx_nodes) & weighted for layer in artifact.layers if layer.macs}
    assert owners == {name: {name} for name in weighted}


def test_the_layers_in_int8_are_the_same_for_every_group_size(tmp_path: Path, image_file: Path) -> None:
    found = set()
    for size in (1, 8):
        new_checkpoint("mobilenet-v1", tmp_path / "n.pth", group_size=size, width=0.25, input_shape=SHAPE)
        done = convert(
            tmp_path / "n.pth",
            tmp_path / "n.onnx",
            input_shape=SHAPE,
            precision=PrecisionSpec("int8", image_file, "minmax"),
            parity=False,
        )
        found.add(done.quantised)
    architecture = make_architecture("mobilenet-v1", group_size=1)
    assert found == {tuple(layer.name for layer in layers(architecture))}


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_an_onnx_file_gives_what_its_checkpoint_gives(
    checkpoint: Path, onnx_file: Path, precision: str, image_file: Path, tmp_path: Path
) -> None:
    asked = spec(precision, image_file)
    ours = convert(checkpoint, tmp_path / "a.onnx", input_shape=SHAPE, precision=asked, parity=False)
    theirs = convert(onnx_file, tmp_path / "b.onnx", precision=asked)
    assert theirs.parity is not None
    assert ours.model.sha256 == theirs.model.sha256


def test_an_onnx_file_of_anyone(image_file: Path, tmp_path: Path) -> None:
    # No names, a fixed batch, an opset from before bf16, layers that cannot be int8.
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    m (float[2, 3, 64, 64] x) => (float[2, 3, 64, 64] y)
      <float[3, 1, 3, 3] w = {%s}, float[3, 4, 2, 2] v = {%s}, float[3, 4, 1, 1] u = {%s}>
    {
      a = Conv <group = 3, pads = [1, 1, 1, 1]> (x, w)
      b = Sigmoid(a)
      c = ConvTranspose <strides = [2, 2]> (b, v)
      d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
      y = Conv(d, u)
    }
    """
    random = np.random.default_rng(0)
    numbers = [", ".join(f"{v:.3f}" for v in random.standard_normal(count)) for count in (27, 48, 12)]
    path = tmp_path / "foreign.onnx"
    onnx.save(onnx.parser.parse_model(text % tuple(numbers)), str(path))
    for precision in NARROW:
        done = convert(path, tmp_path / "out.onnx", precision=spec(precision, image_file))
        assert done.parity is not None
        assert [each.batch for each in done.parity.differences] == [2]
    assert done.quantised == ("Conv_0", "Conv_4")
    assert done.unquantised == ("ConvTranspose_2",)
    assert any("ConvTranspose_2" in note for note in done.notes)


def overflowing(onnx_file: Path, path: Path) -> None:
    """The same function, but with activations that are too large for fp16 behind one layer."""
    model = onnx.load(str(onnx_file))
    for tensor in model.graph.initializer:
        factor = {"blocks.3.pointwise.conv": 1e5, "blocks.4.grouped.conv": 1e-5}
        for layer, by in factor.items():
            if tensor.name == f"{layer}.weight" or (by > 1 and tensor.name == f"{layer}.bias"):
                values = onnx.numpy_helper.to_array(tensor) * np.float32(by)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(path))


def test_an_overflow_of_fp16_is_found_and_bf16_has_none(onnx_file: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "large.onnx", tmp_path / "out.onnx"
    overflowing(onnx_file, source)
    with pytest.raises(BuildError, match=r"found inf.*diverges: blocks\.3\.pointwise\.conv") as caught:
        convert(source, out, precision=PrecisionSpec("fp16"))
    assert "bf16" in caught.value.hint
    assert not out.exists()
    assert convert(source, out, precision=PrecisionSpec("bf16")).parity is not None


def test_weights_that_rounding_took_away_are_told(onnx_file: Path, tmp_path: Path) -> None:
    model = onnx.load(str(onnx_file))
    for tensor in model.graph.initializer:
        if tensor.name == "fc.weight":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values.flat[:3], values.flat[3] = 1e-9, 1e6
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(tmp_path / "a.onnx"))
    done = convert(tmp_path / "a.onnx", tmp_path / "b.onnx", precision=PrecisionSpec("fp16"), parity=False)
    assert any("1 beyond its largest number" in note for note in done.notes)
    assert any(note.endswith("too small for it and now zero") for note in done.notes)


def spoilt(good: Path, path: Path, tensor: str, factor: float) -> None:
    """A copy in which one tensor is wrong by a factor."""
    model = onnx.load(str(good))
    for each in model.graph.initializer:
        if each.name == tensor:
            values = onnx.numpy_helper.to_array(each)
            each.CopyFrom(onnx.numpy_helper.from_array((values * factor).astype(values.dtype), tensor))
    onnx.save(model, str(path))


@pytest.mark.parametrize(
    ("precision", "tensor", "factor", "layer"),
    [
        ("int8", "blocks.5.grouped.conv.weight/scale", 2.0, "blocks.5.grouped.conv"),
        ("int8", "blocks.5.grouped.relu.out/scale", 0.25, "blocks.5.pointwise.conv"),
        # One in a hundred would drown in what the network makes of roundoff.
        ("fp16", "blocks.2.pointwise.conv.weight", 1.01, "blocks.2.pointwise.conv"),
    ],
)
def test_a_layer_that_is_wrong_is_named(
    onnx_file: Path,
    image_file: Path,
    tmp_path: Path,
    precision: str,
    tensor: str,
    factor: float,
    layer: str,
) -> None:
    good, wrong = tmp_path / "good.onnx", tmp_path / "wrong.onnx"
    convert(onnx_file, good, precision=spec(precision, image_file), parity=False)
    spoilt(good, wrong, tensor, factor)
    images = np.load(image_file) if precision == "int8" else None
    with running(onnx_file) as fp32, pytest.raises(BuildError, match=f"first layer that diverges: {layer}"):
        check_layers(wrong, onnx_file, precision, fp32.output, images=images)


def test_images_that_wake_nothing_are_refused(onnx_file: Path, tmp_path: Path) -> None:
    model = onnx.load(str(onnx_file))
    for tensor in model.graph.initializer:
        if tensor.name == "stem.conv.bias":
            values = np.full(tuple(tensor.dims), -1e3, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(tmp_path / "dead.onnx"))
    np.save(tmp_path / "i.npy", np.random.default_rng(0).random((2, *SHAPE), np.float32))
    with pytest.raises(InputError, match=r"'stem\.relu\.out' is zero everywhere"):
        convert(
            tmp_path / "dead.onnx", tmp_path / "o.onnx", precision=PrecisionSpec("int8", tmp_path / "i.npy")
        )


def test_accuracy_before_and_after(checkpoint: Path, image_file: Path, tmp_path: Path) -> None:
    images = np.load(image_file)
    np.savez(tmp_path / "l.npz", images=images, labels=np.arange(len(images)) % 10)
    done = convert(
        checkpoint,
        tmp_path / "a.onnx",
        input_shape=SHAPE,
        precision=PrecisionSpec("bf16"),
        labelled=tmp_path / "l.npz",
        parity=False,
    )
    assert done.accuracy is not None
    assert done.accuracy.exported.n == done.accuracy.reference.n == len(images)
    same = convert(checkpoint, tmp_path / "b.onnx", input_shape=SHAPE, labelled=tmp_path / "l.npz")
    assert same.accuracy is not None
    assert same.accuracy.agreement.value == 1.0
    assert same.accuracy.exported == same.accuracy.reference


def test_a_precision_that_contradicts_itself_is_refused(
    image_file: Path, onnx_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="came with none"):
        PrecisionSpec("int8")
    with pytest.raises(UsageError, match="--precision fp16 came with"):
        PrecisionSpec("fp16", image_file)
    with pytest.raises(UsageError, match="'int4'"):
        PrecisionSpec("int4")
    with pytest.raises(UsageError, match="nothing to export in fp32"):
        convert(onnx_file, tmp_path / "a.onnx")


def test_what_was_rounded_once_is_not_rounded_again(
    onnx_file: Path, image_file: Path, tmp_path: Path
) -> None:
    for name, found in (("fp16", "fp16"), ("bf16", "bf16"), ("int8", "a quantised one")):
        convert(onnx_file, tmp_path / "a.onnx", precision=spec(name, image_file), parity=False)
        with pytest.raises(InputError, match=f"expected an fp32 model, found {found}"):
            convert(tmp_path / "a.onnx", tmp_path / "b.onnx", precision=PrecisionSpec("fp16"))


def test_an_engine_is_made_in_the_precision_that_was_asked_for(
    checkpoint: Path, onnx_file: Path, image_file: Path, tmp_path: Path
) -> None:
    with engine_for(checkpoint, input_shapes=SHAPE, precision=spec("int8", image_file)) as artifact:
        assert artifact.model.precision == "int8"
    with engine_for(onnx_file, precision=PrecisionSpec("fp16")) as artifact:
        assert artifact.model.precision == "fp16"
    convert(onnx_file, tmp_path / "half.onnx", precision=PrecisionSpec("fp16"), parity=False)
    with engine_for(tmp_path / "half.onnx", precision=PrecisionSpec("fp16")) as artifact:
        assert artifact.model.precision == "fp16"
    build_engine(tmp_path / "half.onnx", tmp_path / "engine")
    with (
        pytest.raises(UsageError, match="built in fp16, asked for fp32"),
        engine_for(tmp_path / "engine", precision=PrecisionSpec()),
    ):
        pass


def test_a_model_too_large_for_the_tools_is_refused(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perframe.engines.lower.INLINE_LIMIT_BYTES", 1000)
    with pytest.raises(BuildError, match="GB of weights are too many"):
        convert(onnx_file, tmp_path / "a.onnx", precision=PrecisionSpec("fp16"))


def test_the_written_file_opens_as_any_other(exports: dict[str, Conversion]) -> None:
    for done in exports.values():
        assert open_onnx(done.model.path).sha256 == done.model.sha256
        assert done.model.inputs[0].dtype == done.model.outputs[0].dtype == "float32"
        assert done.model.inputs[0].shape[0] == "batch"
