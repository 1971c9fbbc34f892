"""Quality codes: what to know before believing a figure, each with a remedy.

| code | severity | when |
|---|---|---|
| `not-steady` | warning | latency or power had not settled when the longest warm-up was over |
| `noisy` | warning | the interval of the mean latency is wider than 5 % of it |
| `ended-early` | invalid | the sensor failed in the middle of the windows; the figures are of those before |
| `few-samples` | info | the 99th percentile rests on fewer than 100 inferences |
| `energy-absent` | warning | no sensor saw every window |
| `energy-modelled` | warning | joules are CPU seconds times stated watts |
| `energy-replayed` | warning | joules come from a recording of another run |
| `energy-inconclusive` | warning | the relative uncertainty of the EPF is above 2 % |
| `few-readings` | warning | a window rests on fewer than 5 distinct power readings |
| `edge-error` | warning | windows are too short for the sensor: more than 1 % may be missed at their ends |
| `power-stuck` | invalid | the power reading did not change in a window of a second or more |
| `power-drift` | warning | power rose or fell steadily over the windows, by more than 2 % |
| `sources-disagree` | invalid | counter and power readings differ by more than 3 % |
| `counter-stuck` | invalid | the counter stood still, or ran backward, while the device drew power |
| `no-power` | invalid | the sensor reads zero watts on a device at work |
| `throttled` | invalid | heat or the power brake held the clocks down |
| `power-capped` | warning | the power limit held the clocks down |
| `clock-drift` | warning | the clock differed by more than 2 % between windows |
| `other-processes` | invalid, or info if allowed | others used the device |
| `host-starved` | warning | the device stood idle for more than 10 % of the time between launches |
| `pace-missed` | warning | inferences at the camera's pace began late |
| `layers-gap` | info | the layers' times do not add up to the network's within 10 % |
| `layers-unattributed` | warning | more than 1 % of the layers' time has no source module |
"""

import math
from collections.abc import Iterator, Sequence

from perframe.errors import MeasurementError
from perframe.profiler.result import (
    BatchResult,
    DeviceState,
    Energy,
    Latency,
    LayerResult,
    Profile,
    Quality,
    WarmUp,
    Window,
)

_NOISY = 0.05
_FEW = 100
_GAP = 0.10
_UNATTRIBUTED = 0.01
_CONCLUSIVE = 0.02
_FEW_READINGS = 5
_EDGE = 0.01
_DRIFT = 0.02
_DISAGREE = 0.03
_CLOCK_DRIFT = 0.02
# A reason that held clocks for less than this share of the time moved no figure.
_LIMITED = 0.001
_MISSED = 0.01
_STUCK_S = 1.0
_BUSY = 0.9
_THROTTLES = frozenset({"thermal", "power_brake", "hw_slowdown"})


def quality_of(result: BatchResult, *, allow_others: bool) -> tuple[Quality, ...]:
    """Return everything there is to say against the figures of one batch size.

    Args:
        result: The figures.
        allow_others: Whether other processes on the device were allowed explicitly.
    """
    return (
        *_of_latency(result.warm_up, result.latency),
        *_of_energy(result.energy),
        *_of_windows(result.energy.windows),
        *(_of_windows(result.paced.windows) if result.paced else ()),
        *(_of_device(result.device_state, allow_others) if result.device_state else ()),
        *_of_layers(result.latency, result.layers),
        *_of_pace(result),
    )


def ended_early(failure: MeasurementError, windows: int) -> Quality:
    """Say that the windows ended before their time, and how many there are."""
    return Quality("ended-early", "invalid", f"After {windows} windows: {failure.message}", failure.hint)


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


def _of_latency(warm_up: WarmUp, latency: Latency) -> Iterator[Quality]:
    if not warm_up.steady:
        yield Quality(
            "not-steady",
            "warning",
            f"Latency or power had not settled after {warm_up.duration_s:.1f} s of warm-up.",
            "Stop other work on the machine, or give a longer --warm-up-s.",
        )
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


def _of_energy(energy: Energy) -> Iterator[Quality]:
    if energy.kind == "absent":
        named = (
            f"Sensor {energy.sensor!r} did not see every window"
            if energy.sensor
            else "No power sensor was read"
        )
        yield Quality(
            "energy-absent",
            "warning",
            f"{named}: there is no energy figure.",
            "Give --sensor, or a longer --window-s than the sensor's update period.",
        )
    elif energy.kind == "modelled":
        simulated = energy.sensor == "sim"
        source = "a simulated GPU" if simulated else "CPU seconds x stated watts"
        yield Quality(
            "energy-modelled",
            "warning",
            f"Energy is modelled: {source}. No sensor was read.",
            "It shows how perframe works, and nothing about this machine."
            if simulated
            else "Use a machine with a power sensor; state your CPU's watts with --watts.",
        )
    elif energy.sensor == "replay":
        yield Quality(
            "energy-replayed",
            "warning",
            "Energy comes from a recorded trace that was played beside this run.",
            "Believe it only if the trace was recorded during the same work.",
        )
    if energy.relative_uncertainty is not None and energy.relative_uncertainty > _CONCLUSIVE:
        # The interval shrinks with the square root of the windows; what is missed at their ends does not.
        edge = min(energy.edge_error or 0.0, 0.9 * _CONCLUSIVE)
        factor = math.ceil(
            ((energy.relative_uncertainty - (energy.edge_error or 0.0)) / (_CONCLUSIVE - edge)) ** 2
        )
        yield Quality(
            "energy-inconclusive",
            "warning",
            f"The energy per frame is known to {energy.relative_uncertainty:.1%} only; 2 % would be conclusive.",
            f"Measure about {factor} times as long: --windows {factor * len(energy.windows)}."
            if factor > 1
            else "Measure longer windows: a smaller --edge-error.",
        )
    if energy.edge_error is not None and energy.edge_error > _EDGE:
        yield Quality(
            "edge-error",
            "warning",
            f"Up to {energy.edge_error:.1%} of a window's energy may be missed at its ends.",
            "Leave --window-s out and give a smaller --edge-error: the length is then chosen for the sensor.",
        )


def _of_windows(windows: Sequence[Window]) -> Iterator[Quality]:
    fewest = min((w.readings for w in windows if w.readings is not None), default=_FEW_READINGS)
    if any(w.readings == 0 and w.duration_s >= _STUCK_S for w in windows):
        yield Quality(
            "power-stuck",
            "invalid",
            "The power reading did not change in a whole window: the sensor stands still.",
            "Look at the device with perframe doctor, or choose another --sensor.",
        )
    elif fewest < _FEW_READINGS:
        yield Quality(
            "few-readings",
            "warning",
            f"A window rests on {fewest} distinct power readings.",
            "Leave --window-s out: it is then chosen for the sensor.",
        )
    powers_w = [w.energy_j / w.duration_s for w in windows if w.energy_j is not None]
    if powers_w and min(powers_w) <= 0.0:
        yield Quality(
            "no-power",
            "invalid",
            f"The sensor says {min(powers_w):.3g} W for a device at work.",
            "It does not see this device: choose another --sensor.",
        )
    elif (drift := _drift(powers_w)) is not None and abs(drift) > _DRIFT:
        yield Quality(
            "power-drift",
            "warning",
            f"Power {'rose' if drift > 0 else 'fell'} steadily by {abs(drift):.1%} over the windows.",
            "The device is still warming up or cooling down: give a longer --warm-up-s.",
        )
    yield from _of_sources(windows)


def _of_sources(windows: Sequence[Window]) -> Iterator[Quality]:
    """Counter against power readings, window by window and never averaged: one bad window is enough."""
    both = [(w.counter_j, w.energy_j) for w in windows if w.counter_j is not None and w.energy_j is not None]
    if any(counter_j <= 0.0 < energy_j for counter_j, energy_j in both):
        yield Quality(
            "counter-stuck",
            "invalid",
            "The energy counter stood still or ran backward while the device drew power.",
            "Measure again; if it stays, update the driver.",
        )
        return
    apart = [counter_j / energy_j - 1.0 for counter_j, energy_j in both if energy_j > 0.0]
    worst = max(apart, key=abs, default=0.0)
    if abs(worst) > _DISAGREE:
        yield Quality(
            "sources-disagree",
            "invalid",
            f"In a window the energy counter is {worst:+.1%} off the integrated power readings; 3 % are allowed.",
            "One of the two is wrong: compare with an external meter, or update the driver.",
        )


def _of_device(state: DeviceState, allow_others: bool) -> Iterator[Quality]:
    limited = {reason for reason, share in state.limited_share.items() if share > _LIMITED} | set(
        state.limits
    )
    if throttled := sorted(limited & _THROTTLES):
        yield Quality(
            "throttled",
            "invalid",
            f"Clocks were held down by: {', '.join(throttled)}.",
            "Cool the device or check its power supply, and measure again.",
        )
    if "power_cap" in limited:
        share = state.limited_share.get("power_cap")
        yield Quality(
            "power-capped",
            "warning",
            f"The power limit held the clocks down{f' for {share:.0%} of the time' if share is not None else ''}.",
            "Compare only with results under the same limit.",
        )
    low, high = state.clock_low_hz, state.clock_high_hz
    if low is not None and high is not None and high > 0 and high / max(low, 1.0) - 1.0 > _CLOCK_DRIFT:
        yield Quality(
            "clock-drift",
            "warning",
            f"The clock moved between {low / 1e6:.0f} and {high / 1e6:.0f} MHz.",
            "Lock the clocks, or give a longer --warm-up-s.",
        )
    if state.busy_share is not None and state.busy_share < _BUSY:
        yield Quality(
            "host-starved",
            "warning",
            f"The device computed only {state.busy_share:.0%} of the time: it waited for the host between launches.",
            "Give a larger batch or a faster host; its idle power is in every frame's energy.",
        )
    if state.other_processes:
        yield Quality(
            "other-processes",
            "info" if allow_others else "invalid",
            f"Others used the device: {', '.join(state.other_processes)}.",
            "Stop them, or allow them with --allow-other-processes.",
        )


def _of_layers(latency: Latency, layers: Sequence[LayerResult]) -> Iterator[Quality]:
    if not layers:
        return
    total_s = math.fsum(layer.latency_s for layer in layers)
    gap = (latency.p50_s - total_s) / latency.p50_s
    if abs(gap) > _GAP:
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
    if result.paced is not None and result.paced.missed_share > _MISSED:
        yield Quality(
            "pace-missed",
            "warning",
            f"{result.paced.missed_share:.0%} of the inferences at {result.paced.fps:g} per second began late.",
            "The device is too slow for this pace: give a lower --fps or a smaller batch.",
        )


def _drift(values: Sequence[float]) -> float | None:
    """Relative rise over the windows if it is steady: every third of them above, or below, the one before."""
    third = len(values) // 3
    if third < 2:
        return None
    first, middle, last = (math.fsum(values[i * third : (i + 1) * third]) / third for i in range(3))
    if not (first < middle < last or first > middle > last):
        return None
    return last / first - 1.0
