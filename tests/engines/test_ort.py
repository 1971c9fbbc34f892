"""The onnxruntime backend, for real on the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from perframe.engines.artifact import read_artifact
from perframe.engines.base import BuildSpec, EngineArtifact
from perframe.engines.inputs import seeded_inputs
from perframe.engines.ort import OnnxRuntime
from perframe.errors import BuildError, UnavailableError, UsageError
from perframe.export.onnx_model import open_onnx, resolve_input_shapes


def build(onnx_file: Path, folder: Path, **spec: object) -> EngineArtifact:
    model = open_onnx(onnx_file)
    shapes = resolve_input_shapes(model, 1)
    return OnnxRuntime().build(model, BuildSpec(shapes, **spec), folder / "engine")  # type: ignore[arg-type]


@pytest.fixture
def artifact(onnx_file: Path, tmp_path: Path) -> EngineArtifact:
    return build(onnx_file, tmp_path)


def test_the_engine_computes_what_the_model_computes(artifact: EngineArtifact, onnx_file: Path) -> None:
    inputs = seeded_inputs(artifact.inputs, {"input": (3, 3, 64, 64)}, seed=1)
    plain = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    with OnnxRuntime().open(artifact) as engine:
        found = engine.infer(inputs)
    np.testing.assert_allclose(found["logits"], plain.run(["logits"], inputs)[0], rtol=1e-4, atol=1e-5)


def test_the_sidecar_reads_back_what_was_built(artifact: EngineArtifact) -> None:
    assert read_artifact(artifact.path) == artifact
    assert artifact.model.name == "mobilenet_v1-E2GC-G8-w0.25"
    assert artifact.model.group_size == 8


def test_every_step_is_timed_as_often_as_asked(artifact: EngineArtifact) -> None:
    with OnnxRuntime().open(artifact) as engine:
        engine.bind(seeded_inputs(artifact.inputs, {"input": (2, 3, 64, 64)}, seed=0))
        engine.run(1)
        timings = engine.layer_timings(7)
        engine.run(1)
    assert {timing.name for timing in timings} == {layer.name for layer in artifact.layers}
    assert all(len(timing.latencies_s) == 7 for timing in timings)
    assert sum(sum(timing.latencies_s) for timing in timings) > 0


def test_another_batch_can_be_bound(artifact: EngineArtifact) -> None:
    with OnnxRuntime().open(artifact) as engine:
        for batch in (1, 5, 2):
            engine.bind(seeded_inputs(artifact.inputs, {"input": (batch, 3, 64, 64)}, seed=0))
            engine.run(2)


def test_the_profiling_pass_leaves_no_files(
    artifact: EngineArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    with OnnxRuntime().open(artifact) as engine:
        engine.bind(seeded_inputs(artifact.inputs, {"input": (1, 3, 64, 64)}, seed=0))
        engine.layer_timings(2)
    assert set(tmp_path.rglob("*")) == before


def test_threads_are_set_and_recorded(onnx_file: Path, tmp_path: Path) -> None:
    artifact = build(onnx_file, tmp_path, threads=1)
    assert artifact.threads == 1
    assert read_artifact(artifact.path).threads == 1


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_no_silent_fall_back(
    onnx_file: Path, tmp_path: Path, provider: str
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has the GPU providers")
    with pytest.raises(UnavailableError, match="not part of the installed ONNX Runtime"):
        build(onnx_file, tmp_path, device="cuda:0", provider=provider)
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize(("device", "provider"), [("cpu", "cuda"), ("cuda:0", "cpu"), ("cpu", "npu")])
def test_contradicting_device_and_provider(
    onnx_file: Path, tmp_path: Path, device: str, provider: str
) -> None:
    with pytest.raises(UsageError):
        build(onnx_file, tmp_path, device=device, provider=provider)


def test_an_operator_the_runtime_lacks_is_named(tmp_path: Path) -> None:
    import onnx

    text = """
    <ir_version: 10, opset_import: ["": 20, "nobody": 1]>
    g (float[batch, 4] x) => (float[batch, 4] y) { y = nobody.Unheard(x) }
    """
    path = tmp_path / "odd.onnx"
    onnx.save(onnx.parser.parse_model(text), str(path))
    with pytest.raises(BuildError, match="Unheard"):
        build(path, tmp_path)
