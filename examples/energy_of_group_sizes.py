"""Which group size costs least? Several networks on one device, in random order, and what a frame of each costs.

The functions behind `perframe sweep`. The networks are small, so that it takes seconds. On a machine without a power
sensor the energy is modelled from CPU time, which orders networks by how long they keep cores busy, and no more.
"""

# %% The networks: MobileNet-V1 in E2GC form, where every grouped layer has the same group size G.
import tempfile
from pathlib import Path

from perframe.analysis.sweep_plan import SweepPlan, grid
from perframe.profiler.plan import MeasurementPlan

networks = grid(("mobilenet-v1",), (1, 4, 16), (), width=0.25, classes=10)
plan = SweepPlan(
    networks,
    MeasurementPlan(windows=5, window_s=0.05, warm_up_s=0.5, layer_s=0.0),
    runs=1,
    input_shape=(3, 64, 64),
    width=0.25,
    classes=10,
)
order = ", ".join(f"G = {each.group_size}" for each in plan.order(0))
print(f"{len(networks)} networks, in this order: {order}")

# %% Measure. Every result is saved at once; ended in whatever way, the same call goes on where it stopped.
from perframe.analysis.sweep import sweep
from perframe.profiler.sensors.registry import sensor_from

folder = Path(tempfile.mkdtemp(prefix="perframe-example-"))
sensor = sensor_from(plan.sensor, watts_per_core=plan.watts, device=plan.device)
done = sweep(plan, sensor, folder)
print(f"{done.measured} profiles in {folder}")

# %% What a frame of each costs, over the raw windows of all runs.
from collections import defaultdict

import numpy as np

from perframe.analysis.results import read_results

windows_mj: dict[int, list[float]] = defaultdict(list)
macs: dict[int, int] = {}
for each in read_results(folder).results:
    assert each.epf_j is not None and each.model.group_size is not None and each.model.macs is not None
    windows_mj[each.model.group_size] += list(each.epf_j * 1e3)
    macs[each.model.group_size] = each.model.macs
    kind = each.energy_kind
epf_mj = {size: float(np.mean(values)) for size, values in sorted(windows_mj.items())}

print(f"  G      MACs   mJ per frame ({kind})")
for size, value in epf_mj.items():
    print(f"{size:3d}  {macs[size] / 1e6:6.2f} M   {value:.3f}")

# %% Fewest MACs and least energy need not be the same network.
fewest, least = min(macs, key=macs.__getitem__), min(epf_mj, key=epf_mj.__getitem__)
print(f"fewest MACs: G = {fewest}; least energy: G = {least}")
