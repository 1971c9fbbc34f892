"""What engines can tell beside what every engine can, where they run on a device with a clock of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from perframe.engines.base import Engine, EngineLayer
from perframe.engines.cuda import DeviceIdentity


@dataclass(frozen=True)
class Execution:
    """How inferences are run: what figures depend on beside the engine.

    Attributes:
        cuda: Name and version of the library behind device memory, streams and events.
        device: The GPU.
        graph: Whether one inference is one launch of a CUDA graph.
        no_graph: Why it is not.
        transfers: Whether inputs are copied to the device and outputs back in every inference.
    """

    cuda: str
    device: DeviceIdentity
    graph: bool
    no_graph: str | None
    transfers: bool


@dataclass(frozen=True)
class DeviceTiming:
    """One inference, by events in the device's stream and by the host's clock.

    Attributes:
        compute_s: On the device, from when it came to the inference to when it was done, without transfers.
        enqueue_s: On the host, to put the inference into the stream.
        upload_s: On the device, to copy the inputs there; `None` where they lie there already.
        download_s: On the device, to copy the outputs back; `None` where they are left there.
    """

    compute_s: float
    enqueue_s: float
    upload_s: float | None
    download_s: float | None


@runtime_checkable
class DeviceEngine(Engine, Protocol):
    """An engine whose device times its own work. Inputs must be bound."""

    transfers: bool
    """Whether every inference copies inputs to the device and outputs back; set before inputs are bound."""

    def execution(self) -> Execution:
        """How `run` runs the bound inputs."""
        ...

    def run_timed(self, iterations: int) -> Sequence[DeviceTiming]:
        """Execute `iterations` times as `run` does; return each one's times, in order."""
        ...

    def layers(self) -> tuple[EngineLayer, ...]:
        """The steps it executes: those of the artifact, or what is known only now that it is open."""
        ...
