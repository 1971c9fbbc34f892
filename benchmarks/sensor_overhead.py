"""What reading a sensor costs: its share of a core at its default rate, and what it does to the latency.

The sensors' own code is timed on what stands in for the hardware here: the NVML sensor on a simulated GPU at rest
(the driver's own time is not included), the replay sensor on a recorded trace.
"""

import statistics
import tempfile
import time
from pathlib import Path

from perframe.engines.clock import SystemClock
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.inputs import seeded_inputs
from perframe.engines.ort import OnnxRuntime
from perframe.engines.prepare import build_engine
from perframe.profiler.energy import open_meter
from perframe.profiler.environment import cpu_model, usable_cpus
from perframe.profiler.sensors.base import Sensor
from perframe.profiler.sensors.nvml import Nvml
from perframe.profiler.sensors.replay import Replay
from perframe.profiler.sensors.simulated_gpu import Simulation
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml
from perframe.profiler.sensors.simulated_presets import PRESETS
from perframe.profiler.stats import quantile

READS = 2000
ROUNDS = 60
BLOCK_S = 0.4


def share_of_a_core(sensor: Sensor) -> float:
    """CPU seconds per second that polling at the sensor's default rate takes."""
    assert sensor.poll_interval_s is not None, "a counter is not polled"
    with sensor.open(SystemClock()) as reader:
        reader.read()
        start_s = time.process_time()
        for _ in range(READS):
            reader.read()
        per_read_s = (time.process_time() - start_s) / READS
    return per_read_s / sensor.poll_interval_s


def latency_ratio(sensor: Sensor, folder: Path) -> tuple[float, float, float]:
    """Median latency with the sensor polled over without, and the quartiles of the rounds' ratios."""
    new_checkpoint("mobilenet-v1", folder / "n.pth", group_size=8)
    convert(folder / "n.pth", folder / "n.onnx", parity=False)
    # A GPU leaves its host a core to poll on; here one of two cores is left free for that.
    artifact = build_engine(folder / "n.onnx", folder / "engine", threads=1)
    ratios = []
    with OnnxRuntime().open(artifact) as engine:
        engine.bind(seeded_inputs(artifact.inputs, artifact.input_shapes, seed=0))
        for index in range(ROUNDS + 1):
            medians = []
            for polled in ((True, False), (False, True))[index % 2]:
                with open_meter(sensor if polled else None, engine.clock):
                    latencies = []
                    end_s = time.perf_counter() + BLOCK_S
                    while time.perf_counter() < end_s:
                        start_s = time.perf_counter()
                        engine.run(1)
                        latencies.append(time.perf_counter() - start_s)
                medians.append((polled, statistics.median(latencies)))
            if index:
                by = dict(medians)
                ratios.append(by[True] / by[False])
    return statistics.median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75)


def main() -> None:
    """Print both figures for both sensors."""
    print(f"{cpu_model()}, {usable_cpus()} CPUs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorded = folder / "trace.csv"
        recorded.write_text(
            "t_s,power_w\n" + "".join(f"{i * 0.02:.2f},{40 + i % 7}\n" for i in range(20_000))
        )
        card = Simulation(PRESETS["a100"], Load(), time.perf_counter)
        sensors: dict[str, Sensor] = {
            "nvml": Nvml("0", None, lambda: SimulatedNvml([card])),
            "replay": Replay(recorded),
        }
        for spec, sensor in sensors.items():
            ratio, low, high = latency_ratio(sensor, folder)
            print(
                f"{spec}: {share_of_a_core(sensor):.2%} of a core, "
                f"latency x {ratio:.4f} (middle half of {ROUNDS} rounds {low:.4f} to {high:.4f})"
            )


if __name__ == "__main__":
    main()
