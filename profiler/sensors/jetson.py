"""NVIDIA Jetson: the power of the module or board, from the monitors on it.

NVML answers on these machines but has no power to report, so the monitors are read directly. A total is given for
known boards only: sums of guessed rails count some watts twice or miss others.
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
from perframe.profiler.sensors.base import Accuracy, Domain, Kind, PowerSample, SensorRequest
from perframe.profiler.sensors.ina import Rail, find_rails
from perframe.profiler.sensors.jetson_boards import Board, board_of

# In containers the first may lead to a masked folder, since it is a link into /sys of the container.
_DEVICE_TREES = ("proc/device-tree", "sys/firmware/devicetree/base")

# An INA3221's offset of at most 80 uV and one step of 40 uV, at 2 mOhm and 20 V: a rail without load may read so
# much below zero.
_LOWEST_RAIL_W = -1.2


@dataclass(frozen=True)
class _Found:
    """A known board with all rails that make up its total."""

    board: Board
    module: str
    summed: tuple[Rail, ...]
    others: tuple[Rail, ...]


@dataclass(frozen=True)
class Jetson:
    """Power of a Jetson module or board: the sum of the rails that its table names.

    Attributes:
        root: Where the system's `sys`, `proc` and `etc` lie; another place when mounted into a container.
    """

    root: Path = Path("/")

    name: ClassVar[str] = "jetson"
    kind: ClassVar[Kind] = "measured"
    # About three cycles of an INA3221: single readings are steps of up to 0.4 W, and their mean is what counts.
    poll_interval_s: ClassVar[float] = 0.02
    max_window_s: ClassVar[None] = None
    averaging_window_s: ClassVar[None] = None

    @classmethod
    def from_request(cls, request: SensorRequest) -> "Jetson":
        """See `perframe.profiler.sensors.base.SensorFactory`."""
        return cls(Path(request.argument or "/"))

    @property
    def domain(self) -> Domain:
        """What the sum of the rails includes on this board.

        Raises:
            UnavailableError: The board or one of its rails is not known.
        """
        return self._found.board.domain

    @property
    def update_period_s(self) -> float:
        """The slowest rail's cycle of conversions, in seconds, or how often it is read if that is more seldom.

        Raises:
            UnavailableError: The board or one of its rails is not known.
        """
        return max(self.poll_interval_s, self._chip_period_s)

    @property
    def _chip_period_s(self) -> float:
        return max(rail.update_period_s for rail in self._found.summed)

    @property
    def accuracy(self) -> Accuracy:
        """By the data sheets of the monitors on this board; see `perframe.profiler.sensors.jetson_boards`.

        Raises:
            UnavailableError: The board or one of its rails is not known.
        """
        return Accuracy(self._found.board.absolute_uncertainty, 0.0)

    @property
    def details(self) -> Mapping[str, str | float]:
        """Board, rails and how they are sampled.

        Raises:
            UnavailableError: The board or one of its rails is not known.
        """
        found = self._found
        apart = [rail.label for rail in found.others if rail.label in found.board.shown]
        unknown = [rail.label for rail in found.others if rail.label not in found.board.shown]
        details: dict[str, str | float] = {
            "board": found.board.name,
            "module": found.module,
            "rails_summed": ", ".join(rail.label for rail in found.summed),
            "rails_not_summed": ", ".join(apart) or "none",
            "not_included": found.board.not_included,
            "chip_update_period_s": self._chip_period_s,
        }
        if unknown:
            details["rails_unknown"] = ", ".join(unknown)
        if samples := {rail.samples for rail in found.summed if rail.samples is not None}:
            details["samples"] = ", ".join(map(str, sorted(samples)))
        if steps_w := [rail.step_w for rail in found.summed if rail.step_w is not None]:
            # One digit, so that a supply that sags a little does not look like another sensor.
            details["quantisation_step_w"] = float(f"{max(steps_w):.1g}")
        if (release := self._l4t()) is not None:
            details["l4t"] = release
        return details

    def unavailable(self) -> str | None:
        """See `perframe.profiler.sensors.base.Sensor.unavailable`."""
        try:
            self._prove_readable()
        except UnavailableError as error:
            return str(error)
        return None

    @contextmanager
    def open(self, clock: Clock) -> Iterator["_Reader"]:
        """See `perframe.profiler.sensors.base.Sensor.open`."""
        self._prove_readable()
        yield _Reader(clock, self._found.summed)

    @cached_property
    def _found(self) -> _Found:
        try:
            rails = find_rails(self.root)
        except PermissionError as error:
            raise self._forbidden([str(error.filename)]) from error
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        compatible = self._device_tree("compatible")
        known = board_of(compatible)
        if known is None and not rails:
            raise UnavailableError(
                f"{self.root}: expected the power monitors of a Jetson board (INA3221), found none.",
                "In a container mount the host's /sys and /proc and give jetson:ROOT; elsewhere use another --sensor.",
            )
        labels = [rail.label for rail in rails]
        listed = f"Rails found: {', '.join(sorted(labels)) or 'none'}."
        hint = "Record an external power meter and give --sensor replay:FILE.csv, or use --sensor none."
        if known is None:
            named = ", ".join([*self._device_tree("model"), *compatible]) or "no device tree"
            raise UnavailableError(
                f"{self.root}: expected a known Jetson board, found {named}; which rails make up its power is not"
                f" known. {listed}",
                hint,
            )
        board, module = known
        if missing := [label for label in board.summed if labels.count(label) != 1]:
            raise UnavailableError(
                f"{self.root}: {board.name} ({module}): expected each of {', '.join(board.summed)} once; it is not so"
                f" for {', '.join(missing)}. {listed}",
                hint,
            )
        by_label = {rail.label: rail for rail in rails}
        return _Found(
            board,
            module,
            summed=tuple(by_label[label] for label in board.summed),
            others=tuple(rail for rail in rails if rail.label not in board.summed),
        )

    def _prove_readable(self) -> None:
        rails = self._found.summed
        try:
            for rail in rails:
                rail.read_w()
        except PermissionError as error:
            raise self._forbidden([str(file) for rail in rails for file in rail.files]) from error
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _device_tree(self, entry: str) -> list[str]:
        """Strings of an entry of the device tree's root; none if there is no device tree."""
        for folder in _DEVICE_TREES:
            try:
                data = (self.root / folder / entry).read_bytes()
            except OSError:
                continue
            return [text for text in data.decode("utf-8", errors="replace").split("\0") if text]
        return []

    def _l4t(self) -> str | None:
        """NVIDIA's system release, such as "R36.4.0"; None if it is not told."""
        try:
            text = (self.root / "etc/nv_tegra_release").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        match = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
        return f"R{match[1]}.{match[2]}" if match else None

    def _forbidden(self, files: Sequence[str]) -> UnavailableError:
        return UnavailableError(
            f"{self.root}: no permission to read the Jetson's power monitors.",
            f"Run: sudo chmod a+r {' '.join(files)}",
        )

    def _unreadable(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"{self.root}: a power monitor of the Jetson cannot be read: {error}.",
            "Use another --sensor, or none.",
        )


class _Reader:
    def __init__(self, clock: Clock, rails: Sequence[Rail]) -> None:
        self._clock = clock
        self._rails = rails

    def read(self) -> PowerSample:
        before_s = self._clock.now_s()
        power_w = sum(self._read_w(rail) for rail in self._rails)
        if power_w <= 0:
            labels = ", ".join(rail.label for rail in self._rails)
            raise MeasurementError(
                f"Jetson: expected a power above 0 W, and the rails {labels} sum to {power_w:.3f} W.",
                "Is a monitor's channel disabled (in1_enable)? Restart the board.",
            )
        return PowerSample((before_s + self._clock.now_s()) / 2, power_w)

    def _read_w(self, rail: Rail) -> float:
        try:
            power_w = rail.read_w()
        except (OSError, ValueError) as error:
            raise MeasurementError(
                f"Jetson: rail {rail.label} could be read at first, and now cannot: {error}.", "Run it again."
            ) from error
        if power_w < _LOWEST_RAIL_W:
            raise MeasurementError(
                f"Jetson: rail {rail.label} reads {power_w:.3f} W, less than any offset of its monitor explains.",
                "Run it again; if it stays so, the monitor is broken.",
            )
        return power_w
