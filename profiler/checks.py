"""Quality codes: what to know before believing a figure, each with a remedy.

| code | severity | when |
|---|---|---|
| `not-steady` | warning | the latency had not settled when the longest warm-up was over |
| `noisy` | warning | the interval of the mean latency is wider than 5 % of it |
| `few-samples` | info | the 99th percentile rests on fewer than 100 inferences |
| `energy-absent` | warning | no sensor saw every window |
| `energy-modelled` | warning | joules are CPU seconds times stated watts |
| `energy-replayed` | warning | joules come from a recording of another run |
| `layers-gap` | info | the layers' times do not add up to the network's within 10 % |
| `layers-unattributed` | warning | more than 1 % of the layers' time has no source module |
"""

import math
from collections.abc import Iterator, Sequence

from perframe.profiler.result import Energy, Latency, LayerResult, Quality, WarmUp

_NOISY = 0.05
_FEW = 100
_GAP = 0.10
_UNATTRIBUTED = 0.01


def quality_of(
    warm_up: WarmUp, latency: Latency, energy: Energy, layers: Sequence[LayerResult]
) -> tuple[Quality, ...]:
    """Return everything there is to say against the figures of one batch size."""
    return (*_of_latency(warm_up, latency), *_of_energy(energy), *_of_layers(latency, layers))


def _of_latency(warm_up: WarmUp, latency: Latency) -> Iterator[Quality]:
    if not warm_up.steady:
        yield Quality(
            "not-steady",
            "warning",
            f"Latency had not settled after {warm_up.duration_s:.1f} s of warm-up.",
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
        yield Quality(
            "energy-modelled",
            "warning",
            "Energy is modelled: CPU seconds x stated watts per busy core. No sensor was read.",
            "Use a machine with a power sensor; state your CPU's watts with --watts.",
        )
    elif energy.sensor == "replay":
        yield Quality(
            "energy-replayed",
            "warning",
            "Energy comes from a recorded trace that was played beside this run.",
            "Believe it only if the trace was recorded during the same work.",
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
