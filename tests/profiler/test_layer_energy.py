"""Layers measured for themselves: against devices whose layers' energies are known, and for real."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from perframe.engines.base import Backend, BuildSpec, Engine, EngineArtifact, EngineLayer
from perframe.engines.clock import Clock
from perframe.engines.fake import Fake
from perframe.engines.inputs import seeded_inputs
from perframe.engines.ort import OnnxRuntime
from perframe.errors import BuildError, InputError, MeasurementError, UsageError
from perframe.export.onnx_model import OnnxModel, open_onnx, resolve_input_shapes
from perframe.profiler.bench import bench_beside
from perframe.profiler.characterise import response_of
from perframe.profiler.energy import open_meter
from perframe.profiler.layer_energy import layer_energies
from perframe.profiler.loop import measure
from perframe.profiler.pieces import Captures, executed_network
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import BatchResult, LayerMeasurement
from perframe.profiler.sensors.base import Domain, Kind, PowerSample, Reader, Sensor, SensorRequest
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.sensors.replay import Replay
from perframe.profiler.sensors.simulated import Simulated
from perframe.profiler.summary import layer_results, summarise
from perframe.progress import Progress, silent

Method = Literal["replayed", "marginal"]

PLAN = MeasurementPlan(windows=4, window_s=0.5)
# For what does not depend on how well is measured.
QUICK = MeasurementPlan(windows=2, window_s=0.05, warm_up_s=0.2, idle_s=0.1, layer_s=0.05)
CACHE_BYTES = 2**20
IDLE_W, ACTIVE_W = 42.0, 280.0
ACTIVITIES = {"stem": 1.0, "stem.relu": 0.2, "grouped": 0.4, "add": 0.15, "pool": 0.5, "flat": 0.5, "fc": 0.9}


def activity(layer: EngineLayer) -> float:
    """How busy the fake device is in each layer: convolutions more than what only moves data."""
    return ACTIVITIES.get(layer.name.partition("@")[0], 0.7)


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    weights = {"stem.w": (32, 8, 3, 3), "grouped.w": (32, 8, 3, 3), "fc.w": (32, 10)}
    nodes = [
        helper.make_node("Conv", ["x", "stem.w"], ["a"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="stem.relu"),
        helper.make_node("Conv", ["b", "grouped.w"], ["c"], name="grouped", pads=[1, 1, 1, 1], group=4),
        helper.make_node("Add", ["c", "b"], ["d"], name="add"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], name="pool"),
        helper.make_node("Flatten", ["e"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "fc.w"], ["y"], name="fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [
            numpy_helper.from_array(random.standard_normal(shape, dtype=np.float32), name)
            for name, shape in weights.items()
        ],
    )
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    return path


def simulated(argument: str = "v100") -> Simulated:
    return Simulated.from_request(SensorRequest(argument, 10.0, "fake"))


@dataclass(frozen=True)
class Truth:
    """Joules per frame above idle, and seconds per inference, of a fake device's layers."""

    energy_j: Mapping[str, float]
    latency_s: Mapping[str, float]


@dataclass(frozen=True)
class Layers:
    """What was found, beside what is true."""

    before: BatchResult
    after: BatchResult
    truth: Truth

    def of(self, name: str, method: str) -> LayerMeasurement:
        (row,) = (row for row in self.after.layers if row.name == name)
        (found,) = (each for each in row.measured if each.method == method)
        return found


def measured_layers(
    backend: Backend,
    file: Path,
    folder: Path,
    sensor: Sensor | None,
    method: Method,
    *,
    batch: int = 2,
    plan: MeasurementPlan = PLAN,
    source: Path | None = None,
    **options: object,
) -> Layers:
    model = open_onnx(file)
    spec = BuildSpec(
        resolve_input_shapes(model, 1), device="fake" if backend.name == "fake" else "cpu", threads=1
    )
    artifact = backend.build(model, spec, folder / "network.engine")
    inputs = seeded_inputs(artifact.inputs, resolve_input_shapes(artifact, batch), 0)
    response = response_of(sensor)
    with backend.open(artifact) as engine, open_meter(sensor, engine.clock) as meter:
        engine.bind(inputs)
        measured = measure(
            engine,
            meter,
            plan,
            batch,
            idle=sensor is not None and sensor.name != "modelled",
            response=response,
            scheduled=lambda _: None,
            progress=silent,
        )
        before = summarise(
            measured, plan=plan, batch=batch, inputs_sha256="", sensor=sensor, layers=artifact.layers
        )
        network = executed_network(backend, artifact, inputs, before.layers, source)
        bench = bench_beside(before, meter, plan, response)
        after = layer_energies(
            before,
            engine,
            network,
            bench,
            method=method,
            cache_bytes=CACHE_BYTES,
            **options,  # type: ignore[arg-type]
        )
        truth = true_layers(engine, artifact, batch)
    return Layers(before, after, truth)


def true_layers(engine: Engine, artifact: EngineArtifact, batch: int) -> Truth:
    """By the fake engine's own timings and the activities that it was given."""
    latency_s = {timing.name: fmean(timing.latencies_s) for timing in engine.layer_timings(1000)}
    watts = {layer.name: (ACTIVE_W - IDLE_W) * activity(layer) for layer in artifact.layers}
    return Truth({name: watts[name] * latency_s[name] / batch for name in watts}, latency_s)


def on_the_fake_device(
    file: Path, folder: Path, method: Method, sensor: Sensor | None = None, **options: object
) -> Layers:
    return measured_layers(
        Fake(activity),
        file,
        folder,
        sensor or simulated(),
        method,
        source=file,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def replayed(network_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Layers:
    return on_the_fake_device(network_file, tmp_path_factory.mktemp("replayed"), "replayed")


@pytest.fixture(scope="module")
def marginally(network_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Layers:
    return on_the_fake_device(network_file, tmp_path_factory.mktemp("marginal"), "marginal")


def test_time_shares_do_not_tell_what_layers_of_different_power_cost(replayed: Layers) -> None:
    attributed = {row.name: row.energy_j for row in replayed.before.layers}
    assert attributed["stem"] is not None and attributed["add"] is not None
    assert attributed["stem"] < 0.75 * replayed.truth.energy_j["stem"]
    assert attributed["add"] > 2.0 * replayed.truth.energy_j["add"]


@pytest.mark.parametrize("method", ["replayed", "replayed-warm", "marginal"])
@pytest.mark.parametrize("name", list(ACTIVITIES))
def test_every_layers_own_energy_is_found(
    replayed: Layers, marginally: Layers, name: str, method: str
) -> None:
    layers = marginally if method == "marginal" else replayed
    found, truth = layers.of(name, method), layers.truth
    assert found.energy_j is not None and found.latency_s is not None and found.steady
    assert found.energy_j.value == pytest.approx(truth.energy_j[name], rel=0.05)
    assert found.latency_s.value == pytest.approx(truth.latency_s[name], rel=0.05)
    assert found.energy_j.low is not None and found.energy_j.low < found.energy_j.value


@pytest.mark.parametrize("method", ["replayed", "marginal"])
def test_the_layers_add_up_to_the_network(replayed: Layers, marginally: Layers, method: Method) -> None:
    after = (marginally if method == "marginal" else replayed).after
    (closure,) = (closure for closure in after.closures if closure.method == method)
    assert not closure.by_construction and closure.covered == pytest.approx(1.0)
    for residual in (closure.energy_residual, closure.latency_residual):
        assert residual is not None and abs(residual.value) < 0.03
    assert {row.energy_method for row in after.layers} == {method}
    energy = after.energy.epf_above_idle_j
    assert energy is not None
    assert sum(row.energy_j or 0.0 for row in after.layers) == pytest.approx(energy.value, rel=0.03)
    assert not {quality.code for quality in after.quality} & {"closure", "layers-unmeasured"}


def test_cold_buffers_exceed_the_cache_and_warm_ones_fit(replayed: Layers) -> None:
    for name in ("stem", "stem.relu", "grouped", "add"):
        cold, warm = replayed.of(name, "replayed"), replayed.of(name, "replayed-warm")
        assert cold.buffer_bytes is not None and cold.buffer_bytes >= 3 * CACHE_BYTES
        # As few as one, where a layer alone is too large.
        assert warm.buffer_bytes is not None and (warm.buffer_bytes <= CACHE_BYTES / 2 or warm.copies == 1)
    # Where a layer is tiny, the number of copies is bounded.
    assert replayed.of("fc", "replayed").copies == 256


class Recorder:
    """A sensor that writes down what another one shows."""

    name = "recorder"
    domain: Domain = "gpu"
    kind: Kind = "modelled"
    poll_interval_s = update_period_s = 0.02
    accuracy = max_window_s = averaging_window_s = None
    details: Mapping[str, str | float] = {}

    def __init__(self, sensor: Simulated) -> None:
        self._sensor = sensor
        self.rows: list[tuple[float, float]] = []

    def unavailable(self) -> None:
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator[Reader]:
        with self._sensor.open(clock) as reader:
            yield _RecordingReader(reader, self.rows)


class _RecordingReader:
    def __init__(self, reader: Reader, rows: list[tuple[float, float]]) -> None:
        self._reader, self._rows = reader, rows

    def read(self) -> PowerSample:
        sample = self._reader.read()
        assert isinstance(sample, PowerSample)
        if not self._rows or sample.t_s > self._rows[-1][0]:
            self._rows.append((sample.t_s, sample.power_w))
        return sample


def test_a_trace_of_the_same_work_gives_the_same_layers(network_file: Path, tmp_path: Path) -> None:
    recorder = Recorder(simulated("v100,noise=0"))
    (tmp_path / "recorded").mkdir()
    # The slowest layers are enough.
    on_the_fake_device(network_file, tmp_path / "recorded", "replayed", recorder, budget_s=25.0)
    trace = tmp_path / "trace.csv"
    with trace.open("w", newline="") as file:
        rows = [*recorder.rows, (recorder.rows[-1][0] + 60.0, IDLE_W)]
        csv.writer(file).writerows([("t_s", "power_w"), *rows])
    layers = on_the_fake_device(network_file, tmp_path, "replayed", Replay(trace), budget_s=25.0)
    assert layers.after.energy.sensor == "replay"
    found = {row.name: row.energy_j for row in layers.after.layers if row.energy_j is not None}
    assert len(found) >= 3
    for name, energy_j in found.items():
        assert energy_j == pytest.approx(layers.truth.energy_j[name], rel=0.05)


def test_a_budget_takes_the_slowest_layers_first(network_file: Path, tmp_path: Path) -> None:
    layers = on_the_fake_device(network_file, tmp_path, "replayed", plan=QUICK, budget_s=3.0)
    slowest = [row.name for row in sorted(layers.after.layers, key=lambda row: -row.share)]
    done = [name for name in slowest if layers.of(name, "replayed").reason is None]
    assert 0 < len(done) < len(slowest) and done == slowest[: len(done)]
    for name in slowest[len(done) :]:
        assert layers.of(name, "replayed").reason == "The time budget of 3 s was used up."
        (row,) = (row for row in layers.after.layers if row.name == name)
        # Its share of the time would be another method's figure.
        assert row.energy_j is None and row.energy_method is None
    closure = layers.after.closures[1]
    assert closure.covered == pytest.approx(sum(r.share for r in layers.after.layers if r.name in done))
    codes = {quality.code: quality for quality in layers.after.quality}
    assert codes["layers-unmeasured"].message.startswith(f"{len(slowest) - len(done)} of 7 layers")
    assert "closure" not in codes or codes["closure"].severity == "info"


class Picky(Fake):
    """Refuses some cut-out layers, as runtimes do."""

    def __init__(self, refused: str) -> None:
        super().__init__(activity)
        self._refused = refused

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        if any(node.name == self._refused for node in model.graph.node):
            raise BuildError(f"{self._refused} has no kernel.", "Use another.")
        return super().build(model, spec, out)


def test_a_layer_that_cannot_be_built_says_so_and_the_others_go_on(
    network_file: Path, tmp_path: Path
) -> None:
    layers = measured_layers(
        Picky("grouped@0"), network_file, tmp_path, simulated(), "replayed", source=network_file, plan=QUICK
    )
    refused = layers.of("grouped", "replayed")
    assert refused.reason == "grouped@0 has no kernel." and refused.energy_j is None
    others = [row for row in layers.after.layers if row.name != "grouped"]
    assert all(row.energy_j is not None for row in others)
    assert any("grouped@0 has no kernel" in quality.message for quality in layers.after.quality)


class Secretive(Fake):
    """Does not put out some tensor within the network, as where it fuses that away."""

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        if any(output.name == "c" for output in model.outputs):
            raise BuildError(f"{model.path}: c is no output.", "Take another.")
        return super().build(model, spec, out)


def test_an_input_that_cannot_be_had_costs_only_the_layers_that_need_it(
    network_file: Path, tmp_path: Path
) -> None:
    layers = measured_layers(
        Secretive(activity), network_file, tmp_path, simulated(), "replayed", source=network_file, plan=QUICK
    )
    reasons = {name: layers.of(name, "replayed").reason for name in ACTIVITIES}
    refused = {name for name, reason in reasons.items() if reason is not None}
    assert refused == {"grouped", "add"}
    # Named as it is in the model, not as a file that is gone.
    assert reasons["add"] == "piece.onnx: c is no output."


class Merging(Fake):
    """Takes copies of a layer for one, as an optimiser might."""

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        artifact = super().build(model, spec, out)
        copied = [layer for layer in artifact.layers if layer.name.startswith("add@")]
        return replace(artifact, layers=tuple(layer for layer in artifact.layers if layer not in copied[1:]))


def test_copies_that_the_runtime_merged_are_no_measurement(network_file: Path, tmp_path: Path) -> None:
    layers = measured_layers(
        Merging(activity), network_file, tmp_path, simulated(), "marginal", source=network_file, plan=QUICK
    )
    reason = layers.of("add", "marginal").reason
    assert reason is not None and reason.startswith("The runtime made 1 steps of")


def test_what_is_finished_is_kept_when_the_user_ends_the_run(network_file: Path, tmp_path: Path) -> None:
    kept: list[BatchResult] = []

    def interrupt(what: str, fraction: float) -> None:
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_the_fake_device(
            network_file, tmp_path, "replayed", plan=QUICK, keep=kept.append, progress=interrupt
        )
    measured = [row.name for row in kept[-1].layers if row.measured]
    assert len(measured) == 2
    assert all(row.energy_j is None for row in kept[-1].layers if row.name not in measured)
    assert kept[-1].closures[1].covered < 1.0


def test_a_sensor_that_fails_ends_it_and_keeps_what_is_finished(network_file: Path, tmp_path: Path) -> None:
    kept: list[BatchResult] = []
    with pytest.raises(MeasurementError):
        on_the_fake_device(
            network_file, tmp_path, "replayed", simulated("v100,lost=5"), plan=QUICK, keep=kept.append
        )
    assert kept and any(row.energy_j is not None for row in kept[-1].layers)


def test_without_a_sensor_layers_have_latencies_and_no_energy(network_file: Path, tmp_path: Path) -> None:
    layers = measured_layers(
        Fake(), network_file, tmp_path, None, "replayed", source=network_file, plan=QUICK
    )
    for row in layers.after.layers:
        cold = row.measured[0]
        assert cold.latency_s is not None and cold.energy_j is None
        assert row.energy_j is None and row.energy_method is None
    closure = layers.after.closures[0]
    assert closure.latency_residual is not None and abs(closure.latency_residual.value) < 0.03
    assert closure.energy_residual is None and closure.call_j is None


def test_an_engine_that_is_no_onnx_file_needs_its_source(network_file: Path, tmp_path: Path) -> None:
    backend, model = Fake(), open_onnx(network_file)
    artifact = backend.build(model, BuildSpec(resolve_input_shapes(model, 1)), tmp_path / "engine")
    inputs = seeded_inputs(artifact.inputs, resolve_input_shapes(artifact, 1), 0)
    with pytest.raises(UsageError, match="can only be cut out of the ONNX model"):
        executed_network(backend, artifact, inputs, (), None)
    other = onnx.load(str(network_file))
    other.producer_name = "another"
    onnx.save(other, str(tmp_path / "other.onnx"))
    with pytest.raises(InputError, match="expected the model with SHA-256"):
        executed_network(backend, artifact, inputs, (), tmp_path / "other.onnx")


@pytest.mark.parametrize(("method", "figures"), [("replayed", 2), ("marginal", 1)])
def test_for_real_the_steps_of_the_deployed_graph_are_measured(
    network_file: Path, tmp_path: Path, method: Method, figures: int
) -> None:
    """ONNX Runtime at its highest optimisation level: layout changes are steps like any other."""
    plan = replace(QUICK, window_s=0.01, warm_up_s=0.0)
    layers = measured_layers(
        OnnxRuntime(), network_file, tmp_path, Modelled(10.0), method, plan=plan, budget_s=4.0
    )
    rows = layers.after.layers
    assert any(row.op in ("ReorderInput", "ReorderOutput") for row in rows)
    assert all(len(row.measured) == figures for row in rows)
    slowest = max(rows, key=lambda row: row.share)
    for found in slowest.measured:
        assert found.reason is None and found.latency_s is not None and found.latency_s.value > 0
        assert found.energy_j is not None and found.energy_j.value > 0
    assert slowest.energy_method == method
    call_s = layers.after.closures[1].call_s
    assert call_s is not None and call_s.value > 0


def test_for_real_the_captured_tensors_are_the_networks_own(network_file: Path, tmp_path: Path) -> None:
    backend, model = OnnxRuntime(), open_onnx(network_file)
    artifact = backend.build(model, BuildSpec(resolve_input_shapes(model, 1), threads=1), tmp_path / "engine")
    inputs = seeded_inputs(artifact.inputs, resolve_input_shapes(artifact, 3), 0)
    with backend.open(artifact) as engine:
        whole = engine.infer(inputs)
        engine.bind(inputs)
        rows = layer_results(engine.layer_timings(1), artifact.layers, None)
    network = executed_network(backend, artifact, inputs, rows, None)
    cutter = network.cutter()
    pieces = {name: cutter.piece(nodes) for name, nodes in network.groups.items()}
    captures = Captures(network, pieces)
    last = artifact.layers[-1].name
    np.testing.assert_allclose(
        captures.values(last)[pieces[last].writes[0]], whole["y"], rtol=1e-5, atol=1e-5
    )
