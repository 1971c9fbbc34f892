"""The timed path beside a bare ONNX Runtime loop and Polygraphy's runner: same model, same threads, one run.

Prints the ratio of median latencies, block by block in rotating order, so that what drifts hits all alike.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.logger import G_LOGGER

from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.inputs import seeded_inputs
from perframe.engines.ort import OnnxRuntime
from perframe.engines.prepare import build_engine
from perframe.profiler.characterise import Response
from perframe.profiler.energy import open_meter
from perframe.profiler.environment import cpu_model, usable_cpus
from perframe.profiler.loop import measure
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.stats import quantile
from perframe.progress import silent

PROVIDERS = ["CPUExecutionProvider"]


def timed(call: Callable[[], object], seconds: float) -> float:
    """Return the median seconds of `call`, repeated for about `seconds`."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(latencies) < 3:
        start = time.perf_counter()
        call()
        latencies.append(time.perf_counter() - start)
    return statistics.median(latencies)


def compare(family: str, batch: int, rounds: int, seconds: float, folder: Path) -> None:
    """Print the three medians and the ratios for one network and batch size."""
    checkpoint, model = folder / "n.pth", folder / "n.onnx"
    name = new_checkpoint(family, checkpoint, group_size=8).name
    convert(checkpoint, model, parity=False)
    artifact = build_engine(model, folder / "engine")
    inputs = seeded_inputs(artifact.inputs, {"input": (batch, *artifact.input_shapes["input"][1:])}, seed=0)
    session = onnxruntime.InferenceSession(str(model), providers=PROVIDERS)
    plan = MeasurementPlan(windows=2, window_s=seconds / 2, warm_up_s=0.0, layer_s=0.0)
    runner = OnnxrtRunner(SessionFromOnnx(str(model), providers=["cpu"]))
    with (
        OnnxRuntime().open(artifact) as engine,
        open_meter(Modelled(10.0), engine.clock) as meter,
        runner,
    ):
        engine.bind(inputs)
        contestants: dict[str, Callable[[], float]] = {
            "bare loop": lambda: timed(lambda: session.run(None, inputs), seconds),
            "perframe": lambda: statistics.median(
                latency
                for window in measure(
                    engine,
                    meter,
                    plan,
                    batch,
                    idle=False,
                    response=Response(),
                    scheduled=lambda _: None,
                    progress=silent,
                ).saturated
                for latency in window.latencies_s
            ),
            "polygraphy": lambda: timed(lambda: runner.infer(inputs, check_inputs=False), seconds),
        }
        medians: dict[str, list[float]] = {name: [] for name in contestants}
        order = list(contestants)
        for index in range(rounds + 1):
            for contestant in order:
                # The thread pools of the others spin for a while after their last run.
                time.sleep(0.05)
                median = contestants[contestant]()
                if index:  # the first round warms up
                    medians[contestant].append(median)
            order = [*order[1:], order[0]]
    print(
        f"{name}, batch {batch}: "
        + ", ".join(f"{k} {statistics.median(v) * 1e3:.2f} ms" for k, v in medians.items())
    )
    for other in ("bare loop", "polygraphy"):
        ratios = [a / b for a, b in zip(medians["perframe"], medians[other], strict=True)]
        print(
            f"  perframe / {other}: {statistics.median(ratios):.3f} "
            f"(middle half of the rounds {quantile(ratios, 0.25):.3f} to {quantile(ratios, 0.75):.3f}, n = {rounds})"
        )


def main() -> None:
    """Compare MobileNet-V1 and ResNeXt-50, E2GC with G = 8."""
    G_LOGGER.module_severity = G_LOGGER.ERROR
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.3, help="per contestant and round")
    arguments = parser.parse_args()
    print(f"{cpu_model()}, {usable_cpus()} CPUs, ONNX Runtime {onnxruntime.__version__}")
    for family, batch in (("mobilenet-v1", 1), ("mobilenet-v1", 4), ("resnext50", 1)):
        with tempfile.TemporaryDirectory() as folder:
            compare(family, batch, arguments.rounds, arguments.seconds, Path(folder))


if __name__ == "__main__":
    main()
