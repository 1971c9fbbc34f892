"""Energy per layer, by three methods that are named wherever a figure stands.

| method | how | adds up |
|---|---|---|
| `attributed` | a layer's share of the time, times the network's energy above idle | by construction |
| `replayed` | cut out with its real input and executed alone, cold and warm | as far as measured |
| `marginal` | executed more often within the network, whose cost is regressed on how often | as far as measured |

Time shares cost nothing, and are wrong wherever layers draw different power. The other two measure each layer for
itself, which takes about as long as the network did; a budget picks the layers worth it, the slowest first.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from perframe.engines.base import Engine
from perframe.errors import InputError, MeasurementError, PerframeError
from perframe.export.subgraph import Piece
from perframe.profiler.bench import Bench
from perframe.profiler.closure import closure_of, closure_quality
from perframe.profiler.marginal import marginal
from perframe.profiler.pieces import Captures, ExecutedNetwork
from perframe.profiler.replayed import Call, call_cost, last_level_cache_bytes, replay
from perframe.profiler.result import BatchResult, LayerMeasurement, LayerMethod, LayerResult, Quality
from perframe.progress import Progress, silent

# The first of each is the one that stands as the layer's energy.
_FIGURES: Mapping[str, tuple[LayerMethod, ...]] = {
    "replayed": ("replayed", "replayed-warm"),
    "marginal": ("marginal",),
}


def layer_energies(
    result: BatchResult,
    engine: Engine,
    network: ExecutedNetwork,
    bench: Bench,
    *,
    method: Literal["replayed", "marginal"],
    budget_s: float | None = None,
    cache_bytes: int | None = None,
    keep: Callable[[BatchResult], None] | None = None,
    progress: Progress = silent,
) -> BatchResult:
    """Measure the layers of a network for themselves, the slowest first.

    A layer that cannot be measured says why, and the others go on.

    Args:
        result: What was measured of the network.
        engine: Its engine, open, with the network's inputs bound.
        network: The same as a graph.
        bench: How to measure, see `perframe.profiler.bench.bench_beside`.
        method: Which way.
        budget_s: No layer is begun that would, taking as long as the longest so far, end after so many seconds;
            `None` measures all.
        cache_bytes: Size of the last-level cache; `None` asks the device.
        keep: Called with the result so far after every layer, so that nothing finished is lost to whatever ends
            the run.
        progress: Told what is going on.

    Returns:
        The result with the layers' measurements, their energies by `method` (`None` where there is none), how far
        they add up to the network, and what there is to say against them.

    Raises:
        MeasurementError: The sensor failed; what was measured before was given to `keep`.
        PerframeError: Not even an engine that computes nothing can be built and measured.
    """
    clock = engine.clock
    start_s = clock.now_s()
    rows = sorted(result.layers, key=lambda row: row.share, reverse=True)
    pieces, measured = _pieces(rows, network, method)
    progress(f"{method}: what a call costs", 0.0)
    call = _call(network, bench)
    longest_s = clock.now_s() - start_s
    cache_bytes = cache_bytes or last_level_cache_bytes(network.artifact.device)

    captures = Captures(network, pieces)
    for row in (row for row in rows if row.name in pieces):
        begun_s = clock.now_s()
        if budget_s is not None and begun_s - start_s + longest_s > budget_s:
            measured[row.name] = _refused(method, f"The time budget of {budget_s:g} s was used up.")
            continue
        progress(f"{method}: {row.name}", len(measured) / len(rows))
        piece = pieces[row.name]
        try:
            values = captures.values(row.name)
            if method == "replayed":
                measured[row.name] = replay(network, piece, values, bench, call, cache_bytes)
            else:
                measured[row.name] = (marginal(network, engine, piece, values, bench, row.share),)
        except MeasurementError:
            raise
        except PerframeError as error:
            measured[row.name] = _refused(method, error.message)
        longest_s = max(longest_s, clock.now_s() - begun_s)
        if keep is not None:
            keep(_joined(result, method, measured, call))
    return _joined(result, method, measured, call)


def _call(network: ExecutedNetwork, bench: Bench) -> Call:
    try:
        return call_cost(network, bench)
    except MeasurementError:
        raise
    except PerframeError as error:
        name = network.artifact.backend
        message = f"No part of a network can be built and run by itself with {name}: {error.message}"
        raise type(error)(message, error.hint) from error


def _pieces(
    rows: Sequence[LayerResult], network: ExecutedNetwork, method: str
) -> tuple[dict[str, Piece], dict[str, tuple[LayerMeasurement, ...]]]:
    """The layers that can be cut out; of the others, why not."""
    cutter = network.cutter()
    pieces: dict[str, Piece] = {}
    refused: dict[str, tuple[LayerMeasurement, ...]] = {}
    for row in rows:
        try:
            if row.name not in network.groups:
                raise InputError("The runtime added this step: the ONNX model has no node for it.", "")
            pieces[row.name] = cutter.piece(network.groups[row.name])
        except InputError as error:
            refused[row.name] = _refused(method, error.message)
    return pieces, refused


def _refused(method: str, reason: str) -> tuple[LayerMeasurement, ...]:
    return tuple(LayerMeasurement(each, reason=reason) for each in _FIGURES[method])


def _joined(
    result: BatchResult, method: str, measured: Mapping[str, tuple[LayerMeasurement, ...]], call: Call
) -> BatchResult:
    rows = tuple(_row(layer, measured.get(layer.name, ())) for layer in result.layers)
    found = replace(result, layers=rows)
    closures = tuple(closure_of(found, each, call) for each in _FIGURES[method])
    return replace(
        found,
        closures=(*result.closures, *closures),
        quality=(*result.quality, *closure_quality(closures), *_left_out(rows)),
    )


def _row(layer: LayerResult, measured: tuple[LayerMeasurement, ...]) -> LayerResult:
    """Give a layer its energy by the measurement; its time share of the energy is no substitute for a missing one."""
    energy_j = measured[0].energy_j if measured else None
    return replace(
        layer,
        energy_j=energy_j.value if energy_j else None,
        energy_method=measured[0].method if energy_j else None,
        measured=(*layer.measured, *measured),
    )


def _left_out(rows: Sequence[LayerResult]) -> Iterator[Quality]:
    reasons = {row.name: row.measured[-1].reason for row in rows if row.measured and row.measured[-1].reason}
    if reasons:
        slowest = max((row for row in rows if row.name in reasons), key=lambda row: row.share)
        share = math.fsum(row.share for row in rows if row.name in reasons)
        yield Quality(
            "layers-unmeasured",
            "info",
            f"{len(reasons)} of {len(rows)} layers, {share:.1%} of the time, were not measured for themselves; "
            f"{slowest.name}: {reasons[slowest.name]}",
            "They have no energy of their own; a longer --layer-budget measures more of them.",
        )
