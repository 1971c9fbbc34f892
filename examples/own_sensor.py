"""A sensor of your own: anything that gives joules or watts can stand behind every figure of perframe.

This one states what a whole machine draws, idle included, from how busy all its cores are (/proc/stat). It is
modelled, and says so; one that reads a wattmeter would differ in `kind` and in what `read` does.

As a package of its own it would be chosen by name, `perframe profile --sensor host`, with these lines in its
pyproject.toml:

    [project.entry-points."perframe.sensors"]
    host = "your_package.own_sensor:Host"
"""

# %% A sensor says what its figures include, and opens; a reader reads.
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from perframe.engines.clock import Clock
from perframe.errors import MeasurementError
from perframe.profiler.sensors.base import Domain, EnergySample, Kind, SensorRequest

STAT = Path("/proc/stat")
# Linux counts busy time in steps of this.
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Host:
    """What a machine draws: so much at rest, and so much more for every busy core.

    Attributes:
        idle_w: Stated for the machine at rest.
        core_w: Stated for each busy core, on top.
    """

    idle_w: float = 30.0
    core_w: float = 10.0

    name: ClassVar[str] = "host"
    domain: ClassVar[Domain] = "board"
    # Never "measured": results of the two kinds are never compared.
    kind: ClassVar[Kind] = "modelled"
    # A counter: read exactly twice per window. One that gives watts says here how often to poll it.
    poll_interval_s: ClassVar[None] = None
    # The windows become long enough for this not to matter.
    update_period_s: ClassVar[float] = TICK_S
    averaging_window_s: ClassVar[None] = None
    accuracy: ClassVar[None] = None
    max_window_s: ClassVar[None] = None

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Host":
        """Make it from what `--sensor` says: `host`, or `host:40` for 40 W at rest."""
        return cls(float(request.argument or cls.idle_w), request.watts_per_core)

    @property
    def details(self) -> Mapping[str, str | float]:
        """What must agree before two results may be compared."""
        return {"idle_w": self.idle_w, "core_w": self.core_w}

    def unavailable(self) -> str | None:
        """Why it cannot be read here, and what would mend that; None if it can."""
        return (
            None
            if STAT.exists()
            else f"{STAT}: expected Linux's counters, found none.\nUse another --sensor."
        )

    @contextmanager
    def open(self, clock: Clock) -> Iterator["HostReader"]:
        """Open it for reading against a clock."""
        yield HostReader(self, clock)


class HostReader:
    """Joules since some moment."""

    def __init__(self, host: Host, clock: Clock) -> None:
        self._host, self._clock = host, clock

    def read(self) -> EnergySample:
        """Read it now. What cannot be read is an error, and never a zero."""
        try:
            fields = [int(field) for field in STAT.read_text().splitlines()[0].split()[1:]]
        except (OSError, ValueError, IndexError) as error:
            raise MeasurementError(f"{STAT}: cannot be read: {error}.", "Use another --sensor.") from error
        user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
        now_s, busy_s = self._clock.now_s(), (user + nice + system + irq + softirq) * TICK_S
        return EnergySample(now_s, self._host.idle_w * now_s + self._host.core_w * busy_s)


# %% Behind a profile.
def main() -> None:
    """Profile a small network with it."""
    import tempfile

    from perframe.engines.convert import convert, new_checkpoint
    from perframe.engines.prepare import engine_for
    from perframe.profiler.plan import MeasurementPlan
    from perframe.profiler.session import profile

    shape = (3, 64, 64)
    with tempfile.TemporaryDirectory(prefix="perframe-example-") as name:
        folder = Path(name)
        new_checkpoint("mobilenet-v1", folder / "m.pth", group_size=8, width=0.25, input_shape=shape)
        convert(folder / "m.pth", folder / "m.onnx", input_shape=shape, parity=False)
        plan = MeasurementPlan(windows=4, edge_error=0.05, warm_up_s=0.5, layer_s=0.0)
        with engine_for(folder / "m.onnx") as engine:
            result = profile(engine, plan, Host(idle_w=30.0, core_w=10.0))
    (batch,) = result.batches
    energy = batch.energy
    assert energy.epf_j is not None and energy.power_w is not None
    print(f"sensor {energy.sensor}, of the {energy.domain}: {energy.power_w.value:.1f} W, {energy.kind}")
    print(f"{energy.epf_j.value * 1e3:.2f} mJ per frame, the machine's idle power included")
    for note in batch.quality:
        print(f"{note.severity}: {note.message}")


if __name__ == "__main__":
    main()
