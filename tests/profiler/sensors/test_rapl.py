"""RAPL against fake powercap trees."""

from pathlib import Path

import pytest

from perframe.engines.clock import VirtualClock
from perframe.errors import MeasurementError, UnavailableError
from perframe.profiler.energy import open_meter
from perframe.profiler.sensors.base import EnergySample
from perframe.profiler.sensors.rapl import Rapl

RANGE_UJ = 262_143_328_850


class Tree:
    """A powercap tree whose counters tests move."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cpuinfo = root.parent / "cpuinfo"
        self.cpuinfo.write_text("vendor_id\t: GenuineIntel\n")
        (root / "intel-rapl").mkdir(parents=True)

    def add(self, zone: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> None:
        folder = self.root / zone
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.set(zone, energy_uj)

    def set(self, zone: str, energy_uj: int) -> None:
        (self.root / zone / "energy_uj").write_text(f"{energy_uj}\n")

    @property
    def sensor(self) -> Rapl:
        return Rapl(self.root, self.cpuinfo)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "powercap")


def energy_j(sample: EnergySample) -> float:
    return sample.energy_j


def test_sums_sockets_and_nothing_else(tree: Tree) -> None:
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for zone, name in zones.items():
        tree.add(zone, name, 1_000_000)
    sensor = tree.sensor
    assert sensor.unavailable() is None
    assert sensor.details["packages"] == "package-0, package-1"
    clock = VirtualClock()
    with sensor.open(clock) as reader:
        first = reader.read()
        clock.sleep(2.0)
        tree.set("intel-rapl:0", 31_000_000)
        tree.set("intel-rapl:1", 11_000_000)
        for zone in zones.keys() - {"intel-rapl:0", "intel-rapl:1"}:
            tree.set(zone, 500_000_000)
        second = reader.read()
    assert energy_j(second) - energy_j(first) == pytest.approx(40.0)
    assert second.t_s - first.t_s == pytest.approx(2.0)


def test_counter_wraps_per_package(tree: Tree) -> None:
    tree.add("intel-rapl:0", "package-0", RANGE_UJ - 4_000_000)
    tree.add("intel-rapl:1", "package-1", 65_532_000_000, range_uj=65_532_610_987)
    clock = VirtualClock()
    with tree.sensor.open(clock) as reader:
        first = reader.read()
        tree.set("intel-rapl:0", 6_000_000)
        tree.set("intel-rapl:1", 1_389_013)
        clock.sleep(1.0)
        second = reader.read()
        tree.set("intel-rapl:0", 7_000_000)
        third = reader.read()
    assert energy_j(second) - energy_j(first) == pytest.approx(10.0 + 2.0)
    assert energy_j(third) - energy_j(second) == pytest.approx(1.0)


def test_a_counter_that_steps_back_is_no_wrap(tree: Tree) -> None:
    tree.add("intel-rapl:0", "package-0", 5_000_000)
    clock = VirtualClock()
    with tree.sensor.open(clock) as reader:
        reader.read()
        tree.set("intel-rapl:0", 4_999_000)
        clock.sleep(1.0)
        with pytest.raises(MeasurementError, match="stepped back"):
            reader.read()


def test_reads_too_far_apart_are_refused_rather_than_wrong(tree: Tree) -> None:
    tree.add("intel-rapl:0", "package-0", 0)
    tree.add("intel-rapl:1", "package-1", 0, range_uj=65_532_610_987)
    sensor, clock = tree.sensor, VirtualClock()
    # Half of the smaller range at a power no package reaches.
    assert 30 < sensor.max_window_s < 35
    with open_meter(sensor, clock) as meter:
        meter.start()
        clock.sleep(sensor.max_window_s)
        assert meter.stop().energy_j == 0.0
        # What lies between two windows may be as long as it likes.
        clock.sleep(10 * sensor.max_window_s)
        meter.start()
        clock.sleep(sensor.max_window_s + 1)
        with pytest.raises(MeasurementError, match="wrapped unseen"):
            meter.stop()


@pytest.mark.parametrize(("vendor", "packages"), [("GenuineIntel", 4), ("AuthenticAMD", 2)])
def test_dies_of_an_amd_package_share_a_counter(tree: Tree, vendor: str, packages: int) -> None:
    tree.cpuinfo.write_text(f"vendor_id\t: {vendor}\n")
    for index in range(4):
        tree.add(f"intel-rapl:{index}", f"package-{index // 2}-die-{index % 2}", 0)
    with tree.sensor.open(VirtualClock()) as reader:
        reader.read()
        for index in range(4):
            tree.set(f"intel-rapl:{index}", 1_000_000)
        assert energy_j(reader.read()) == pytest.approx(packages)


def test_no_permission_names_the_remedy(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add("intel-rapl:0", "package-0", 0)
    tree.add("intel-rapl:1", "package-1", 0)
    read_text = Path.read_text

    def refuse(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UnavailableError) as caught, tree.sensor.open(VirtualClock()):
        pass
    files = " ".join(str(tree.root / zone / "energy_uj") for zone in ("intel-rapl:0", "intel-rapl:1"))
    assert caught.value.hint == f"Run: sudo chmod a+r {files}"
    assert files in (tree.sensor.unavailable() or "")


def test_absent_tree_is_unavailable_with_a_reason(tmp_path: Path) -> None:
    reason = Rapl(tmp_path / "nothing").unavailable()
    assert reason is not None and "found none" in reason


@pytest.mark.parametrize("zone", ["intel-rapl:0:0", "intel-rapl-mmio:0"])
def test_tree_without_a_top_level_package_is_unavailable(tree: Tree, zone: str) -> None:
    tree.add(zone, "package-0", 0)
    tree.add("intel-rapl:9", "psys", 0)
    assert "found none" in (tree.sensor.unavailable() or "")


@pytest.mark.parametrize(("file", "text"), [("energy_uj", "what\n"), ("max_energy_range_uj", "0\n")])
def test_nonsense_counter_is_unavailable(tree: Tree, file: str, text: str) -> None:
    tree.add("intel-rapl:0", "package-0", 0)
    (tree.root / "intel-rapl:0" / file).write_text(text)
    assert tree.sensor.unavailable() is not None


def test_counter_that_vanishes_invalidates_the_measurement(tree: Tree) -> None:
    tree.add("intel-rapl:0", "package-0", 0)
    sensor = tree.sensor
    with sensor.open(VirtualClock()) as reader:
        reader.read()
        (tree.root / "intel-rapl:0" / "energy_uj").unlink()
        with pytest.raises(MeasurementError):
            reader.read()
    # The windows that were finished still say what they are of.
    assert sensor.details == {"packages": "package-0"}
