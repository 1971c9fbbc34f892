"""What one more execution of a layer costs within the network.

The network is built again with copies of the layer beside it, each on its real input and with inputs, outputs and
weights of its own, and its cost is regressed on how many there are. Clocks, temperature and power limit are those of
the whole network, which a layer that is replayed alone does not see.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from perframe.arrays import Array
from perframe.engines.base import Engine
from perframe.export.subgraph import Piece, copies, footprint_bytes, with_copies
from perframe.profiler.bench import Bench, Runs
from perframe.profiler.pieces import ExecutedNetwork, opened_network
from perframe.profiler.result import LayerMeasurement
from perframe.profiler.stats import Estimate, student_t

# The network is measured with none, so many, and twice as many copies as take this share of its time.
_ADDED_SHARE = 0.5
_MOST_COPIES = 64
_MOST_BYTES = 2**28
# Alternating between the engines, so that what drifts hits all of them alike.
_ROUNDS = 3
_WINDOWS = 2


def marginal(
    network: ExecutedNetwork,
    engine: Engine,
    piece: Piece,
    values: Mapping[str, Array],
    bench: Bench,
    share: float,
) -> LayerMeasurement:
    """Measure one more execution of a layer within the network.

    Args:
        network: The network.
        engine: Its engine, open, with its inputs bound.
        piece: The layer.
        values: The tensors at its boundary, see `perframe.profiler.pieces.captured`.
        bench: How to measure.
        share: About which share of the network's time the layer takes.

    Raises:
        PerframeError: The runtime refuses the network with the copies, or the sensor failed.
    """
    once = max(footprint_bytes(network.proto, piece, values), 1)
    wanted = math.ceil(_ADDED_SHARE / share) if share > 0 else _MOST_COPIES
    step = min(max(wanted, 1), _MOST_COPIES, max(_MOST_BYTES // once, 1))
    observed: list[tuple[int, Runs]] = []
    with ExitStack() as stack:
        engines = [(0, engine)]
        for count in (step, 2 * step):
            extra = copies(network.proto, piece, values, count, own_weights=True)
            proto = with_copies(network.proto, extra)
            engines.append((count, stack.enter_context(opened_network(network, proto, extra))))
        for _ in range(_ROUNDS):
            observed += [(count, bench.runs(each, _WINDOWS)) for count, each in engines]
    counts = [float(count) for count, _ in observed]
    joules = [_mean(runs.energies_j) for _, runs in observed if runs.energies_j is not None]
    per_frame = [each / network.batch for each in joules]
    return LayerMeasurement(
        method="marginal",
        latency_s=slope(counts, [_mean(runs.latencies_s) for _, runs in observed]),
        energy_j=slope(counts, per_frame) if len(per_frame) == len(observed) else None,
        copies=2 * step,
        buffer_bytes=extra.buffer_bytes,
        steady=all(runs.steady for _, runs in observed),
    )


def slope(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Return the slope of the least-squares line through observations, with Student's t interval.

    Args:
        x: Where was observed; not all the same.
        y: What was observed, at least three times; the deviations from the line are independent.
    """
    n = len(x)
    centre_x, centre_y = math.fsum(x) / n, math.fsum(y) / n
    spread = math.fsum((each - centre_x) ** 2 for each in x)
    value = math.fsum((a - centre_x) * (b - centre_y) for a, b in zip(x, y, strict=True)) / spread
    squares = math.fsum((b - centre_y - value * (a - centre_x)) ** 2 for a, b in zip(x, y, strict=True))
    half = student_t(n - 2, 0.95) * math.sqrt(squares / (n - 2) / spread)
    return Estimate(value, value - half, value + half, n)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
