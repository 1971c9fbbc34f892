"""A profile from what trtexec wrote on a machine where nothing else runs.

The layers' times come from `--exportProfile`, what they are from `--exportLayerInfo`, the network's latency from
`--exportTimes`, the joules from a power trace. What none of them tells stays unknown: the sum of the layers' times is
not the network's latency (profiling makes a run synchronous), so without `--exportTimes` there is no latency.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import perframe
from perframe.engines.base import EngineLayer, LayerTiming, ModelInfo
from perframe.engines.describe import describe_model
from perframe.engines.tensorrt_cost import batch_of
from perframe.engines.tensorrt_describe import describe_engine, precision_of
from perframe.engines.tensorrt_inspector import Inspection, read_inspection
from perframe.engines.tensorrt_lineage import engine_layers, require_same_network, unique_names
from perframe.errors import InputError, UsageError
from perframe.export.cost import layer_costs
from perframe.export.onnx_model import OnnxModel, fixed_batch, open_onnx, resolve_input_shapes
from perframe.profiler.import_checks import import_quality
from perframe.profiler.import_energy import traced_energy
from perframe.profiler.import_latency import latency_of, warm_up_of
from perframe.profiler.result import (
    BatchResult,
    Energy,
    EngineInfo,
    Profile,
    Window,
)
from perframe.profiler.summary import attributable_j, layer_results
from perframe.profiler.trace_files import PowerTrace, read_trace
from perframe.profiler.trtexec_files import (
    WARM_UP_S,
    LayerProfile,
    read_layer_profile,
    read_run_facts,
    read_times,
)

# Files of which this much of the layers' time cannot be joined are not of one engine.
_LEAST_JOINED = 0.5
# What must agree before two results may be compared, by trtexec's names and by ours.
_IDENTITY = {
    "Name": "device_name",
    "Selected Device": "device_name",
    "Selected Device UUID": "device_uuid",
    "Compute Capability": "compute_capability",
    "Precision": "build_precision",
    "Streams": "streams",
    "Inference Streams": "streams",
    "Data transfers": "transfers",
    "CUDA Graph": "cuda_graph",
    "Spin-wait": "spin_wait",
}
# Facts for people; the others are paths, or repeat the figures.
_ENVIRONMENT = (
    *_IDENTITY,
    *("SMs", "Device Global Memory", "Shared Memory per SM", "Memory Bus Width"),
    *(
        "Compute Clock Rate",
        "Memory Clock Rate",
        "Application Compute Clock Rate",
        "Application Memory Clock Rate",
    ),
    *(
        "Throughput",
        "Total Host Walltime",
        "Total GPU Compute Time",
        "Duration",
        "Iterations",
        "TensorRT version",
    ),
)


@dataclass(frozen=True)
class TrtexecFiles:
    """What there is of a run.

    Attributes:
        layers: Of `--exportLayerInfo`.
        profile: Of `--exportProfile`.
        times: Of `--exportTimes`.
        onnx: The model that the engine was built from.
        metadata: JSON files of what trtexec logged about the run, as TensorRT's Engine Explorer writes them.
        power_trace: A log of nvidia-smi or tegrastats, or another trace of power.
    """

    layers: Path
    profile: Path
    times: Path | None = None
    onnx: Path | None = None
    metadata: tuple[Path, ...] = ()
    power_trace: Path | None = None

    def given(self) -> tuple[Path, ...]:
        """Return all files."""
        optional = (self.times, self.onnx, self.power_trace)
        return (self.layers, self.profile, *self.metadata, *(path for path in optional if path is not None))


def import_trtexec(
    files: TrtexecFiles,
    *,
    batch: int | None = None,
    warm_up_s: float = WARM_UP_S,
    power: str | None = None,
    gpu: str | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
) -> Profile:
    """Make a profile of a run of trtexec.

    Args:
        files: What there is of the run; any of them may be gzipped, but the ONNX file.
        batch: Frames per inference, where the engine's shapes do not tell.
        warm_up_s: How long trtexec warmed up.
        power: Column of power, or rail, of the power trace.
        gpu: Which GPU, where a power trace holds several.
        from_s: Begin of the run in the power trace, on its clock.
        to_s: Its end.

    Raises:
        UsageError: The options contradict the files, or the batch is not known.
        InputError: A file is not usable, or the files are not of one engine.
        MeasurementError: The power trace does not show the run.
    """
    if files.power_trace is not None and files.times is None:
        raise UsageError(
            "--power-trace: expected query times too, since joules are watts times seconds.",
            "Give --times of trtexec --exportTimes.",
        )
    inspection, timed = read_inspection(files.layers), read_layer_profile(files.profile)
    times = read_times(files.times, warm_up_s) if files.times is not None else None
    model = open_onnx(files.onnx) if files.onnx is not None else None
    facts = read_run_facts(files.metadata)
    if batch is None and model is not None and not any(tensor.shape for tensor in inspection.inputs):
        batch = fixed_batch(model)
    frames = batch_of(inspection, files.layers, batch)
    info, layers = _network(inspection, model, frames, files)
    latency, windows = latency_of(times, frames) if times is not None else (None, ())
    traced = None
    if files.power_trace is not None and times is not None and latency is not None:
        trace = read_trace(files.power_trace, power_column=power, gpu=gpu)
        _require_card(trace, facts)
        # The clock of trtexec's times begins with the run.
        loaded_s = float(times.end_s.max())
        traced = traced_energy(trace, latency, windows, loaded_s, from_s=from_s, to_s=to_s)
    energy = traced.energy if traced is not None else _no_energy(windows)
    rows = layer_results(_timings(timed, layers, files), layers, attributable_j(energy))
    total_s = math.fsum(row.latency_s for row in rows)
    result = BatchResult(
        batch=frames,
        inputs_sha256=None,
        warm_up=warm_up_of(times) if times is not None else None,
        latency=latency,
        energy=energy,
        paced=None,
        device_state=None,
        layers=rows,
        layers_sum_s=total_s,
        layers_gap_s=None if latency is None else latency.p50_s - total_s,
        attributed_share=math.fsum(row.share for row in rows if row.module is not None),
        quality=(),
    )
    only_names = not inspection.detailed and model is None
    quality = import_quality(result, timed, times, layers, only_names=only_names)
    result = replace(result, quality=(*quality, *(traced.quality if traced is not None else ())))
    return _profile(info, result, facts)


def _network(
    inspection: Inspection, model: OnnxModel | None, batch: int, files: TrtexecFiles
) -> tuple[ModelInfo, tuple[EngineLayer, ...]]:
    """What was run: from its ONNX file where there is one, else by the inspector's word."""
    if model is None:
        layers = engine_layers(inspection, batch=batch)
        return describe_engine(inspection, layers, batch, _name_of(files.layers), str(files.layers)), layers
    shapes = _input_shapes(model, inspection, batch)
    costs = layer_costs(model, shapes)
    layers = engine_layers(inspection, model, batch=batch, input_shapes=shapes)
    require_same_network(inspection, layers, costs, batch=batch, path=model.path)
    info = describe_model(model, costs, next(iter(shapes.values())))
    # An engine may compute in another type than its ONNX file has, up to TensorRT 10.
    return replace(info, precision=precision_of(inspection) or info.precision), layers


def _input_shapes(model: OnnxModel, inspection: Inspection, batch: int) -> dict[str, tuple[int, ...]]:
    """The model's inputs as the engine was run."""
    told = {tensor.name: tensor.shape for tensor in inspection.inputs if tensor.shape}
    per_frame: dict[str, tuple[int, ...]] = {}
    for info in model.inputs:
        sizes = told.get(info.name, ())[1:]
        known = tuple(size for size in sizes if size is not None)
        if info.name in told and len(known) == len(sizes):
            per_frame[info.name] = known
    try:
        return resolve_input_shapes(model, batch, per_frame)
    except (UsageError, InputError) as error:
        raise InputError(
            error.message,
            "Give the ONNX file that this engine was built from, and its layers as --profilingVerbosity=detailed"
            " tells them.",
        ) from error


def _require_card(trace: PowerTrace, facts: Mapping[str, str | float]) -> None:
    for theirs, name in ((trace.uuid, "Selected Device UUID"), (trace.card, "Selected Device")):
        ours = facts.get(name)
        if theirs is not None and ours is not None and theirs != ours:
            raise InputError(
                f"{trace.path}: expected the power of {ours}, as the metadata says, found that of {theirs}.",
                "Give the power trace of this run, or choose its GPU with --gpu.",
            )


def _timings(timed: LayerProfile, layers: Sequence[EngineLayer], files: TrtexecFiles) -> list[LayerTiming]:
    """The layers' times by the engine's own names of the layers.

    Several layers can have one name; both files list them in the engine's order.
    """
    names = unique_names([layer.name for layer in timed.layers])
    known = {layer.name for layer in layers}
    joined_s = math.fsum(t.latency_s for name, t in zip(names, timed.layers, strict=True) if name in known)
    total_s = math.fsum(layer.latency_s for layer in timed.layers)
    if joined_s < _LEAST_JOINED * total_s:
        raise InputError(
            f"{files.profile}: expected times of the {len(layers)} layers in {files.layers}, found"
            f" {sum(name in known for name in names)} of its {len(names)} there"
            f" ({joined_s / total_s:.0%} of the time).",
            "Give the two files of one run of trtexec, with one engine.",
        )
    for name, layer in zip(names, timed.layers, strict=True):
        if name not in known and layer.name in known:
            raise InputError(
                f"{files.profile}: layer {layer.name!r} is timed more often than {files.layers} has it.",
                "Was the file put together from several? Run trtexec again.",
            )
    return [LayerTiming(name, (t.latency_s,)) for name, t in zip(names, timed.layers, strict=True)]


def _no_energy(windows: tuple[Window, ...]) -> Energy:
    return Energy(
        kind="absent",
        sensor=None,
        domain=None,
        epf_j=None,
        epf_above_idle_j=None,
        power_w=None,
        idle_w=None,
        relative_uncertainty=None,
        absolute_uncertainty=None,
        counter_epf_j=None,
        update_period_s=None,
        edge_error=None,
        details={},
        windows=windows,
    )


def _name_of(path: Path) -> str:
    """`resnet.graph.json.gz` -> `resnet`."""
    return path.name.split(".")[0] or path.name


def _profile(model: ModelInfo, result: BatchResult, facts: Mapping[str, str | float]) -> Profile:
    told = {ours: facts[theirs] for theirs, ours in _IDENTITY.items() if theirs in facts}
    energy = result.energy
    return Profile(
        created=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        perframe=perframe.__version__,
        complete=True,
        model=model,
        engine=EngineInfo(
            backend="tensorrt",
            version=None,
            device="cuda",
            provider="tensorrt",
            threads=None,
            artifact_sha256=None,
            build_s=None,
        ),
        environment={name: facts[name] for name in _ENVIRONMENT if name in facts},
        regime="inference",
        identity={
            "device": "cuda",
            "measured_by": "trtexec",
            "backend": "tensorrt",
            "backend_version": None,
            "provider": "tensorrt",
            "precision": model.precision,
            "input_shape": "x".join(map(str, model.input_shape)) or None,
            "regime": "inference",
            "sensor": energy.sensor,
            "energy_kind": energy.kind,
            "sensor_column": energy.details.get("column"),
            **told,
        },
        plan=None,
        batches=(result,),
    )
