"""Quality codes: what to know before believing a figure, each with a remedy.

| code | severity | when |
|---|---|---|
| `not-steady` | warning | latency or power had not settled when the longest warm-up was over |
| `noisy` | warning | the interval of the mean latency is wider than 5 % of it |
| `ended-early` | invalid | the sensor failed before the end; the figures are of what was seen until then |
| `few-samples` | info | the 99th percentile rests on fewer than 100 inferences |
| `energy-absent` | warning | no sensor saw every window |
| `energy-modelled` | warning | joules are CPU seconds times stated watts |
| `energy-replayed` | warning | joules come from a recording of another run |
| `energy-inconclusive` | warning | the relative uncertainty of the EPF is above 2 % |
| `few-readings` | warning | a window rests on fewer than 5 distinct power readings |
| `edge-error` | warning | windows are too short for the sensor: more than 1 % may be missed at their ends |
| `idle-unsettled` | warning | power at rest had not settled: energy above idle is uncertain |
| `idle-differs` | warning | power at rest differs before and after by more than 2 % of what is above it |
| `aliased` | info, or warning with fewer than 4 windows | the load beats with the sensor's updates |
| `other-column` | warning | the calibration is of another reading of the sensor: its uncertainty is not claimed |
| `beyond-calibration` | warning | watts outside those calibrated: likewise |
| `calibration-unidentified` | warning | nothing tells whether the calibration is of this card |
| `power-stuck` | invalid | the power reading did not change in a window of a second or more |
| `power-drift` | warning | power rose or fell steadily over the windows, by more than 2 % |
| `sources-disagree` | invalid | counter and power readings differ by more than 3 % |
| `sources-uncompared` | warning | windows are too short to hold the counter against the power readings |
| `counter-stuck` | invalid | the counter stood still, or ran backward, while the device drew power |
| `no-power` | invalid | the sensor reads zero watts on a device at work |
| `throttled` | invalid | heat or the power brake held the clocks down |
| `power-capped` | warning | the power limit held the clocks down |
| `clocks-limited` | warning | something else held the clocks down |
| `throttling-unknown` | warning | the device does not tell whether its clocks were held down |
| `clock-drift` | warning | the clock differed by more than 2 % between windows |
| `other-processes` | invalid, or info if allowed | others used the device |
| `processes-unknown` | warning | the device does not tell who else used it |
| `host-bound` | warning | putting inferences into the device's stream takes most of the time |
| `host-starved` | warning | the device stood idle for more than 10 % of the time between launches |
| `pace-missed` | warning | inferences at the camera's pace began late |
| `closure` | info, warning or invalid | how far layers that were measured for themselves add up to the network |
| `layers-unmeasured` | info | layers that could not be measured for themselves, or not in the time given |
| `precision-emulated` | warning | the runtime has no kernels for this precision here, and computes in fp32 |
| `layers-missing` | info | the runtime told no layer's time |
| `layers-gap` | info | the layers' times do not add up to the network's within 10 % |
| `layers-unattributed` | warning | more than 1 % of the layers' time has no source module |
"""

import math
from collections.abc import Iterator, Sequence

from perframe.engines.base import EngineArtifact
from perframe.errors import MeasurementError
from perframe.profiler.device_checks import of_device
from perframe.profiler.device_times import device_time_quality
from perframe.profiler.energy_checks import of_calibration, of_energy, of_idle, of_uncertainty, of_windows
from perframe.profiler.result import BatchResult, Latency, LayerResult, Profile, Quality, WarmUp

_NOISY = 0.05
_FEW = 100
_GAP = 0.10
_UNATTRIBUTED = 0.01
_MISSED = 0.01


def quality_of(result: BatchResult, *, allow_others: bool) -> tuple[Quality, ...]:
    """Return everything there is to say against the figures of one batch size.

    Args:
        result: The figures.
        allow_others: Whether other processes on the device were allowed explicitly.
    """
    return (
        *(_of_warm_up(result.warm_up) if result.warm_up else ()),
        *(_of_latency(result.latency) if result.latency else ()),
        *(device_time_quality(result.device_time) if result.device_time else ()),
        *of_energy(result.energy),
        *of_idle(result.energy),
        *of_calibration(result.energy),
        *(of_windows(result.energy.windows, result.energy, result.latency.p50_s) if result.latency else ()),
        *(of_windows(result.paced.windows, result.energy, 1.0 / result.paced.fps) if result.paced else ()),
        *(of_device(result.device_state, allow_others) if result.device_state else ()),
        *_of_layers(result.latency, result.layers),
        *_of_pace(result),
    )


def ended_early(failure: MeasurementError, windows: int) -> Quality:
    """Say that the windows ended before their time, and how many there are."""
    return Quality("ended-early", "invalid", f"After {windows} windows: {failure.message}", failure.hint)


def layers_missing() -> Quality:
    """Say that the profiling pass was asked for and gave nothing."""
    return Quality(
        "layers-missing",
        "info",
        "The runtime told no layer's time.",
        "Look at the layers with another --engine, or import a profile of trtexec.",
    )


def precision_quality(artifact: EngineArtifact) -> tuple[Quality, ...]:
    """Say that a reduced precision is not what is computed in: ONNX Runtime's CPU kernels are for fp32.

    It folds the casts of an fp16 graph away, and most int8 convolutions are dequantised first.
    """
    narrow = artifact.model.precision in ("fp16", "bf16", "int8")
    if not (narrow and artifact.backend == "onnxruntime" and artifact.provider == "cpu"):
        return ()
    return (
        Quality(
            "precision-emulated",
            "warning",
            f"ONNX Runtime's CPU computes most of this {artifact.model.precision} network in fp32.",
            "Time and energy say nothing about this precision elsewhere: measure on the device that ships.",
        ),
    )


def require_valid(profile: Profile) -> None:
    """Refuse a profile with an invalid measurement in it.

    Raises:
        MeasurementError: One of its batch sizes has a finding of severity `invalid`.
    """
    for batch in profile.batches:
        for quality in batch.quality:
            if quality.severity == "invalid":
                raise MeasurementError(
                    f"Batch {batch.batch}: {quality.code}: {quality.message}", quality.hint
                )


def _of_warm_up(warm_up: WarmUp) -> Iterator[Quality]:
    if not warm_up.steady:
        yield Quality(
            "not-steady",
            "warning",
            f"Latency or power had not settled after {warm_up.duration_s:.1f} s of warm-up.",
            "Stop other work on the machine, or give a longer --warm-up-s.",
        )


def _of_latency(latency: Latency) -> Iterator[Quality]:
    mean = latency.mean
    if (
        mean.low is not None
        and mean.high is not None
        and (width := (mean.high - mean.low) / mean.value) > _NOISY
    ):
        yield Quality(
            "noisy",
            "warning",
            f"The 95 % interval of the mean latency is {width:.0%} of it.",
            "Stop other work on the machine, or give more --windows.",
        )
    if latency.samples < _FEW:
        yield Quality(
            "few-samples",
            "info",
            f"The 99th percentile rests on {latency.samples} inferences.",
            "Give a longer --window-s for a tail that can be believed.",
        )


def _of_layers(latency: Latency | None, layers: Sequence[LayerResult]) -> Iterator[Quality]:
    if not layers:
        return
    total_s = math.fsum(layer.latency_s for layer in layers)
    if latency is not None and abs((latency.p50_s - total_s) / latency.p50_s) > _GAP:
        yield Quality(
            "layers-gap",
            "info",
            f"The layers' times add up to {total_s / latency.p50_s:.0%} of the network's latency.",
            "The rest is spent between layers, or by the profiling pass itself; compare shares, not sums.",
        )
    lost = math.fsum(layer.share for layer in layers if layer.module is None)
    if lost > _UNATTRIBUTED:
        yield Quality(
            "layers-unattributed",
            "warning",
            f"{lost:.1%} of the layers' time could not be led back to a source module.",
            "Export with perframe, which keeps module paths in the ONNX file.",
        )


def _of_pace(result: BatchResult) -> Iterator[Quality]:
    paced = result.paced
    if paced is None:
        return
    yield from of_uncertainty(
        paced.relative_uncertainty, paced.edge_error, len(paced.windows), "At the camera's pace it"
    )
    if paced.missed_share > _MISSED:
        yield Quality(
            "pace-missed",
            "warning",
            f"{paced.missed_share:.0%} of the inferences at {paced.fps:g} per second began late.",
            "The device is too slow for this pace: give a lower --fps or a smaller batch.",
        )
