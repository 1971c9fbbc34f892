"""What will be measured, for how long: settled before the first inference, and kept in the result."""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from perframe.errors import UsageError

LayerEnergy: TypeAlias = Literal["attributed", "replayed", "marginal"]

_TRAINING_ITERATIONS = 100
_PASSES_S = 1.0


@dataclass(frozen=True)
class MeasurementPlan:
    """One measurement.

    Attributes:
        batches: Batch sizes, in the order they are measured.
        windows: Measured windows per batch size; each is one observation of every mean.
        window_s: Least length of a window; `None` lets it follow from the sensor and `edge_error`.
        edge_error: How much of a window's energy may be missed at its ends, at most: the reading lags by up to
            one update, so this is update period x (1 - idle / active power) / window length.
        window_iterations: Least number of inferences in a window.
        warm_up_s: Longest warm-up; it ends sooner once latency and power are steady.
        layer_s: About how long the per-layer pass runs; 0 leaves it out.
        idle_s: How long the device is watched at rest, before and after each batch size; at least 20 updates
            of the sensor.
        fps: Also run at a camera's pace: one inference every 1 / fps seconds. `None` leaves that out.
        allow_other_processes: Whether a measurement is valid while others use the device.
        seed: Of the random inputs.
        transfers: Whether every inference copies its inputs to the device and its outputs back, on engines that keep
            them there otherwise.
        layer_energy: How a layer's energy is found, see `perframe.profiler.layer_energy`.
        layer_budget_s: Seconds that may be spent on it per batch size; `None` measures every layer.
    """

    batches: tuple[int, ...] = (1,)
    windows: int = 10
    window_s: float | None = None
    edge_error: float = 0.005
    window_iterations: int = 2
    warm_up_s: float = 10.0
    layer_s: float = 1.0
    idle_s: float = 0.5
    seed: int = 0
    fps: float | None = None
    allow_other_processes: bool = False
    transfers: bool = False
    layer_energy: LayerEnergy = "attributed"
    layer_budget_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a plan that cannot give a result.

        Raises:
            UsageError: A batch size is below 1 or given twice, or a length is out of range.
        """
        for batch in self.batches:
            if batch < 1:
                raise UsageError(f"Batch size {batch}: expected at least 1.", "Give -b 1 or more.")
        if not self.batches or len(set(self.batches)) != len(self.batches):
            raise UsageError(
                f"Batch sizes {list(self.batches)}: expected each once.", "Give -b once per size."
            )
        if self.windows < 2:
            raise UsageError(f"{self.windows} windows: an interval needs at least 2.", "Give --windows 10.")
        if not 0 < (self.window_s or 1.0) <= 3600 or not 0 <= self.warm_up_s <= 3600:
            raise UsageError("Windows and warm-up take between 0 and 3600 seconds.", "Give --window-s 0.5.")
        if not 0 < self.edge_error <= 0.5:
            raise UsageError(
                f"Edge error {self.edge_error}: expected a share of a window's energy.",
                "Give --edge-error 0.005.",
            )
        if self.layer_energy != "attributed" and self.layer_s == 0:
            raise UsageError(
                f"Layer energy {self.layer_energy}: it needs the per-layer pass.", "Leave --no-layers out."
            )
        if self.layer_budget_s is not None and not 0 < self.layer_budget_s <= 1e6:
            raise UsageError("The layers' time budget is not above 0.", "Give --layer-budget 60.")
        if self.fps is not None and not 0 < self.fps <= 1e6:
            raise UsageError(f"{self.fps} frames per second: expected more than 0.", "Give --fps 30.")


def of_training(plan: MeasurementPlan) -> MeasurementPlan:
    """Return a plan as the training regime follows it: 100 iterations in all windows, and the two passes timed.

    So many iterations lie behind the published energies, `EPF = mean power x (FP_t + BP_t) / B` (arXiv 2006.15100).
    Training has no layers to leave out: its per-layer pass is what tells FP_t from BP_t.
    """
    return replace(
        plan,
        window_iterations=max(plan.window_iterations, math.ceil(_TRAINING_ITERATIONS / plan.windows)),
        layer_s=max(plan.layer_s, _PASSES_S),
    )
