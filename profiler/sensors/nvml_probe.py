"""What one GPU can tell, asked call by call, and what follows from it: what to read, what to refuse, what to record.

Nothing is inferred from the GPU's name or from NVML having started: boards exist whose NVML starts and then
answers "not supported" to everything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from perframe.errors import UnavailableError
from perframe.profiler.calibration import default_accuracy
from perframe.profiler.sensors.base import Accuracy, Domain
from perframe.profiler.sensors.nvml_answers import Answer, Status, answer
from perframe.profiler.sensors.nvml_device import NvmlDevice, PowerSource, Process
from perframe.profiler.sensors.nvml_library import SCOPE_GPU, SCOPE_MODULE, Virtualization

INSTANT = PowerSource("instant", SCOPE_GPU)
MODULE = PowerSource("instant", SCOPE_MODULE)
AVERAGE = PowerSource("average", SCOPE_GPU)
LEGACY = PowerSource("legacy", SCOPE_GPU)

SOURCES: Mapping[str, PowerSource] = {
    "instant power": INSTANT,
    "instant power of the module": MODULE,
    "average power": AVERAGE,
    "legacy power": LEGACY,
}


@dataclass(frozen=True)
class Probe:
    """Every capability of a GPU, as it answered.

    Attributes:
        name: The GPU's name.
        power_w: Watts per entry of `SOURCES`.
        counter_j: The energy counter.
        limited_s: The throttle counters, by reason.
        limits: The bitmask of what holds clocks down.
        clock_hz: Of the multiprocessors.
        application_clock_hz: As set by the user.
        temperature_c: Of the chip.
        power_limit_w: The cap in force.
        ecc: `on` or `off`.
        persistence: `on` or `off`.
        processes: Processes on the GPU.
        mig: `on` or `off`.
        virtualization: NVML's word for it.
    """

    name: str
    power_w: Mapping[str, Answer[float]]
    counter_j: Answer[float]
    limited_s: Mapping[str, Answer[float]]
    limits: Answer[tuple[str, ...]]
    clock_hz: Answer[float]
    application_clock_hz: Answer[float]
    temperature_c: Answer[float]
    power_limit_w: Answer[float]
    ecc: Answer[str]
    persistence: Answer[str]
    processes: Answer[tuple[Process, ...]]
    mig: Answer[str]
    virtualization: Answer[str]

    def refused(self) -> str | None:
        """Why its watts could not be led back to one program, whatever it can read; two lines, or None."""
        if self.mig.value == "on":
            return (
                f"{self.name}: MIG is on, and its instances share one power reading.\n"
                "Measure on the whole GPU: sudo nvidia-smi -mig 0"
            )
        shared = (Virtualization.VGPU.name, Virtualization.HOST_VGPU.name, Virtualization.HOST_VSGA.name)
        if self.virtualization.value in shared:
            return (
                f"{self.name}: it is shared between virtual machines (vGPU), and so are its watts.\n"
                "Measure on the host, or pass the whole GPU through to this machine."
            )
        return None

    def source(self) -> PowerSource:
        """Choose where to read watts: momentary values first, and the GPU's before the module's.

        Where only the legacy call and field 185 answer, both are averages; without field 185 the legacy call is
        momentary, since the chip is then a GA100 or older (nvml.h).

        Raises:
            UnavailableError: None of the readings gives watts.
        """
        answered = [source for what, source in SOURCES.items() if self.power_w[what].status is Status.OK]
        if not answered:
            reasons = "; ".join(
                f"{what}: {told if told.status is Status.ERROR else told.status.value}"
                for what, told in self.power_w.items()
            )
            if any(told.status is Status.LOST for told in self.power_w.values()):
                hint = "The GPU has stopped answering: look into dmesg for Xid errors, and reboot."
            else:
                hint = "Update the driver; on a Jetson read the board's own rails with --sensor jetson."
            raise UnavailableError(f"{self.name}: NVML gives no power reading ({reasons}).", hint)
        return answered[0]

    def domain(self, source: PowerSource) -> Domain:
        """What the watts of a source include."""
        return "module" if source.scope == SCOPE_MODULE else "gpu"

    def counter(self, source: PowerSource) -> Answer[float]:
        """The energy counter, if it covers what the power readings cover.

        On boards that measure the whole module the counter does too (Grace Hopper: Zeus issue 172), and held
        against watts of the GPU alone it would seem wrong.
        """
        module = self.power_w["instant power of the module"].status is Status.OK
        if self.counter_j.status is Status.OK and module and source.scope != SCOPE_MODULE:
            return Answer(
                Status.NOT_SUPPORTED, None, "it covers the module, and power readings the GPU alone"
            )
        return self.counter_j

    def poll_interval_s(self) -> float:
        """At most half the update period of such sensors: more often only takes time from what is measured.

        Up to Volta the period is 20 ms, and later 100 ms. Later chips have the average field, and GA100, which
        has none, MIG.
        """
        newer = Status.OK in (self.power_w["average power"].status, self.mig.status)
        return 0.025 if newer else 0.01

    def averaging_window_s(self, source: PowerSource) -> float | None:
        """Over how long a reading averages: a second for averages (nvml.h), and not told for momentary values."""
        return 1.0 if source == AVERAGE else None

    def accuracy(self, source: PowerSource) -> Accuracy:
        """How far off the true watts may be."""
        # What a whole module draws was held against no meter, whatever card is on it.
        return default_accuracy(self.name if source.scope == SCOPE_GPU else None)

    def details(self, source: PowerSource) -> dict[str, str | float]:
        """What must stand beside the figures; what the GPU does not tell says so."""
        found: dict[str, str | float] = {
            "field": _field(source),
            "scope": self.domain(source),
            "power_limit_w": _told(self.power_limit_w),
            "application_clock_hz": _told(self.application_clock_hz),
            "ecc": _told(self.ecc),
            "persistence": _told(self.persistence),
            "counter": "ok" if self.counter(source).status is Status.OK else str(self.counter(source)),
            "throttle_counters": ", ".join(
                reason for reason, told in self.limited_s.items() if told.status is Status.OK
            )
            or str(next(iter(self.limited_s.values()))),
            "throttle_reasons": self.limits.status.value,
            "processes": self.processes.status.value,
        }
        if source == AVERAGE:
            found["warning"] = "watts are averages over about a second: short windows and idle are smeared"
        elif source == MODULE:
            found["warning"] = "watts are of the whole module, its CPU and memory included"
        return found

    def items(self) -> Iterator[tuple[str, Answer[str | float]]]:
        """Every capability by name, as a table shows it."""
        for what, told in self.power_w.items():
            yield f"{what} (W)", told.then(answer)
        yield "energy counter (J)", self.counter_j.then(answer)
        for reason, told in self.limited_s.items():
            yield f"throttled by {reason} (s)", told.then(answer)
        yield "throttle reasons", self.limits.then(lambda names: answer(", ".join(names) or "none"))
        yield "SM clock (Hz)", self.clock_hz.then(answer)
        yield "application clock (Hz)", self.application_clock_hz.then(answer)
        yield "temperature (C)", self.temperature_c.then(answer)
        yield "power limit (W)", self.power_limit_w.then(answer)
        yield "ECC", self.ecc.then(answer)
        yield "persistence", self.persistence.then(answer)
        # Their names may hold paths and user names, which belong in no bug report.
        yield "processes", self.processes.then(lambda found: answer(float(len(found))))
        yield "MIG", self.mig.then(answer)
        yield "virtualization", self.virtualization.then(answer)


def probe(device: NvmlDevice, name: str) -> Probe:
    """Ask a GPU everything once."""
    return Probe(
        name=name,
        power_w={what: device.power_w(source) for what, source in SOURCES.items()},
        counter_j=device.counter_j(),
        limited_s=device.limited_s(),
        limits=device.limits(),
        clock_hz=device.clock_hz(),
        application_clock_hz=device.application_clock_hz(),
        temperature_c=device.temperature_c(),
        power_limit_w=device.power_limit_w(),
        ecc=device.ecc(),
        persistence=device.persistence(),
        processes=device.processes(),
        mig=device.mig(),
        virtualization=device.virtualization(),
    )


def _told(told: Answer[float] | Answer[str]) -> str | float:
    return told.status.value if told.value is None else told.value


def _field(source: PowerSource) -> str:
    number = {"instant": "186 instant", "average": "185 average", "legacy": "nvmlDeviceGetPowerUsage"}
    return number[source.field]
