"""RAPL: the processor's own energy counters, as Linux shows them under /sys/class/powercap.

Domains nest (platform, package, cores) and some appear twice (intel-rapl-mmio), so summing all that is there
counts the same joules several times. Only whole packages are read here, each once.
Layout: https://docs.kernel.org/power/powercap/powercap.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from perframe.engines.clock import Clock
from perframe.errors import MeasurementError, UnavailableError
from perframe.profiler.sensors.base import Domain, EnergySample, Kind, SensorRequest

POWERCAP = Path("/sys/class/powercap")

# Top-level zones; a sub-domain has a second number, intel-rapl:0:1, and a duplicate another control type.
_ZONE = re.compile(r"intel-rapl:\d+")
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")

# No processor package draws more (the largest server parts are rated at 500 W), so no counter wraps sooner.
_LARGEST_PACKAGE_W = 1000.0
# Two reads in quick succession may lie on both sides of an update, which adds a few milliseconds' worth.
_COUNTER_STEP_J = 10.0


@dataclass(frozen=True)
class _Package:
    """One package's counter: it counts microjoules from 0 to `range_uj` and starts again."""

    name: str
    energy_file: Path
    range_uj: int

    def read_uj(self) -> int:
        return int(self.energy_file.read_text())


@dataclass(frozen=True)
class Rapl:
    """Energy of all CPU packages (cores, caches, memory controller), from their hardware counters.

    Attributes:
        root: Where the powercap tree is; another place when it is mounted into a container.
        cpuinfo: Where the processor's vendor stands.
    """

    root: Path = POWERCAP
    cpuinfo: Path = Path("/proc/cpuinfo")

    name: ClassVar[str] = "rapl"
    domain: ClassVar[Domain] = "package"
    kind: ClassVar[Kind] = "measured"
    poll_interval_s: ClassVar[None] = None
    # "About 1 ms" is common knowledge; a bound of 2 ms costs nothing at windows of half a second.
    update_period_s: ClassVar[float] = 0.002
    # No bound is published that would hold for all processors.
    accuracy: ClassVar[None] = None
    averaging_window_s: ClassVar[None] = None

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Rapl":
        """See `perframe.profiler.sensors.base.SensorFactory`."""
        return cls(Path(request.argument) if request.argument else POWERCAP)

    @property
    def max_window_s(self) -> float:
        """Seconds in which no counter can run through half its range, so that a wrap is never missed.

        Raises:
            UnavailableError: There is no counter to read.
        """
        return min(package.range_uj for package in self._packages) * 1e-6 / 2 / _LARGEST_PACKAGE_W

    @property
    def details(self) -> Mapping[str, str | float]:
        """The packages that are summed."""
        return {"packages": ", ".join(package.name for package in self._packages)}

    def unavailable(self) -> str | None:
        """See `perframe.profiler.sensors.base.Sensor.unavailable`."""
        try:
            self._packages  # noqa: B018 - looking is what fails
        except UnavailableError as error:
            return str(error)
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator["_Reader"]:
        """See `perframe.profiler.sensors.base.Sensor.open`."""
        yield _Reader(clock, self._packages)

    @cached_property
    def _packages(self) -> tuple[_Package, ...]:
        """Find the packages, once, and prove that each can be read."""
        try:
            zones = sorted(
                (zone for zone in self.root.iterdir() if _ZONE.fullmatch(zone.name)),
                key=lambda zone: int(zone.name.rpartition(":")[2]),
            )
            by_name = {(zone / "name").read_text().strip(): zone for zone in reversed(zones)}
        except OSError as error:
            raise self._absent() from error
        names = self._distinct(sorted(name for name in by_name if _PACKAGE.fullmatch(name)))
        if not names:
            raise self._absent()
        zones = [by_name[name] for name in names]
        try:
            packages = tuple(
                _Package(name, zone / "energy_uj", int((zone / "max_energy_range_uj").read_text()))
                for name, zone in zip(names, zones, strict=True)
            )
            for package in packages:
                package.read_uj()
        except PermissionError as error:
            raise UnavailableError(
                f"{self.root}: no permission to read the RAPL energy counters.",
                f"Run: sudo chmod a+r {' '.join(str(zone / 'energy_uj') for zone in zones)}",
            ) from error
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"{self.root}: a RAPL package counter cannot be read: {error}.",
                "Use another --sensor, or none.",
            ) from error
        if any(package.range_uj <= 0 for package in packages):
            raise UnavailableError(
                f"{self.root}: a RAPL package counter states no range, so it cannot be told when it wraps.",
                "Use another --sensor, or none.",
            )
        return packages

    def _distinct(self, names: Sequence[str]) -> Sequence[str]:
        # Some kernels list every die of an AMD package as a zone; all of them read the package's one counter.
        if not self._is_amd():
            return names
        return list({name.partition("-die-")[0]: name for name in reversed(names)}.values())[::-1]

    def _is_amd(self) -> bool:
        try:
            return "AuthenticAMD" in self.cpuinfo.read_text()
        except OSError:
            return False

    def _absent(self) -> UnavailableError:
        return UnavailableError(
            f"{self.root}: expected RAPL energy counters of CPU packages, found none.",
            "Virtual machines and containers hide them: run on the host, or mount them and give rapl:ROOT.",
        )


class _Reader:
    """Sums the packages' counters from the first read on, a wrap between two reads included."""

    def __init__(self, clock: Clock, packages: Sequence[_Package]) -> None:
        self._clock = clock
        self._packages = packages
        self._last: tuple[float, list[int]] | None = None
        self._total_uj = 0

    def read(self) -> EnergySample:
        before_s = self._clock.now_s()
        try:
            counts = [package.read_uj() for package in self._packages]
        except (OSError, ValueError) as error:
            raise MeasurementError(
                f"RAPL: a counter could be read at first, and now cannot: {error}.", "Run it again."
            ) from error
        t_s = (before_s + self._clock.now_s()) / 2
        if self._last is not None:
            last_s, last_counts = self._last
            gained_uj = sum(
                now - last if now >= last else now - last + package.range_uj
                for package, last, now in zip(self._packages, last_counts, counts, strict=True)
            )
            # A counter that steps back looks as if it had wrapped.
            if gained_uj * 1e-6 > _LARGEST_PACKAGE_W * len(counts) * (t_s - last_s) + _COUNTER_STEP_J:
                raise MeasurementError(
                    f"RAPL: {gained_uj * 1e-6:.0f} J in {t_s - last_s:.3f} s is more than any package draws: a counter"
                    " stepped back.",
                    "Run it again.",
                )
            self._total_uj += gained_uj
        self._last = (t_s, counts)
        return EnergySample(t_s, self._total_uj * 1e-6)
