"""What a layer costs alone: cut out, and replayed back to back on its real input.

One run of the engine executes many copies of the layer, each with inputs and outputs of its own. So the cost of
calling the engine is spread over all of them, and what is left of it can be measured and taken off; and the buffers
of all copies together decide what the caches hold. Cold: every copy has its own weights too, and together they are
three times as large as the last-level cache, so that nothing is there any more when its turn comes again. Warm: the
weights are shared, and everything fits into half of that cache. In the network a layer finds its input warm, and its
weights warm only if the whole network fits into the cache, so that its true cost lies between the two. One thing is
lost outside the network: a layer that there writes its result over its input, as a convolution does that a residual
addition was fused into, has to copy that input first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from perframe.arrays import Array
from perframe.export.subgraph import Piece, copies, footprint_bytes
from perframe.profiler.bench import Bench, Runs, weighted_sum
from perframe.profiler.pieces import ExecutedNetwork, opened_copies
from perframe.profiler.result import LayerMeasurement, LayerMethod
from perframe.profiler.stats import Estimate

_CACHES = 3
# Bounds the engine's size where a layer is tiny; its buffers may then still fit into the cache.
_MOST_COLD = 256
_MOST_WARM = 16
_IDENTITIES = 16
# As large as the largest second-level cache of a GPU so far, where it cannot be asked for.
_UNKNOWN_CACHE = 128 * 2**20


@dataclass(frozen=True)
class Call:
    """What running an engine costs before it computes anything.

    Attributes:
        latency_s: Seconds per run.
        energy_j: Joules per run, above idle where that is known.
    """

    latency_s: Estimate
    energy_j: Estimate | None


def call_cost(network: ExecutedNetwork, bench: Bench) -> Call:
    """Measure engines of one and of sixteen operators that compute nothing; a straight line leads to none.

    Raises:
        PerframeError: They cannot be built or measured.
    """
    node = onnx.helper.make_node("Identity", ["in"], ["out"], name="identity")
    piece = Piece((node,), ("in",), (), (), ("out",))
    value = np.ones((network.batch, 1), np.float32)
    found: list[Runs] = []
    for count in (1, _IDENTITIES):
        extra = copies(network.proto, piece, {"in": value, "out": value}, count, own_weights=False)
        with opened_copies(network, extra) as engine:
            found.append(bench.runs(engine))
    one, many = found
    factors = (_IDENTITIES / (_IDENTITIES - 1), -1 / (_IDENTITIES - 1))
    return Call(
        latency_s=weighted_sum(list(zip(factors, (one.latency_s, many.latency_s), strict=True))),
        energy_j=None
        if one.energy_j is None or many.energy_j is None
        else weighted_sum(list(zip(factors, (one.energy_j, many.energy_j), strict=True))),
    )


def replay(
    network: ExecutedNetwork,
    piece: Piece,
    values: Mapping[str, Array],
    bench: Bench,
    call: Call,
    cache_bytes: int,
) -> tuple[LayerMeasurement, ...]:
    """Measure a layer alone, cold and warm.

    Args:
        network: The network it is part of.
        piece: The layer.
        values: The tensors at its boundary, see `perframe.profiler.pieces.captured`.
        bench: How to measure.
        call: What running an engine costs anyway.
        cache_bytes: Size of the last-level cache.

    Raises:
        PerframeError: The runtime refuses the layer alone, or the sensor failed.
    """
    once = max(footprint_bytes(network.proto, piece, values), 1)
    cold = min(max(math.ceil(_CACHES * cache_bytes / once), 1), _MOST_COLD)
    warm = min(max(cache_bytes // 2 // once, 1), _MOST_WARM)
    found = []
    plans: tuple[tuple[LayerMethod, int, bool], ...] = (
        ("replayed", cold, True),
        ("replayed-warm", warm, False),
    )
    for method, count, own_weights in plans:
        extra = copies(network.proto, piece, values, count, own_weights=own_weights)
        with opened_copies(network, extra) as engine:
            runs = bench.runs(engine)
        frames = count * network.batch
        found.append(
            LayerMeasurement(
                method=method,
                latency_s=weighted_sum([(1 / count, runs.latency_s), (-1 / count, call.latency_s)]),
                energy_j=None
                if runs.energy_j is None or call.energy_j is None
                else weighted_sum([(1 / frames, runs.energy_j), (-1 / frames, call.energy_j)]),
                copies=count,
                buffer_bytes=extra.buffer_bytes,
                steady=runs.steady,
            )
        )
    return tuple(found)


def last_level_cache_bytes(device: str) -> int:
    """Return the size of a device's last-level cache; where it does not tell, the largest there is among GPUs."""
    sizes = []
    if device == "cpu":
        for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
            digits = file.read_text(encoding="ascii").strip().removesuffix("K")
            sizes += [int(digits) * 1024] if digits.isdigit() else []
    return max(sizes, default=_UNKNOWN_CACHE)
