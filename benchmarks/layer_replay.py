"""Do the layers of ResNeXt-50, each replayed alone, take as long as the network? ONNX Runtime on the CPU, one thread.

Every step of the optimised graph is cut out with its real input and replayed, cold and warm, between two measurements
of the whole network, and divided by those, so that whatever else the machine does hits both alike. CPU time stands
beside wall time: it leaves out when other processes had the core.
"""

import argparse
import math
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from perframe.engines.base import EngineArtifact
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.inputs import seeded_inputs
from perframe.engines.ort import OnnxRuntime
from perframe.engines.prepare import build_engine
from perframe.profiler.bench import Bench, Runs
from perframe.profiler.characterise import Response
from perframe.profiler.energy import open_meter
from perframe.profiler.environment import cpu_model, usable_cpus
from perframe.profiler.pieces import Captures, executed_network
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.replayed import call_cost, last_level_cache_bytes, replay
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.summary import layer_results

METHODS = ("replayed", "replayed-warm")


@dataclass(frozen=True)
class Sums:
    """Layers against their network.

    Attributes:
        layers: How many.
        network_s: Median seconds of one run of the network.
        call_s: Seconds of a call that computes nothing.
        wall: Sum of the layers' latencies and one call, over the network's latency, by method.
        cpu: The same of CPU seconds.
    """

    layers: int
    network_s: float
    call_s: float
    wall: dict[str, float]
    cpu: dict[str, float]


def sums(artifact: EngineArtifact, seconds: float) -> Sums:
    """Replay every layer between two measurements of the network."""
    backend = OnnxRuntime()
    shapes = {name: (1, *shape[1:]) for name, shape in artifact.input_shapes.items()}
    inputs = seeded_inputs(artifact.inputs, shapes, seed=0)
    plan = MeasurementPlan(windows=2, window_s=seconds, warm_up_s=0.0, layer_s=0.0)
    cache_bytes = last_level_cache_bytes("cpu")
    wall: dict[str, list[float]] = {method: [] for method in METHODS}
    cpu: dict[str, list[float]] = {method: [] for method in METHODS}
    # At one watt per busy core its joules are CPU seconds.
    with backend.open(artifact) as engine, open_meter(Modelled(1.0), engine.clock) as meter:
        engine.bind(inputs)
        rows = layer_results(engine.layer_timings(20), artifact.layers, None)
        network = executed_network(backend, artifact, inputs, rows, None)
        cutter = network.cutter()
        pieces = {row.name: cutter.piece(network.groups[row.name]) for row in rows}
        captures = Captures(network, pieces)
        bench = Bench(meter, plan, Response(), None)
        call = call_cost(network, bench)
        latencies_s: list[float] = []
        before = _costs(bench.runs(engine))
        for name, piece in pieces.items():
            found = replay(network, piece, captures.values(name), bench, call, cache_bytes)
            after = _costs(bench.runs(engine))
            latencies_s.append(after[0])
            for each in found:
                assert each.latency_s is not None and each.energy_j is not None, each.reason
                wall[each.method].append(2.0 * each.latency_s.value / (before[0] + after[0]))
                cpu[each.method].append(2.0 * each.energy_j.value / (before[1] + after[1]))
            before = after
    network_s = statistics.median(latencies_s)
    # The network is called once too.
    called = call.latency_s.value / network_s
    return Sums(
        layers=len(rows),
        network_s=network_s,
        call_s=call.latency_s.value,
        wall={method: math.fsum(shares) + called for method, shares in wall.items()},
        cpu={method: math.fsum(shares) + called for method, shares in cpu.items()},
    )


def _costs(runs: Runs) -> tuple[float, float]:
    assert runs.energy_j is not None
    return runs.latency_s.value, runs.energy_j.value


def main() -> None:
    """Print one line per group size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group-size", type=int, action="append", help="repeatable; default 1, 4, 8 and 32")
    parser.add_argument(
        "--seconds", type=float, default=0.25, help="per window, two for each layer and method"
    )
    arguments = parser.parse_args()
    cache = last_level_cache_bytes("cpu") / 2**20
    print(f"{cpu_model()}, {usable_cpus()} CPUs, {cache:.0f} MiB of last-level cache, batch 1, one thread")
    print("sum of the layers over the network, cold and warm")
    print(f"{'G':>3} {'layers':>7} {'network':>10} {'a call':>7} {'wall time':>14} {'CPU time':>14}")
    for group_size in arguments.group_size or (1, 4, 8, 32):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            new_checkpoint("resnext50", folder / "n.pth", group_size=group_size)
            convert(folder / "n.pth", folder / "n.onnx", parity=False)
            artifact = build_engine(folder / "n.onnx", folder / "engine", threads=1)
            found = sums(artifact, arguments.seconds)
        print(
            f"{group_size:>3} {found.layers:>7} {found.network_s * 1e3:>7.1f} ms {found.call_s * 1e6:>4.1f} us"
            + "".join(f"{each[method]:>7.1%}" for each in (found.wall, found.cpu) for method in METHODS),
            flush=True,
        )


if __name__ == "__main__":
    main()
