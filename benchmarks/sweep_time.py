"""What a sweep's time goes into: a small real grid with ONNX Runtime, with and without the per-layer pass.

MobileNet-V1 at full size: three networks, made, exported and built on the way, at two batch sizes in two runs.
What is neither windows nor warm-up nor exports and builds shall be at most 5 %; the per-layer pass counts among it.
"""

import tempfile
from pathlib import Path

from perframe.analysis.sweep import sweep
from perframe.analysis.sweep_plan import SweepPlan, grid
from perframe.profiler.environment import cpu_model, usable_cpus
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.sensors.registry import sensor_from
from perframe.report.sweep import where_it_went
from perframe.report.units import percent

NETWORKS = grid(("mobilenet-v1",), (1, 8), (32,))


def main() -> None:
    """Print the shares of both sweeps."""
    print(f"{cpu_model()}, {usable_cpus()} CPUs")
    for layer_s in (0.0, 1.0):
        measurement = MeasurementPlan(batches=(1, 4), windows=5, warm_up_s=2.0, layer_s=layer_s)
        plan = SweepPlan(NETWORKS, measurement, runs=2, sensor="modelled")
        with tempfile.TemporaryDirectory() as scratch:
            done = sweep(
                plan,
                sensor_from(plan.sensor, watts_per_core=plan.watts, device=plan.device),
                Path(scratch, "results"),
            )
        assert done.measured == plan.runs * len(NETWORKS) and not done.failures, "the whole grid is measured"
        print(f"{'with' if layer_s else 'without'} the per-layer pass: {where_it_went(done)}")
        print(f"  neither windows, warm-up nor builds: {percent(done.overhead_s / done.duration_s)}")


if __name__ == "__main__":
    main()
