"""Do the layers add up to the network?

The sum over the measured layers is held against the network's own figure, less what a call costs anyway, times the
share of the time that the measured layers take in the profiling pass. Where all layers were measured that share is
1, and the residual is free of any assumption. Where a budget left layers out, those are taken to cost what their
time says, as attribution does: the residual then says how far the measured layers are from what their time says,
which may well be true of them. So it is judged only where nearly all of the time was measured, or where what was
measured costs more than the whole network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from perframe.profiler.bench import weighted_sum
from perframe.profiler.replayed import Call
from perframe.profiler.result import BatchResult, Closure, LayerMethod, Quality
from perframe.profiler.stats import Estimate

_CLOSED = 0.10
# With this share of the time measured, the layers left out cannot explain a residual of a tenth.
_COVERED = 0.90


def attributed_closure(result: BatchResult) -> Closure:
    """Say that time shares of the network's energy add up to it, whatever the layers really cost."""
    return Closure("attributed", True, sum(layer.share for layer in result.layers))


def closure_of(result: BatchResult, method: LayerMethod, call: Call) -> Closure:
    """Hold the layers measured by a method against the network.

    Args:
        result: Network and layers.
        method: How the layers were measured.
        call: What running an engine costs before it computes anything.
    """
    latencies, energies, covered, covered_energy = [], [], 0.0, 0.0
    for layer in result.layers:
        for measurement in layer.measured:
            if measurement.method == method and measurement.latency_s is not None:
                latencies.append(measurement.latency_s)
                covered += layer.share
                if measurement.energy_j is not None:
                    energies.append(measurement.energy_j)
                    covered_energy += layer.share
    network_s = None if result.latency is None else result.latency.mean
    network_j = result.energy.epf_above_idle_j or result.energy.epf_j
    call_j = None if call.energy_j is None else weighted_sum([(1 / result.batch, call.energy_j)])
    return Closure(
        method=method,
        by_construction=False,
        covered=covered,
        latency_residual=_residual(latencies, network_s, call.latency_s, covered),
        energy_residual=_residual(energies, network_j, call_j, covered_energy),
        call_s=call.latency_s,
        call_j=call_j,
    )


def closure_quality(closures: Sequence[Closure]) -> Iterator[Quality]:
    """Say which layers do not add up to their network within 10 %: `closure`.

    Invalid if all of the residual's interval lies beyond that, a warning if only its middle does, and an information
    where too few layers were measured to say. Warm replays are a lower bound beside the cold ones, and not judged.
    """
    for closure in closures:
        if closure.by_construction or closure.method == "replayed-warm":
            continue
        for what, residual in (
            ("latencies", closure.latency_residual),
            ("energies", closure.energy_residual),
        ):
            if residual is not None and abs(residual.value) > _CLOSED:
                yield _open(closure, what, residual)


def _open(closure: Closure, what: str, residual: Estimate) -> Quality:
    ratio = 1.0 + residual.value
    interval = ""
    surely = False
    if residual.low is not None and residual.high is not None:
        interval = f" (95 %: {1.0 + residual.low:.0%} to {1.0 + residual.high:.0%})"
        surely = residual.low > _CLOSED or residual.high < -_CLOSED
    if closure.covered < _COVERED and closure.covered * ratio <= 1.0 + _CLOSED:
        return Quality(
            "closure",
            "info",
            f"{closure.covered:.0%} of the layers' time was measured, too little to say whether the {closure.method} "
            f"{what} add up; they are {ratio:.0%}{interval} of what the layers' time says.",
            "Leave --layer-budget out to measure every layer.",
        )
    return Quality(
        "closure",
        "invalid" if surely else "warning",
        f"The {closure.method} {what} of layers with {closure.covered:.0%} of the time add up to {ratio:.0%}{interval} "
        "of the network's share for them.",
        "Believe single layers no better than that. Stop other work on the machine, measure longer, or compare with "
        f"--layer-energy {'replayed' if closure.method == 'marginal' else 'marginal'}.",
    )


def _residual(
    layers: Sequence[Estimate], network: Estimate | None, call: Estimate | None, covered: float
) -> Estimate | None:
    if not layers or network is None or call is None or covered <= 0:
        return None
    total = weighted_sum([(1.0, each) for each in layers])
    expected = weighted_sum([(covered, network), (-covered, call)])
    if expected.value <= 0:
        return None
    ratio = total.value / expected.value
    # To first order: d(sum / expected) = d(sum) / expected - ratio x d(expected) / expected.
    spread = weighted_sum([(1 / expected.value, total), (-ratio / expected.value, expected)])
    if spread.low is None or spread.high is None:
        return Estimate(ratio - 1.0, None, None, spread.n)
    half = (spread.high - spread.low) / 2.0
    return replace(spread, value=ratio - 1.0, low=ratio - 1.0 - half, high=ratio - 1.0 + half)
