"""The versioned result. What is written today is readable by every later version.

History of `perframe.profile`:

1: first version.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perframe.engines.base import ModelInfo
from perframe.files import write_text
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.stats import Estimate
from perframe.typed_json import from_json, read_document

SCHEMA = "perframe.profile/1"

EnergyKind = Literal["measured", "modelled", "absent"]
Severity = Literal["info", "warning", "invalid"]


@dataclass(frozen=True)
class Window:
    """One measured stretch of many inferences.

    Attributes:
        start_s: Since the first window began.
        duration_s: From the first inference's start to the last one's end.
        frames: Inferences times batch size.
        energy_j: Gross joules of the window; `None` if unknown.
        counter_j: The same by the device's own counter, where it was read beside the power readings.
        readings: Distinct power readings in it; `None` where energy comes from a counter.
        cpu_s: CPU seconds this process spent in it; `None` where another measured.
        p50_s: Median seconds per inference in it.
        p90_s: 90th percentile.
        p99_s: 99th percentile.
    """

    start_s: float
    duration_s: float
    frames: int
    energy_j: float | None
    counter_j: float | None
    readings: int | None
    cpu_s: float | None
    p50_s: float
    p90_s: float
    p99_s: float


@dataclass(frozen=True)
class WarmUp:
    """How the warm-up before the windows went; `steady` tells whether the latency settled in time."""

    duration_s: float
    iterations: int
    steady: bool


@dataclass(frozen=True)
class Spent:
    """How long the phases of a measurement took.

    Attributes:
        rest_s: Watching the device at rest, before and after.
        warm_up_s: Warm-up.
        windows_s: The windows, those at a camera's pace included, and not what lies between them.
        layers_s: The passes that stand apart: layers, and the device's own times.
    """

    rest_s: float = 0.0
    warm_up_s: float = 0.0
    windows_s: float = 0.0
    layers_s: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        """Return how long each phase took in both."""
        return Spent(
            self.rest_s + other.rest_s,
            self.warm_up_s + other.warm_up_s,
            self.windows_s + other.windows_s,
            self.layers_s + other.layers_s,
        )


@dataclass(frozen=True)
class Latency:
    """Seconds per inference of one batch.

    Attributes:
        p50_s: Median over all inferences in all windows.
        p90_s: 90th percentile.
        p99_s: 99th percentile.
        mean: Mean with its interval; every window is one observation.
        frames_per_s: Frames of all windows over their time.
        samples: Inferences behind the percentiles.
    """

    p50_s: float
    p90_s: float
    p99_s: float
    mean: Estimate
    frames_per_s: float
    samples: int


@dataclass(frozen=True)
class CalibrationUse:
    """The calibration that a sensor's readings were corrected by.

    Attributes:
        column: What was calibrated, in the calibration's words.
        field: What was read, in the sensor's words; `None` if it does not tell.
        same_field: Whether both are the same kind of reading.
        identified: Whether sensor and calibration are known to be of one card.
        low_w: Lowest corrected watts that it covers.
        high_w: Highest.
    """

    column: str
    field: str | None
    same_field: bool
    identified: bool
    low_w: float
    high_w: float


@dataclass(frozen=True)
class PowerTrace:
    """The power readings of a measurement, to be drawn: from the rest before the windows to the rest after them.

    Straight lines from point to point are what was read, warm-up and pauses included. Of a longer measurement no more
    than 2,000 points are kept: both ends, and of each of some 1,000 stretches the lowest and the highest reading, so
    that no peak is lost. Energies are of every reading, and not computed from these.

    Attributes:
        time_s: On the clock of `Window.start_s`, to the millisecond: negative before the windows, and never falling.
        power_w: Watts at each of them, to the milliwatt.
    """

    time_s: tuple[float, ...]
    power_w: tuple[float, ...]


@dataclass(frozen=True)
class Energy:
    """Joules per frame.

    Attributes:
        kind: `measured`; `modelled` (no sensor was read: never comparable with measured); or `absent`.
        sensor: Name of the sensor; `None` if absent.
        domain: What the watts include: `gpu`, `module`, `board` or `package`.
        epf_j: Energy per frame, gross.
        epf_above_idle_j: The same less what the device draws at rest.
        power_w: Mean power in the windows.
        idle_w: Mean power at rest, before and after.
        idle_before_w: Before the windows.
        idle_after_w: After them.
        idle_settled: Whether the power at rest had settled both times.
        relative_uncertainty: Of `epf_j` against other results from this device and sensor: half its interval and
            what may be missed at the windows' ends, over the value.
        absolute_uncertainty: Of `epf_j` against the truth, from the sensor's gain; `None` if nothing is known.
        counter_epf_j: Energy per frame by the device's own counter, where there is one beside the readings.
        update_period_s: How often the reading changed; `None` without power readings.
        averaging_window_s: Over how long a reading averages, where that is known.
        edge_error: Bound of what was missed at the windows' ends, see `MeasurementPlan.edge_error`.
        calibration: What the readings were corrected by; `None` for uncorrected ones.
        details: What else there is to know about the sensor.
        windows: The raw windows.
        trace: What the sensor read meanwhile; `None` where it is a counter, read at the ends of windows only, or where
            another program measured. Of several builds the first one's, whose windows come first.
        idle_spans_s: When `idle_before_w` and `idle_after_w` were measured: begin and end of each, on the clock of
            `Window.start_s`; empty if that is not known. Of several builds the first one's.
    """

    kind: EnergyKind
    sensor: str | None
    domain: str | None
    epf_j: Estimate | None
    epf_above_idle_j: Estimate | None
    power_w: Estimate | None
    idle_w: float | None
    relative_uncertainty: float | None
    absolute_uncertainty: float | None
    counter_epf_j: float | None
    update_period_s: float | None
    edge_error: float | None
    details: Mapping[str, str | float]
    windows: tuple[Window, ...]
    # Later fields of the same schema have defaults: files without them stay readable.
    idle_before_w: float | None = None
    idle_after_w: float | None = None
    idle_settled: bool | None = None
    averaging_window_s: float | None = None
    calibration: CalibrationUse | None = None
    trace: PowerTrace | None = None
    idle_spans_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Paced:
    """At a camera's pace: one inference every 1 / fps seconds, the gaps included.

    Attributes:
        fps: Inferences per second that were asked for.
        epf_j: Joules per frame, gaps included.
        power_w: Mean power.
        relative_uncertainty: Of `epf_j`, as `Energy.relative_uncertainty`.
        absolute_uncertainty: Of `epf_j`, as `Energy.absolute_uncertainty`.
        edge_error: As `Energy.edge_error`.
        closed_form_epf_j: What follows from the saturated figures: energy above idle per frame, plus idle power
            for one frame's share of a tick.
        missed_share: Share of inferences that began late because the one before was not done.
        p50_s: Median seconds per inference.
        p99_s: 99th percentile.
        windows: The raw windows.
    """

    fps: float
    epf_j: Estimate | None
    power_w: Estimate | None
    closed_form_epf_j: float | None
    missed_share: float
    p50_s: float
    p99_s: float
    windows: tuple[Window, ...]
    relative_uncertainty: float | None = None
    absolute_uncertainty: float | None = None
    edge_error: float | None = None


@dataclass(frozen=True)
class DeviceState:
    """What the device went through during the windows, as far as its sensor tells.

    Attributes:
        temperature_start_c: Before the first window.
        temperature_end_c: After the last.
        clock_low_hz: Lowest clock seen at a window's end.
        clock_high_hz: Highest.
        busy_share: Share of the time before the ends of saturated windows in which the device computed.
        limited_share: Share of the windows' time that clocks were held down, by reason.
        limits: Reasons seen to hold clocks down at some moment; `None` if the device does not tell.
        other_processes: Others that used the device, at rest and during the windows; `None` if it does not tell.
    """

    temperature_start_c: float | None
    temperature_end_c: float | None
    clock_low_hz: float | None
    clock_high_hz: float | None
    busy_share: float | None
    limited_share: Mapping[str, float]
    limits: tuple[str, ...] | None
    other_processes: tuple[str, ...] | None


LayerMethod = Literal["replayed", "replayed-warm", "marginal"]


@dataclass(frozen=True)
class LayerMeasurement:
    """What one step costs by a measurement of its own, see `perframe.profiler.layer_energy`.

    Attributes:
        method: `replayed`: cut out and executed back to back, on buffers that together are several times the
            last-level cache, so that all of them are cold. `replayed-warm`: the same on buffers that fit into it.
            `marginal`: executed more often within the network, whose cost is regressed on how often.
        latency_s: Seconds per inference, less what calling an engine costs anyway; `None` if it was not measured.
        energy_j: Joules per frame, above idle where the sensor sees the device at rest; `None` if unknown.
        copies: How often one run of the measured engine executes the step; for `marginal`, how much more often at
            most.
        buffer_bytes: Inputs, outputs and weights that these copies go through.
        steady: Whether latency and power had settled before the windows.
        reason: Why it was not measured; `None` if it was.
    """

    method: LayerMethod
    latency_s: Estimate | None = None
    energy_j: Estimate | None = None
    copies: int | None = None
    buffer_bytes: int | None = None
    steady: bool | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LayerResult:
    """One step of the engine: where the time of an inference goes.

    Attributes:
        name: The runtime's name of the step.
        module: Path of the source module; `None` if it could not be found.
        op: The runtime's operator.
        onnx_nodes: The ONNX nodes fused into it.
        overhead: True for work the runtime added (layout changes, copies).
        latency_s: Median seconds per inference, from the profiling pass.
        share: Of the sum over all steps.
        macs: Multiply-accumulates per frame.
        params: Convolution and fully connected weights.
        activations: Input and output elements per frame.
        intensity: MACs / (parameters + activations).
        groups: Number of groups g, of a convolution.
        group_size: Input channels per group G, of a convolution.
        kernel: The runtime's name of the kernel that it chose, where it tells.
        format: Layout and data type of what the step writes, in the runtime's words, where it tells.
        energy_j: Joules per frame.
        energy_method: How `energy_j` came about: `attributed` = its time share of the energy above idle, or a
            method of `LayerMeasurement`.
        measured: Measurements of this step for itself.
    """

    name: str
    module: str | None
    op: str
    onnx_nodes: tuple[str, ...]
    overhead: bool
    latency_s: float
    share: float
    macs: int | None
    params: int | None
    activations: int | None
    intensity: float | None
    groups: int | None
    group_size: int | None
    energy_j: float | None
    energy_method: str | None
    measured: tuple[LayerMeasurement, ...] = ()
    kernel: str | None = None
    format: str | None = None


@dataclass(frozen=True)
class Quality:
    """Something to know before believing a figure: what it is, how bad, and what to do about it."""

    code: str
    severity: Severity
    message: str
    hint: str


@dataclass(frozen=True)
class Closure:
    """How far the steps by one method add up to the network. Nothing is ever scaled to make them.

    Attributes:
        method: `attributed`, or a method of `LayerMeasurement`.
        by_construction: Whether they must add up, being shares of the network's own figure: that proves nothing.
        covered: Share of the steps' time whose steps were measured.
        latency_residual: Sum of the measured steps' latencies over their share of the network's, less 1; a call's own
            cost counts with the network once. `None` where nothing was measured.
        energy_residual: The same for joules per frame.
        call_s: Seconds that calling an engine costs, whatever it computes.
        call_j: Joules of the same, above idle where the sensor sees the device at rest.
    """

    method: str
    by_construction: bool
    covered: float
    latency_residual: Estimate | None = None
    energy_residual: Estimate | None = None
    call_s: Estimate | None = None
    call_j: Estimate | None = None


@dataclass(frozen=True)
class Build:
    """One of several builds of an engine.

    Attributes:
        artifact_sha256: Of the engine file.
        build_s: Seconds the build took.
        windows: Measured on it.
        latency_s: Mean seconds per inference.
        epf_j: Mean joules per frame.
    """

    artifact_sha256: str
    build_s: float
    windows: int
    latency_s: float | None
    epf_j: float | None


@dataclass(frozen=True)
class DeviceTime:
    """Inferences as events in the device's stream time them, without what the host adds.

    Attributes:
        device: The GPU.
        library: What made the events, with its version.
        graph: Whether an inference was one launch of a CUDA graph.
        no_graph: Why not.
        transfers: Whether inputs and outputs were copied in every inference.
        samples: Inferences behind the figures.
        compute_p50_s: Median seconds on the device, without transfers.
        compute_p90_s: 90th percentile.
        compute_p99_s: 99th percentile.
        enqueue_p50_s: Median seconds on the host to put an inference into the stream.
        upload_p50_s: Median seconds to copy the inputs; `None` without transfers.
        download_p50_s: Median seconds to copy the outputs.
    """

    device: str
    library: str
    graph: bool
    no_graph: str | None
    transfers: bool
    samples: int
    compute_p50_s: float
    compute_p90_s: float
    compute_p99_s: float
    enqueue_p50_s: float
    upload_p50_s: float | None
    download_p50_s: float | None


@dataclass(frozen=True)
class FailedBatch:
    """A batch size that could not be measured, and why."""

    batch: int
    message: str
    hint: str


@dataclass(frozen=True)
class BatchResult:
    """Everything measured at one batch size.

    Attributes:
        batch: Frames per inference.
        inputs_sha256: Of the input values; `None` where another program chose them.
        warm_up: Before the windows; `None` if it is not known.
        latency: Whole network; `None` for imported times of layers alone.
        energy: Whole network.
        paced: Whole network at a camera's pace; `None` unless asked for.
        device_state: `None` where the sensor does not tell.
        layers: Per step, in execution order.
        layers_sum_s: Sum of the steps' latencies; `None` without a per-layer pass.
        layers_gap_s: Median latency of the whole network less that sum: what happens between the steps, and
            what the profiling pass itself costs (negative).
        attributed_share: Share of the steps' time that has a source module.
        quality: What to know before believing the figures.
        closures: How far the steps add up to the network, per method.
        device_time: The device's own times, where it tells them.
        builds: The builds of the engine that were measured, where there were several.
        spent: How long it took, layers that were measured for themselves not counted; `None` if it is not known, or
            the engine keeps a virtual clock.
    """

    batch: int
    inputs_sha256: str | None
    warm_up: WarmUp | None
    latency: Latency | None
    energy: Energy
    paced: Paced | None
    device_state: DeviceState | None
    layers: tuple[LayerResult, ...]
    layers_sum_s: float | None
    layers_gap_s: float | None
    attributed_share: float | None
    quality: tuple[Quality, ...]
    closures: tuple[Closure, ...] = ()
    device_time: DeviceTime | None = None
    builds: tuple[Build, ...] = ()
    spent: Spent | None = None

    @property
    def ended_early(self) -> bool:
        """Whether the sensor failed before all windows were measured."""
        return any(each.code == "ended-early" for each in self.quality)


@dataclass(frozen=True)
class EngineInfo:
    """The engine that was measured, see `perframe.engines.base.EngineArtifact`.

    What is not known of an imported one is `None`.
    """

    backend: str
    version: str | None
    device: str
    provider: str
    threads: int | None
    artifact_sha256: str | None
    build_s: float | None


@dataclass(frozen=True)
class Profile:
    """One measurement of one engine on one device.

    Attributes:
        created: UTC, ISO 8601.
        perframe: Version that wrote it.
        complete: False if the run ended before all planned batch sizes were measured.
        model: The network.
        engine: The engine.
        environment: The machine and the software, for people.
        regime: `inference`, or `training` (forward and backward).
        identity: What must agree before two results may be compared.
        plan: What was to be measured; `None` where another program decided it.
        batches: What was measured.
        failed: Batch sizes that the device had not the memory for.
    """

    created: str
    perframe: str
    complete: bool
    model: ModelInfo
    engine: EngineInfo
    environment: Mapping[str, str | float | None]
    regime: Literal["inference", "training"]
    identity: Mapping[str, str | float | None]
    plan: MeasurementPlan | None
    batches: tuple[BatchResult, ...]
    failed: tuple[FailedBatch, ...] = ()


def profile_to_json(profile: Profile) -> str:
    """Return the profile as a JSON document."""
    return json.dumps({"schema": SCHEMA, **dataclasses.asdict(profile)}, indent=1, allow_nan=False)


def write_profile(profile: Profile, path: Path) -> None:
    """Write the profile to `path`, whole or not at all."""
    write_text(path, profile_to_json(profile) + "\n")


def read_profile(path: Path) -> Profile:
    """Read a profile of any version up to this program's.

    Raises:
        InputError: The file is missing, not JSON, not a profile, from a newer version, or a field is wrong.
    """
    document = read_document(
        path,
        "profile",
        SCHEMA,
        "A newer perframe may have written it: upgrade, or profile again.",
    )
    return from_json(Profile, document, str(path))
