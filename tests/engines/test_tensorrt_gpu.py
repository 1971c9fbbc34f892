"""TensorRT on a real GPU, and what TensorRT-RTX really says where there is none."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import pytest

from perframe.engines.base import BuildSpec, EngineArtifact
from perframe.engines.cuda import cuda_unavailable, device_identity
from perframe.engines.device_engine import DeviceEngine
from perframe.engines.inputs import seeded_inputs
from perframe.engines.registry import backend_named
from perframe.engines.tensorrt_engine import TensorRtEngine, open_engine
from perframe.engines.tensorrt_library import tensorrt_library
from perframe.engines.tensorrt_load import deserialized
from perframe.errors import InputError, PerframeError, UnavailableError
from perframe.export.onnx_model import open_onnx, resolve_input_shapes

# The libraries that are installed; a machine needs one of them, not both.
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
INSTALLED = [name for name, module in MODULES.items() if importlib.util.find_spec(module)] or ["tensorrt"]
BATCH = 4


def build(name: str, model_path: Path, out: Path, batches: tuple[int, ...]) -> EngineArtifact:
    model = open_onnx(model_path)
    spec = BuildSpec(resolve_input_shapes(model, 1), device="cuda:0", batches=batches, cache=False)
    return backend_named(name).build(model, spec, out)


@pytest.fixture(scope="module")
def relu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[n, 4, 8, 8] x) => (float[n, 4, 8, 8] y) { y = Relu(x) }
    """
    path = tmp_path_factory.mktemp("relu") / "relu.onnx"
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


@pytest.fixture
def rtx_engine(relu: Path, tmp_path: Path) -> EngineArtifact:
    """An engine that TensorRT-RTX really built, on a machine without a GPU."""
    pytest.importorskip("tensorrt_rtx")
    if cuda_unavailable() is None:
        pytest.skip("there is a GPU")
    return build("tensorrt-rtx", relu, tmp_path / "relu.engine", (1,))


def test_without_a_gpu_opening_says_so(rtx_engine: EngineArtifact) -> None:
    with pytest.raises(UnavailableError, match="cudaError"):
        backend_named("tensorrt-rtx").open(rtx_engine).__enter__()


def test_without_a_gpu_tensorrt_loads_nothing(rtx_engine: EngineArtifact) -> None:
    with pytest.raises(UnavailableError, match=r"does not load this engine: .*cudaError 35"):
        deserialized(tensorrt_library("tensorrt-rtx"), rtx_engine)


def test_what_is_no_engine_is_told_from_a_missing_gpu(rtx_engine: EngineArtifact) -> None:
    rtx_engine.path.write_bytes(b"no engine" * 100)
    with pytest.raises(InputError, match="MALFORMED_ENGINE"):
        deserialized(tensorrt_library("tensorrt-rtx"), rtx_engine)


def test_another_versions_engine_is_refused_before_the_gpu_is_looked_for(rtx_engine: EngineArtifact) -> None:
    with pytest.raises(InputError, match=r"built by TensorRT-RTX 1\.6\.0, found version"):
        backend_named("tensorrt-rtx").open(replace(rtx_engine, version="1.6.0")).__enter__()


@pytest.fixture(scope="module", params=INSTALLED)
def artifact(
    request: pytest.FixtureRequest, onnx_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> EngineArtifact:
    if (reason := cuda_unavailable()) is not None:
        pytest.skip(reason.replace("\n", " "))
    try:
        backend_named(request.param)
    except PerframeError as error:
        pytest.skip(str(error).replace("\n", " "))
    return build(request.param, onnx_file, tmp_path_factory.mktemp("engine") / "small.engine", (BATCH,))


@pytest.fixture
def engine(artifact: EngineArtifact) -> Iterator[TensorRtEngine]:
    with open_engine(tensorrt_library(artifact.backend), artifact) as engine:
        engine.bind(images(artifact))
        yield engine


def images(artifact: EngineArtifact, seed: int = 0) -> dict[str, np.ndarray]:
    return seeded_inputs(artifact.inputs, {"input": (BATCH, 3, 64, 64)}, seed)


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_the_engine_computes_what_the_model_computes(
    engine: TensorRtEngine, artifact: EngineArtifact, onnx_file: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    inputs = images(artifact, seed=1)
    plain = runtime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    expected = plain.run(["logits"], inputs)[0]
    np.testing.assert_allclose(engine.infer(inputs)["logits"], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_the_inference_is_captured_and_times_itself(engine: TensorRtEngine) -> None:
    assert isinstance(engine, DeviceEngine)
    execution = engine.execution()
    assert execution.device == device_identity(0)
    assert execution.graph, execution.no_graph
    engine.run(20)
    timings = engine.run_timed(20)
    assert len(timings) == 20
    assert all(timing.compute_s > 0 and timing.enqueue_s > 0 for timing in timings)
    # The host's own clock, around runs that each wait for the device, cannot show less than the device computed.
    started_s = engine.clock.now_s()
    for _ in range(20):
        engine.run(1)
    assert (engine.clock.now_s() - started_s) / 20 > 0.5 * median(timing.compute_s for timing in timings)


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_layers_are_those_that_are_described_and_sum_near_the_whole(engine: TensorRtEngine) -> None:
    described = {layer.name for layer in engine.layers()}
    timings = engine.layer_timings(20)
    assert timings
    assert all(len(timing.latencies_s) == 20 for timing in timings)
    assert {timing.name for timing in timings} <= described
    engine.run(50)
    whole_s = median(timing.compute_s for timing in engine.run_timed(50))
    sum_s = sum(median(timing.latencies_s) for timing in timings)
    # Layers of some microseconds: each one's events take about as long again, and outside a graph there are gaps.
    assert 0.3 * whole_s < sum_s < 5.0 * whole_s


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_transfers_take_time_of_their_own(artifact: EngineArtifact) -> None:
    with open_engine(tensorrt_library(artifact.backend), artifact, transfers=True) as engine:
        engine.bind(images(artifact))
        engine.run(5)
        for timing in engine.run_timed(5):
            assert timing.upload_s is not None
            assert timing.upload_s > 0
            assert timing.download_s is not None
