"""Dumps of real engines become profiles: every microsecond joined, and nothing known that is not told."""

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perframe.cli import run
from perframe.engines.tensorrt_tactics import uses_tensor_cores
from perframe.errors import InputError, MeasurementError, UsageError
from perframe.export.onnx_model import open_onnx
from perframe.profiler.import_trtexec import TrtexecFiles, import_trtexec
from perframe.profiler.result import BatchResult, Profile, profile_to_json, read_profile


def recorded(folder: Path, name: str, *, metadata: bool = False) -> TrtexecFiles:
    dumps = folder / "tensorrt_dumps"
    facts = [dumps / f"{name}.{kind}metadata.json" for kind in ("profile.", "", "build.")]
    return TrtexecFiles(
        layers=dumps / f"{name}.graph.json",
        profile=dumps / f"{name}.profile.json",
        times=dumps / f"{name}.timing.json.gz",
        metadata=tuple(path for path in facts if metadata and path.exists()),
    )


def codes(result: BatchResult) -> list[str]:
    return [quality.code for quality in result.quality]


# What trtexec itself printed of these runs, see the recorded profile.metadata.json: queries per second.
@pytest.mark.parametrize(
    ("name", "batch", "macs", "device", "queries_per_s", "overhead", "tensor"),
    [
        ("a100_resnet_fp16", 32, 1_814_073_344, "NVIDIA A100 80GB PCIe", 1155.36, 0.087, 0.843),
        ("a100_resnet_int8", 32, 1_814_073_344, "NVIDIA A100 80GB PCIe", None, 0.042, 0.465),
        ("mobilenet_v2_int8", 1, 300_774_272, "NVIDIA TITAN RTX", 2829.15, 0.009, 0.598),
    ],
)
def test_a_recorded_run_is_imported_whole(
    data_folder: Path,
    name: str,
    batch: int,
    macs: int,
    device: str,
    queries_per_s: float | None,
    overhead: float,
    tensor: float,
) -> None:
    files = recorded(data_folder, name, metadata=True)
    profile = import_trtexec(files)
    (result,) = profile.batches
    timed = {entry["name"]: entry for entry in json.loads(files.profile.read_text()) if "name" in entry}

    # All of the profile's time is in layers that the inspector knows.
    assert {layer.name for layer in result.layers} == timed.keys()
    assert not {"layers-unknown", "layers-untimed"} & set(codes(result))
    assert math.fsum(layer.share for layer in result.layers) == pytest.approx(1.0)
    assert result.attributed_share == pytest.approx(1.0)
    for layer in result.layers:
        assert layer.latency_s == pytest.approx(timed[layer.name]["medianMs"] * 1e-3)

    assert result.batch == batch
    assert sum(layer.macs or 0 for layer in result.layers) == profile.model.macs == macs
    assert sum(layer.share for layer in result.layers if layer.overhead) == pytest.approx(overhead, abs=1e-3)
    on_tensor_cores = [layer.share for layer in result.layers if uses_tensor_cores(layer.kernel)]
    assert math.fsum(on_tensor_cores) == pytest.approx(tensor, abs=1e-3)

    assert result.latency is not None
    if queries_per_s is not None:
        assert result.latency.frames_per_s == pytest.approx(queries_per_s * batch, rel=1e-4)
    assert result.latency.p50_s <= result.latency.p90_s <= result.latency.p99_s
    assert result.latency.mean.low is not None and result.latency.mean.n == len(result.energy.windows)
    assert sum(window.frames for window in result.energy.windows) == result.latency.samples * batch
    assert result.warm_up is not None and result.warm_up.iterations > 100

    assert profile.identity["device_name"] == device
    assert profile.identity["cuda_graph"] == "Enabled"
    assert profile.engine.backend == "tensorrt"
    assert profile.model.precision is not None and profile.model.precision in name
    # What nobody told is not known.
    assert result.energy.kind == "absent" and result.energy.epf_j is None and result.device_state is None
    assert (profile.engine.version, profile.model.sha256, profile.plan, result.inputs_sha256) == (None,) * 4
    assert ("layers-few" in codes(result)) == (name != "mobilenet_v2_int8")


def test_the_result_is_read_back_as_it_was_written(data_folder: Path, tmp_path: Path) -> None:
    profile = import_trtexec(recorded(data_folder, "a100_resnet_fp16", metadata=True))
    path = tmp_path / "profile.json"
    path.write_text(profile_to_json(profile))
    assert read_profile(path) == profile


def test_without_query_times_there_is_no_latency(data_folder: Path, tmp_path: Path) -> None:
    files = recorded(data_folder, "mobilenet_v2_int8")
    (result,) = import_trtexec(TrtexecFiles(files.layers, files.profile)).batches
    assert result.latency is None and result.warm_up is None and result.layers_gap_s is None
    assert result.layers_sum_s is not None
    assert "latency-absent" in codes(result) and "layers-gap" not in codes(result)


def test_files_of_two_engines_are_refused_with_counts(data_folder: Path) -> None:
    one, other = (recorded(data_folder, name) for name in ("a100_resnet_fp16", "mobilenet_v2_int8"))
    with pytest.raises(InputError, match=r"36 layers in .*, found 0 of its 73 there \(0% of the time\)"):
        import_trtexec(TrtexecFiles(one.layers, other.profile))


LAYERS = [f"conv{i} + relu{i}" for i in range(8)]


def engine(names: Sequence[str] = LAYERS, batch: int = 4) -> dict[str, Any]:
    """A chain of 1x1 convolutions, of which the second half has kernels for tensor cores."""
    layers = []
    for index, name in enumerate(names):
        shape = {
            "Dimensions": [batch, 16, 8, 8],
            "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
        }
        layers.append(
            {
                "Name": name,
                "LayerType": "CaskConvolution",
                "Inputs": [{"Name": f"t{index}", **shape}],
                "Outputs": [{"Name": f"t{index + 1}", **shape}],
                "ParameterType": "Convolution",
                "Kernel": [1, 1],
                "Stride": [1, 1],
                "OutMaps": 16,
                "Groups": 2,
                "Weights": {"Type": "Half", "Count": 128},
                "TacticName": "ampere_h16816cudnn_x" if index >= len(names) / 2 else "ampere_scudnn_x",
            }
        )
    return {"Layers": layers, "Bindings": ["t0", f"t{len(names)}"]}


def write(folder: Path, name: str, document: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def times_of(
    queries: int, ms: float = 1.0, *, step_ms: float | None = None, noise: float = 0.01
) -> list[Any]:
    """Queries back to back, or every `step_ms`."""
    rows, start = [], 300.0
    random = np.random.default_rng(0)
    for _ in range(queries):
        took = ms * (1.0 + noise * random.standard_normal())
        rows.append(
            {"startH2dMs": start, "startComputeMs": start, "endD2hMs": start + took}
            | {"computeMs": took, "latencyMs": took}
        )
        start += step_ms or took
    return rows  # fmt: skip


def files_of(
    folder: Path, timed: Sequence[str] = LAYERS, times: list[Any] | None = None, count: int = 100
) -> TrtexecFiles:
    entries = [{"count": count}, *({"name": name, "medianMs": 0.1} for name in timed)]
    return TrtexecFiles(
        layers=write(folder, "net.graph.json", engine()),
        profile=write(folder, "net.profile.json", entries),
        times=write(folder, "net.times.json", times) if times is not None else None,
    )


def imported(files: TrtexecFiles, **options: Any) -> tuple[Profile, BatchResult]:
    profile = import_trtexec(files, **options)
    return profile, profile.batches[0]


def test_a_few_layers_that_do_not_match_are_listed(tmp_path: Path) -> None:
    profile, result = imported(files_of(tmp_path, [*LAYERS[1:], "stranger"]))
    assert [layer.name for layer in result.layers] == [*LAYERS[1:], "stranger"]
    assert result.layers[-1].module is None and result.layers[-1].macs is None
    found = {quality.code: quality.message for quality in result.quality}
    assert "1 layers of the profile (12.5% of the time)" in found["layers-unknown"]
    assert "stranger" in found["layers-unknown"] and LAYERS[0] in found["layers-untimed"]
    assert profile.model.name == "net"


def test_a_layer_that_is_timed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'conv3 \\+ relu3' is timed more often"):
        import_trtexec(files_of(tmp_path, [*LAYERS, LAYERS[3]]))


def test_layers_of_one_name_are_joined_in_their_order(tmp_path: Path) -> None:
    names = ["a", "twice", "b", "twice"]
    entries = [{"count": 9}, *({"name": name, "medianMs": i + 1.0} for i, name in enumerate(names))]
    layers, timed = write(tmp_path, "l.json", engine(names)), write(tmp_path, "p.json", entries)
    _, result = imported(TrtexecFiles(layers, timed))
    assert [(row.name, round(row.latency_s * 1e3)) for row in result.layers] == [
        ("a", 1), ("twice", 2), ("b", 3), ("twice (2)", 4),
    ]  # fmt: skip
    assert "layers-few" in codes(result) and all(row.macs == 64 * 128 for row in result.layers)


def test_the_batch_must_be_known_and_agree(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    assert imported(files, batch=4)[1].batch == 4
    with pytest.raises(UsageError, match="the engine's batch is 4, found --batch 8"):
        import_trtexec(files, batch=8)
    names = TrtexecFiles(write(tmp_path, "names.json", {"Layers": LAYERS}), files.profile)
    with pytest.raises(UsageError, match="batch"):
        import_trtexec(names)
    profile, result = imported(names, batch=8)
    assert profile.model.macs is None and profile.model.precision is None and profile.model.input_shape == ()
    assert "layers-names-only" in codes(result)


def test_queries_beside_each_other_and_idle_devices_are_told(tmp_path: Path) -> None:
    _, beside = imported(files_of(tmp_path, times=times_of(200, step_ms=0.5)))
    assert "queries-overlap" in codes(beside)
    _, idle = imported(files_of(tmp_path, times=times_of(200, step_ms=2.0)))
    assert "host-starved" in codes(idle)
    assert idle.latency is not None and idle.latency.frames_per_s == pytest.approx(4 / 2e-3, rel=0.01)
    _, busy = imported(files_of(tmp_path, times=times_of(200)))
    assert not {"queries-overlap", "host-starved", "few-samples"} & set(codes(busy))


def test_with_the_model_names_are_enough(tmp_path: Path, onnx_file: Path) -> None:
    model = open_onnx(onnx_file)
    names = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    profile, result = imported(
        TrtexecFiles(
            layers=write(tmp_path, "l.json", {"Layers": names}),
            profile=write(tmp_path, "p.json", [{"name": name, "averageMs": 0.1} for name in names]),
            onnx=onnx_file,
        ),
        batch=4,
    )
    assert profile.model.name == "mobilenet_v1-E2GC-G8-w0.25" and profile.model.group_size == 8
    assert profile.model.sha256 == model.sha256 and profile.model.precision == "fp32"
    assert sum(layer.macs or 0 for layer in result.layers) == profile.model.macs
    assert {node for layer in result.layers for node in layer.onnx_nodes} == {
        n.name for n in model.graph.node
    }
    assert [layer.module for layer in result.layers] == names
    assert "layers-means" in codes(result) and "layers-names-only" not in codes(result)


def test_a_model_of_other_inputs_is_refused(tmp_path: Path, onnx_file: Path) -> None:
    files = files_of(tmp_path)
    with pytest.raises(InputError, match="in the names of the engine's 8 layers"):
        import_trtexec(TrtexecFiles(files.layers, files.profile, onnx=onnx_file))


# Two recorded step runs, with a meter beside the card's own sensor; the errors of the sensors under load are known.
@pytest.mark.parametrize(("name", "error"), [("step_a100", -0.052), ("step_4090", -0.010)])
def test_energy_is_that_of_the_plateau(data_folder: Path, name: str, error: float, tmp_path: Path) -> None:
    traces = data_folder / "power_traces"
    with gzip.open(traces / f"{name}_meter.csv.gz", "rt") as lines:
        meter = np.loadtxt(lines, delimiter=",", skiprows=1)
    loaded = meter[(meter[:, 0] > 1.0) & (meter[:, 0] < 5.5)]
    files = files_of(tmp_path, times=times_of(4500))
    with_power = TrtexecFiles(
        files.layers, files.profile, files.times, power_trace=traces / f"{name}_sensor.csv.gz"
    )
    profile, result = imported(with_power)
    energy, latency = result.energy, result.latency
    assert latency is not None and energy.epf_j is not None and energy.epf_above_idle_j is not None
    truth_j = float(loaded[:, 1].mean()) / latency.frames_per_s
    assert energy.epf_j.value / truth_j - 1.0 == pytest.approx(error, abs=0.01)
    assert energy.kind == "measured" and energy.sensor == "trace:csv" and energy.domain == "gpu"
    assert energy.absolute_uncertainty is not None and energy.idle_w is not None
    assert 0.0 < energy.idle_w < 0.5 * float(loaded[:, 1].mean())
    assert "energy-from-trace" in codes(result) and "energy-absent" not in codes(result)
    shares = [row.energy_j for row in result.layers if row.energy_j is not None]
    assert math.fsum(shares) == pytest.approx(energy.epf_above_idle_j.value)
    assert profile.identity["sensor"] == "trace:csv" and profile.identity["energy_kind"] == "measured"
    # The same, where the user says when it was.
    _, told = imported(with_power, from_s=2.0, to_s=5.0)
    assert told.energy.details["from_s"] == 2.0
    assert told.energy.epf_j is not None
    assert told.energy.epf_j.value == pytest.approx(energy.epf_j.value, rel=0.02)


def trace_file(folder: Path, levels: Sequence[tuple[float, float]], *, noise: float = 1.0) -> Path:
    """Seconds and watts, at 20 readings a second."""
    random = np.random.default_rng(1)
    watts = np.concatenate([np.full(int(seconds * 20), level) for seconds, level in levels])
    watts = watts + noise * random.standard_normal(len(watts))
    rows = [f"{i / 20:.3f},{max(power, 0.0):.3f}" for i, power in enumerate(watts)]
    path = folder / "power.csv"
    path.write_text("\n".join(["t_s,power_w", *rows]))
    return path


def test_the_run_is_found_beside_the_slower_pass_per_layer(tmp_path: Path) -> None:
    files = files_of(tmp_path, times=times_of(20_000))
    trace = trace_file(tmp_path, [(10, 40.0), (20.3, 250.0), (15, 200.0), (10, 40.0)])
    _, result = imported(TrtexecFiles(files.layers, files.profile, files.times, power_trace=trace))
    assert result.energy.power_w is not None and result.energy.power_w.low is not None
    assert result.energy.power_w.value == pytest.approx(250.0, rel=0.01)
    assert result.energy.idle_w == pytest.approx(40.0, abs=1.0)
    assert result.energy.epf_j is not None and result.energy.relative_uncertainty is not None
    assert result.energy.epf_j.value == pytest.approx(250.0 * 1e-3 / 4, rel=0.01)
    assert result.energy.relative_uncertainty < 0.02


@pytest.mark.parametrize(
    "levels",
    [
        [(10.0, 50.0), (3.0, 250.0), (10.0, 50.0)],
        [(1.0, 50.0), (1.0, 250.0)] * 10,
        [(2.0, 50.0 + 20.0 * i) for i in range(8)],
    ],
)
def test_a_trace_without_a_plateau_is_refused(tmp_path: Path, levels: list[tuple[float, float]]) -> None:
    files = files_of(tmp_path, times=times_of(9000))
    trace = trace_file(tmp_path, levels)
    with pytest.raises(MeasurementError, match="expected power of one level"):
        import_trtexec(TrtexecFiles(files.layers, files.profile, files.times, power_trace=trace))


def test_a_run_shorter_than_its_edges_is_refused(tmp_path: Path) -> None:
    files = files_of(tmp_path, times=times_of(300))
    trace = trace_file(tmp_path, [(10.0, 50.0)])
    with pytest.raises(MeasurementError, match="more than 1 s of load"):
        import_trtexec(TrtexecFiles(files.layers, files.profile, files.times, power_trace=trace))


def test_joules_take_query_times(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    with pytest.raises(UsageError, match="--power-trace"):
        import_trtexec(
            TrtexecFiles(files.layers, files.profile, power_trace=trace_file(tmp_path, [(9.0, 50.0)]))
        )


def test_the_power_of_another_card_is_refused(tmp_path: Path) -> None:
    files = files_of(tmp_path, times=times_of(3000))
    facts = write(tmp_path, "run.json", {"device_information": {"Selected Device": "NVIDIA A100 80GB PCIe"}})
    rows = [
        f"2026/11/21 02:58:{i // 20:02}.{i % 20 * 50:03}, NVIDIA T4, {60 + i % 3}.0 W" for i in range(200)
    ]
    log = tmp_path / "smi.csv"
    log.write_text("\n".join(["timestamp, name, power.draw [W]", *rows]))
    with pytest.raises(
        InputError, match=r"expected the power of NVIDIA A100 80GB PCIe.*found that of NVIDIA T4"
    ):
        import_trtexec(
            TrtexecFiles(files.layers, files.profile, files.times, metadata=(facts,), power_trace=log)
        )


def test_the_command_writes_and_shows_a_profile(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = recorded(data_folder, "mobilenet_v2_int8")
    target = tmp_path / "profile.json"
    options = ["--layers", str(files.layers), "--profile", str(files.profile), "--times", str(files.times)]
    assert run(["import", "trtexec", *options, "-o", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "300.8 M MACs" in shown and "TC: whether the kernel" in shown and str(target) in shown
    assert read_profile(target).batches[0].latency is not None
    assert run(["import", "trtexec", *options[:4], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["batches"][0]["latency"] is None
    assert run(["import", "trtexec", *options[:4], "--top", "1"]) == 0
    assert "–" in capsys.readouterr().out
    assert run(["import", "trtexec", *options[:2], "--profile", str(files.layers)]) == 5
    assert run(["import", "trtexec", *options, "-o", str(files.layers)]) == 2
    assert run(["import"]) == 2
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
