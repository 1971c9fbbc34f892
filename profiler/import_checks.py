"""What to know before believing an imported result.

| code | severity | when |
|---|---|---|
| `imported` | info | always: nothing was measured here, and what disturbed the run is not known |
| `latency-absent` | warning | there are no query times |
| `queries-overlap` | warning | queries ran beside each other: their latencies are not those of a network alone |
| `host-starved` | warning | the device computed less than 90 % of the time |
| `layers-unknown` | warning | the profile has layers that the inspector does not know |
| `layers-untimed` | info | the inspector has layers that the profile does not |
| `layers-few` | warning | the layers' times rest on fewer than 10 inferences |
| `layers-means` | info | the layers' times are means, not medians |
| `layers-names-only` | warning | the inspector told no more than names, and there is no ONNX file |
| `energy-from-trace` | warning | joules rest on which part of a trace was the run, see `import_energy` |

and those of `perframe.profiler.checks`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from perframe.engines.base import EngineLayer
from perframe.profiler.checks import quality_of
from perframe.profiler.result import BatchResult, Quality
from perframe.profiler.trtexec_files import LayerProfile, QueryTimes

_FEW = 10
_LISTED = 3
_OVERLAP = 1.02
_BUSY = 0.9
# Remedies of findings that are the same as in a measurement, where trtexec takes other options.
_REMEDIES = {
    "noisy": "Lock the clocks, stop other work on the device, and run trtexec for longer: --duration=60.",
    "few-samples": "Run trtexec for longer, --duration=60, for a tail that can be believed.",
    "not-steady": "Give trtexec a longer --warmUp, or lock the clocks.",
    "energy-absent": "Record nvidia-smi or tegrastats beside trtexec, and give it as --power-trace.",
    "energy-inconclusive": "Run trtexec for longer while recording the power: --duration=60.",
    "layers-unattributed": "Build the engine with --profilingVerbosity=detailed, and give its --onnx.",
}


def import_quality(
    result: BatchResult,
    timed: LayerProfile,
    times: QueryTimes | None,
    layers: Sequence[EngineLayer],
    *,
    only_names: bool,
) -> Iterator[Quality]:
    """Say everything there is to say against imported figures.

    Args:
        result: The figures.
        timed: The layers' times.
        times: The queries' times.
        layers: The engine's layers.
        only_names: Whether nothing but their names is known.
    """
    yield Quality(
        "imported",
        "info",
        "Measured elsewhere by trtexec: throttling, other processes and clocks during the run are not known.",
        "Record nvidia-smi -q beside the run.",
    )
    for found in quality_of(result, allow_others=False):
        yield replace(found, hint=_REMEDIES.get(found.code, found.hint))
    yield from _of_times(times)
    yield from _of_join(result, layers)
    yield from _of_profile(timed)
    if only_names:
        yield Quality(
            "layers-names-only",
            "warning",
            "The engine's layers are no more than names: their MACs, shapes and kernels are not known.",
            "Build the engine with --profilingVerbosity=detailed, or give its --onnx.",
        )


def _of_times(times: QueryTimes | None) -> Iterator[Quality]:
    if times is None:
        yield Quality(
            "latency-absent",
            "warning",
            "The network's latency is not known: the sum of the layers' times is not it.",
            "Give --times of trtexec --exportTimes.",
        )
    elif times.busy_share > _OVERLAP:
        yield Quality(
            "queries-overlap",
            "warning",
            f"Queries ran beside each other ({times.busy_share:.2f} at a time): a latency is that of a query among"
            " others.",
            "Compare frames per second, or run trtexec with --infStreams=1.",
        )
    elif times.busy_share < _BUSY:
        yield Quality(
            "host-starved",
            "warning",
            f"The device computed only {times.busy_share:.0%} of the time: it waited for the host or for transfers.",
            "Run trtexec with --useCudaGraph, --useSpinWait and --noDataTransfers, the defaults from 11.0 on.",
        )


def _of_join(result: BatchResult, layers: Sequence[EngineLayer]) -> Iterator[Quality]:
    known, timed = {layer.name for layer in layers}, {row.name for row in result.layers}
    if unknown := [row for row in result.layers if row.name not in known]:
        yield Quality(
            "layers-unknown",
            "warning",
            f"{len(unknown)} layers of the profile ({math.fsum(row.share for row in unknown):.1%} of the time) are not"
            f" in the engine's: {_listed([row.name for row in unknown])}.",
            "Give the two files of one run of trtexec, with one engine.",
        )
    if untimed := [layer.name for layer in layers if layer.name not in timed]:
        yield Quality(
            "layers-untimed",
            "info",
            f"{len(untimed)} layers of the engine have no time: {_listed(untimed)}.",
            "They may not have run; give the two files of one run of trtexec, with one engine.",
        )


def _of_profile(timed: LayerProfile) -> Iterator[Quality]:
    if timed.iterations is not None and timed.iterations < _FEW:
        yield Quality(
            "layers-few",
            "warning",
            f"The layers' times rest on {timed.iterations} inference{'s' if timed.iterations > 1 else ''}.",
            "Profile for longer: trtexec --iterations=100.",
        )
    if not timed.medians:
        yield Quality(
            "layers-means",
            "info",
            "The layers' times are means: this version of trtexec writes no medians.",
            "A disturbed inference counts in them.",
        )


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
