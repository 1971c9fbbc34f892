"""Building with TensorRT-RTX, which needs no GPU: real engines, real refusals."""

import _thread
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from perframe.engines.artifact import read_artifact
from perframe.engines.base import BuildSpec, EngineArtifact, TensorRtOptions
from perframe.engines.convert import convert
from perframe.engines.cuda import DeviceIdentity
from perframe.engines.lower import PrecisionSpec
from perframe.engines.prepare import build_engine, engines_for
from perframe.engines.registry import backend_named
from perframe.engines.tensorrt_layers import opened_layers
from perframe.engines.tensorrt_library import TensorRtLibrary, tensorrt_library
from perframe.engines.tensorrt_load import require_gpu, require_version
from perframe.engines.tensorrt_timing import kept_timings
from perframe.errors import BuildError, InputError, UnavailableError, UsageError
from perframe.export.onnx_model import open_onnx, resolve_input_shapes

pytestmark = pytest.mark.tensorrt


@pytest.fixture(scope="module")
def library() -> TensorRtLibrary:
    try:
        return tensorrt_library("tensorrt-rtx")
    except UnavailableError as error:
        pytest.skip(error.message)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: TensorRtLibrary) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def build(model: Path, folder: Path, *batches: int, **options: object) -> EngineArtifact:
    spec = TensorRtOptions(**options)  # type: ignore[arg-type]
    return build_engine(model, folder / "engine", engine="tensorrt-rtx", batches=batches, tensorrt=spec)


def written(text: str, path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


def test_an_engine_is_built_for_one_batch_size(onnx_file: Path, tmp_path: Path) -> None:
    artifact = build(onnx_file, tmp_path, 4)
    assert artifact == read_artifact(tmp_path / "engine")
    assert (artifact.backend, artifact.device, artifact.batches) == ("tensorrt-rtx", "cuda:0", (4,))
    assert artifact.inputs[0].shape == (4, 3, 64, 64)
    assert artifact.outputs[0].shape == (4, 10)
    assert artifact.input_shapes == {"input": (1, 3, 64, 64)}
    # It is bound to no GPU, and tells its steps when it is opened.
    assert (artifact.gpu, artifact.layers) == (None, ())


def test_or_one_for_several(onnx_file: Path, tmp_path: Path) -> None:
    artifact = build(onnx_file, tmp_path, 8, 1)
    assert artifact.batches == (1, 8)
    assert not isinstance(artifact.inputs[0].shape[0], int)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_precision_is_what_the_model_says(onnx_file: Path, tmp_path: Path, precision: str) -> None:
    model = onnx_file
    if precision != "fp32":
        images = tmp_path / "images.npy"
        np.save(images, np.random.default_rng(0).standard_normal((8, 3, 64, 64), dtype=np.float32))
        model = tmp_path / "model.onnx"
        spec = PrecisionSpec(precision, images if precision == "int8" else None)
        convert(onnx_file, model, precision=spec, parity=False)
    artifact = build(model, tmp_path, 1)
    assert artifact.model.precision == precision
    assert artifact.path.stat().st_size > 10_000


def test_options_reach_the_sidecar_and_targets_the_engine(onnx_file: Path, tmp_path: Path) -> None:
    one = build(onnx_file, tmp_path, 1, targets=("8.6",), workspace_bytes=1 << 28, optimization_level=1)
    assert one.tensorrt == TensorRtOptions(workspace_bytes=1 << 28, optimization_level=1, targets=("8.6",))
    size = one.path.stat().st_size
    two = build(
        onnx_file, tmp_path, 1, targets=("8.6", "12.0"), workspace_bytes=1 << 28, optimization_level=1
    )
    assert two.path.stat().st_size > size


def test_an_opened_engine_is_led_back_without_the_onnx_file(onnx_file: Path, tmp_path: Path) -> None:
    artifact = build(onnx_file, tmp_path, 4)
    names = [node.name for node in open_onnx(onnx_file).graph.node]
    metadata = "\\u001e".join(f"[ONNX Layer: {name}]" for name in names[:-1])
    layers = opened_layers(
        artifact,
        '{"Layers": [{"Name": "kernel0", "LayerType": "kgen", "Metadata": "%s"},' % metadata  # noqa: UP031
        + '{"Name": "kernel1", "LayerType": "gemm", "Metadata": "[ONNX Layer: %s]"}]}' % names[-1],  # noqa: UP031
    )
    assert [layer.name for layer in layers] == ["kernel0", "kernel1"]
    assert sum(layer.macs or 0 for layer in layers) == artifact.model.macs
    assert layers[1].module == "fc"
    with pytest.raises(InputError, match="damaged"):
        opened_layers(replace(artifact, source="AAAA"), "{}")


def test_modules_stand_in_the_engine(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N,4,8,8] x) => (float[N,4,8,8] y) { y = Relu(x) }"""
    model = onnx.parser.parse_model(text)
    model.graph.node[0].name = "/stem/act/Relu"
    onnx.save(model, str(tmp_path / "m.onnx"))
    artifact = build(tmp_path / "m.onnx", tmp_path, 1)
    assert b"[ONNX Layer: /stem/act/Relu]\x1f[Module: stem.act]" in artifact.path.read_bytes()


def test_the_weights_in_the_engine_are_the_models(onnx_file: Path, tmp_path: Path) -> None:
    # They belong to the parser, and would be anything if that went before the build.
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(onnx_file)).graph.initializer}
    plan = build(onnx_file, tmp_path, 1).path.read_bytes()
    kept = [name for name, values in weights.items() if values.size > 256 and values.tobytes() in plan]
    assert len(kept) >= 10


def test_the_build_tells_how_far_it_is(onnx_file: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    build_engine(
        onnx_file,
        tmp_path / "e",
        engine="tensorrt-rtx",
        progress=lambda what, done: told.append((what, done)),
    )
    fractions = [done for _, done in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0 and 0.5 < fractions[-1] <= 1.0
    assert "optimizing graph" in {what for what, _ in told}


def test_ctrl_c_ends_the_build(onnx_file: Path, tmp_path: Path) -> None:
    told: list[float] = []

    def interrupt(what: str, done: float) -> None:
        told.append(done)
        if len(told) == 10:
            _thread.interrupt_main()
            time.sleep(0.5)  # the build goes on meanwhile, as a long one would

    with pytest.raises(KeyboardInterrupt):
        build_engine(onnx_file, tmp_path / "e", engine="tensorrt-rtx", progress=interrupt)
    assert max(told) < 0.8
    assert not (tmp_path / "e").exists()


def test_the_runtimes_log_is_pythons(
    onnx_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "perframe.tensorrt"):
        build(onnx_file, tmp_path, 1)
    assert {"DEBUG", "INFO"} <= {record.levelname for record in caplog.records}
    assert any("Engine generation completed" in record.message for record in caplog.records)


class TestRefusals:
    def test_an_operator_that_is_not_supported_is_named_with_its_node(self, tmp_path: Path) -> None:
        text = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[N,4,8,8] x) => (float[N,4,8,8] y) { t = Relu(x) [odd] y = my.Funny(t) }"""
        with pytest.raises(BuildError, match=r"does not take node 'odd' \(Funny\).*Plugin not found"):
            build(written(text, tmp_path / "m.onnx"), tmp_path, 1)

    def test_types_that_do_not_go_together_are_the_nodes(self, tmp_path: Path) -> None:
        text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[N,4,8,8] x) => (float[N,4,8,8] y) { c = Cast<to=10>(x) [sum] y = Add(x, c) }"""
        with pytest.raises(BuildError, match=r"node 'sum' \(Add\).*Float and Half") as error:
            build(written(text, tmp_path / "m.onnx"), tmp_path, 1)
        # What it would only say on a machine without a GPU is left out.
        assert "CUDA" not in error.value.message

    def test_a_precision_that_the_device_does_not_have(self, onnx_file: Path, tmp_path: Path) -> None:
        with pytest.raises(
            BuildError, match=r"cannot build it at node 'fc'.*FP32 GEMM is not supported"
        ) as error:
            build(onnx_file, tmp_path, 1, targets=("7.5",))
        assert "--precision" in error.value.hint

    @pytest.mark.parametrize("target", ["9.9", "86", "", "newest"])
    def test_an_unknown_target(self, onnx_file: Path, tmp_path: Path, target: str) -> None:
        with pytest.raises(UsageError, match=f"--target {target}") as error:
            build(onnx_file, tmp_path, 1, targets=(target,))
        assert "8.6, 8.9, 12.0" in error.value.hint

    @pytest.mark.parametrize("option", ["version_compatible", "hardware_compatible"])
    def test_options_of_the_other_tensorrt(self, onnx_file: Path, tmp_path: Path, option: str) -> None:
        with pytest.raises(UsageError, match="not an option of TensorRT-RTX"):
            build(onnx_file, tmp_path, 1, **{option: True})

    def test_a_dla(self, onnx_file: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--dla-core"):
            build(onnx_file, tmp_path, 1, dla_core=0)

    def test_devices_providers_and_threads(self, onnx_file: Path, tmp_path: Path) -> None:
        out = tmp_path / "e"
        with pytest.raises(UsageError, match="does not run on device 'cpu'"):
            build_engine(onnx_file, out, engine="tensorrt-rtx", device="cpu")
        with pytest.raises(UsageError, match="--threads"):
            build_engine(onnx_file, out, engine="tensorrt-rtx", threads=2)
        with pytest.raises(UsageError, match="--provider"):
            build_engine(onnx_file, out, engine="tensorrt-rtx", provider="cuda")

    def test_tensorrts_options_for_another_engine(self, onnx_file: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="takes no options of TensorRT"):
            build_engine(onnx_file, tmp_path / "e", tensorrt=TensorRtOptions(tf32=True))

    def test_opening_without_a_gpu(self, onnx_file: Path, tmp_path: Path) -> None:
        artifact = build(onnx_file, tmp_path, 1)
        backend = backend_named("tensorrt-rtx")  # it can be used: it builds
        try:
            with backend.open(artifact):
                pytest.skip("there is a GPU")
        except UnavailableError as error:
            assert error.hint

    def test_a_name_that_is_not_text(self, onnx_file: Path, tmp_path: Path) -> None:
        model = tmp_path / "\udcff.onnx"
        model.write_bytes(onnx_file.read_bytes())
        with pytest.raises(InputError, match="UTF-8"):
            build(model, tmp_path, 1)


class TestCache:
    def test_the_same_is_not_built_twice(self, onnx_file: Path, tmp_path: Path) -> None:
        told: list[str] = []
        spec = BuildSpec(resolve_input_shapes(open_onnx(onnx_file), 1), device="cuda:0")
        backend = backend_named("tensorrt-rtx")
        first = backend.build(open_onnx(onnx_file), spec, tmp_path / "one")
        again = backend.build(open_onnx(onnx_file), spec, tmp_path / "two", lambda what, _: told.append(what))
        assert replace(again, path=first.path) == first
        assert again == read_artifact(tmp_path / "two")
        assert told == []

    @pytest.mark.parametrize(
        "change",
        [
            {"batches": (2,)},
            {"tensorrt": TensorRtOptions(tf32=True)},
            {"rebuild": 1},
            {"cache": False},
            {"input_shapes": {"input": (1, 3, 96, 96)}},
        ],
        ids=str,
    )
    def test_something_else_is(self, tmp_path: Path, change: dict[str, object]) -> None:
        text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[N,3,H,W] input) => (float[N,3,H,W] y) { y = Relu(input) }"""
        model = open_onnx(written(text, tmp_path / "m.onnx"))
        spec = BuildSpec({"input": (1, 3, 64, 64)}, device="cuda:0")
        backend = backend_named("tensorrt-rtx")
        backend.build(model, spec, tmp_path / "one")
        told: list[str] = []
        changed = replace(spec, **change)  # type: ignore[arg-type]
        backend.build(model, changed, tmp_path / "two", lambda what, _: told.append(what))
        assert told

    def test_a_kept_engine_that_was_tampered_with_is_not_taken(self, onnx_file: Path, tmp_path: Path) -> None:
        build(onnx_file, tmp_path, 1)
        (kept,) = (tmp_path / "cache").rglob("engine")
        kept.write_bytes(b"something that runs code")
        artifact = build(onnx_file, tmp_path, 1)
        assert read_artifact(artifact.path).sha256 == artifact.sha256
        assert kept.read_bytes() == artifact.path.read_bytes()

    def test_a_cache_that_cannot_be_written_is_done_without(
        self, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert read_artifact(build(onnx_file, tmp_path, 1).path)

    def test_an_unrecognised_network_is_called_as_its_file_is_now(self, tmp_path: Path) -> None:
        text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }"""
        assert build(written(text, tmp_path / "one.onnx"), tmp_path, 1).model.name == "one"
        assert build(written(text, tmp_path / "two.onnx"), tmp_path, 1).model.name == "two"


class TestEnginesFor:
    def test_one_engine_per_batch_size(self, onnx_file: Path) -> None:
        with engines_for(onnx_file, engine="tensorrt-rtx", batches=(1, 4)) as made:
            assert {batch: [a.batches for a in built] for batch, built in made.by_batch.items()} == {
                1: [(1,)],
                4: [(4,)],
            }
            assert made.by_batch[1][0].path != made.by_batch[4][0].path

    def test_or_one_for_all(self, onnx_file: Path) -> None:
        with engines_for(onnx_file, engine="tensorrt-rtx", batches=(1, 4), dynamic=True) as made:
            assert made.by_batch[1] == made.by_batch[4]
            assert made.by_batch[1][0].batches == (1, 4)

    def test_rebuilds_are_engines_of_their_own(self, onnx_file: Path) -> None:
        with engines_for(onnx_file, engine="tensorrt-rtx", batches=(1,), rebuilds=3) as made:
            assert [artifact.rebuild for artifact in made.by_batch[1]] == [0, 1, 2]
            assert len({artifact.path for artifact in made.by_batch[1]}) == 3

    def test_a_runtime_that_does_not_tune_has_one(self, onnx_file: Path) -> None:
        with engines_for(onnx_file, batches=(1, 4)) as made:
            assert made.by_batch[1] == made.by_batch[4]
        with (
            pytest.raises(UsageError, match="do not differ"),
            engines_for(onnx_file, batches=(1,), rebuilds=2),
        ):
            pass

    def test_a_built_engine_runs_what_it_was_built_for(self, onnx_file: Path, tmp_path: Path) -> None:
        path = build(onnx_file, tmp_path, 2, 8, tf32=True).path
        with engines_for(path) as made:
            assert set(made.by_batch) == {2, 8}
        with engines_for(path, batches=(4,), tensorrt=TensorRtOptions(tf32=True)) as made:
            assert made.by_batch[4][0].path == path
        refused: list[dict[str, object]] = [
            {"batches": (16,)},
            {"tensorrt": TensorRtOptions(sparsity=True)},
            {"rebuilds": 2},
        ]
        for asked in refused:
            with pytest.raises(UsageError, match="built"), engines_for(path, **asked):  # type: ignore[arg-type]
                pass


class TestForeignEngines:
    A, B = DeviceIdentity("GPU A", "GPU-1", (8, 6)), DeviceIdentity("GPU B", "GPU-2", (8, 9))

    def test_another_version(self, onnx_file: Path, tmp_path: Path, library: TensorRtLibrary) -> None:
        artifact = build(onnx_file, tmp_path, 1)
        require_version(library, artifact)
        for version in ("1.6.0.1", "1.7.2.1", "2.0"):
            with pytest.raises(InputError, match=f"built by TensorRT-RTX {version}"):
                require_version(library, replace(artifact, version=version))
        compatible = replace(artifact, tensorrt=TensorRtOptions(version_compatible=True))
        require_version(library, replace(compatible, version="1.6.0.1"))
        with pytest.raises(InputError):
            require_version(library, replace(compatible, version="2.0"))

    def test_another_gpu(self, onnx_file: Path, tmp_path: Path) -> None:
        artifact = build(onnx_file, tmp_path, 1)
        require_gpu(artifact, self.A)
        require_gpu(replace(artifact, gpu=self.A), replace(self.A, uuid="GPU-3"))
        with pytest.raises(InputError, match="built for GPU A"):
            require_gpu(replace(artifact, gpu=self.A), self.B)
        portable = replace(artifact, gpu=self.A, tensorrt=TensorRtOptions(hardware_compatible=True))
        require_gpu(portable, self.B)
        with pytest.raises(InputError, match="built for GPU A"):
            require_gpu(portable, DeviceIdentity("GPU C", None, (7, 5)))

    def test_another_target(self, onnx_file: Path, tmp_path: Path) -> None:
        artifact = build(onnx_file, tmp_path, 1, targets=("8.6",))
        require_gpu(artifact, self.A)
        with pytest.raises(InputError, match=r"compiled for compute capability 8\.6") as error:
            require_gpu(artifact, self.B)
        assert "--target 8.9" in error.value.hint


def test_timings_are_kept(onnx_file: Path, tmp_path: Path, library: TensorRtLibrary) -> None:
    path = tmp_path / "cache" / "timings"
    for _ in range(2):  # written, then read
        with (
            pytest.warns(DeprecationWarning),
            kept_timings(library.api.Builder(library.logger).create_builder_config(), path),
        ):
            pass
        assert path.read_bytes()


class TestLibrary:
    def test_one_that_is_missing_is_named_with_its_extra_and_its_index(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        tensorrt_library.cache_clear()
        with pytest.raises(UnavailableError) as error:
            backend_named("tensorrt")
        assert "perframe[tensorrt]" in error.value.hint
        assert "NVIDIA's own package index" in error.value.hint

    @pytest.mark.parametrize("version", ["8.6.1", "10.2.0", "12.0.0.1"])
    def test_a_version_that_is_not_known(self, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
        other = ModuleType("tensorrt")
        other.__version__ = version  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tensorrt", other)
        tensorrt_library.cache_clear()
        with pytest.raises(UnavailableError, match=f"expected version 10.3 to 11.x, found {version}"):
            tensorrt_library("tensorrt")

    def test_errors_are_told_to_who_listens(self, library: TensorRtLibrary) -> None:
        runtime = library.api.Runtime(library.logger)
        with library.errors() as outer, library.errors() as inner:
            assert runtime.deserialize_cuda_engine(b"no engine" * 100) is None
        assert inner == outer
        assert any("incompatible serialization version" in text for text in inner)
        count = len(inner)
        runtime.deserialize_cuda_engine(b"no engine" * 100)
        assert len(inner) == count
