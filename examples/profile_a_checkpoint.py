"""From a checkpoint to what a frame costs, in Python: the functions behind new, export, build and profile.

Run it as a script, or cell by cell in an editor that knows `# %%`. The network is small, so that it takes seconds;
nothing else would change for a full-sized one, or for a checkpoint of your own.
"""

# %% A checkpoint. An untrained one costs what a trained one does.
import tempfile
from pathlib import Path

from perframe.engines.convert import convert, new_checkpoint

folder = Path(tempfile.mkdtemp(prefix="perframe-example-"))
checkpoint, model = folder / "small.pth.tar", folder / "small.onnx"
SHAPE = (3, 64, 64)

architecture = new_checkpoint(
    "mobilenet-v1", checkpoint, group_size=8, width=0.25, classes=10, input_shape=SHAPE
)
print(f"{architecture.name}: the same group size G = {architecture.group_size} in every grouped layer")

# %% ONNX, held against the framework: what is measured computes what was trained.
conversion = convert(checkpoint, model, input_shape=SHAPE)
assert conversion.parity is not None
worst = max(each.max_abs for each in conversion.parity.differences)
print(f"exported to opset {conversion.model.opset}; outputs differ by at most {worst:.1e}")

# %% An engine, and what a frame costs on it. `None` as the sensor would measure time alone.
from perframe.engines.prepare import build_engine
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.sensors.registry import sensor_from
from perframe.profiler.session import profile

engine = build_engine(model, folder / "small.engine", engine="onnxruntime")
plan = MeasurementPlan(batches=(1, 4), windows=5, window_s=0.1, warm_up_s=1.0)
sensor = sensor_from("auto", watts_per_core=10.0, device=engine.device)
result = profile(engine, plan, sensor)

for batch in result.batches:
    latency, energy = batch.latency, batch.energy
    assert latency is not None and energy.epf_j is not None
    print(
        f"batch {batch.batch}: {latency.p50_s * 1e3:.3f} ms (p99 {latency.p99_s * 1e3:.3f}), "
        f"{energy.epf_j.value * 1e3:.3f} mJ per frame, {energy.kind}"
    )

# %% Where the time goes, by module of the network that was trained.
from perframe.profiler.summary import by_module

modules = sorted(by_module(result.batches[0].layers), key=lambda module: -module.latency_s)
for module in modules[:5]:
    print(f"{module.share:6.1%}  {module.module}  G = {module.group_size}")

# %% The result is one file, for `perframe gate`, `choose` and `report`, or to be read again.
from perframe.profiler.result import read_profile, write_profile

write_profile(result, folder / "small.json")
assert read_profile(folder / "small.json") == result
print(f"saved: {folder / 'small.json'}")
