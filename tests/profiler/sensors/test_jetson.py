"""Jetson's power monitors against fake sysfs trees of every board."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perframe.engines.clock import VirtualClock
from perframe.errors import MeasurementError, UnavailableError
from perframe.profiler.sensors.base import PowerSample, SensorRequest
from perframe.profiler.sensors.jetson import Jetson
from perframe.profiler.sensors.jetson_boards import BOARDS, board_of

MillivoltsMilliamperes = tuple[int, int]


@dataclass
class Tree:
    """A root folder with a device tree and monitors, whose readings tests move."""

    root: Path
    files: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    def device_tree(self, model: str, *compatible: str, folder: str = "proc/device-tree") -> None:
        self.write(self.root / folder / "model", f"{model}\0")
        self.write(self.root / folder / "compatible", "\0".join(compatible) + "\0")

    def iio(self, device: str, rails: dict[str, int], number: int = 0) -> None:
        """NVIDIA's driver of JetPack 4: milliwatts."""
        folder = self.root / f"sys/bus/i2c/drivers/ina3221x/{device}/iio:device{number}"
        for channel, (label, power_mw) in enumerate(rails.items()):
            self.write(folder / f"rail_name_{channel}", f"{label}\n")
            self.files[label] = (folder / f"in_power{channel}_input",)
            self.write(self.files[label][0], f"{power_mw}\n")

    def hwmon(
        self, device: str, rails: dict[str, MillivoltsMilliamperes], number: int, shunt_uohm: int = 5000
    ) -> Path:
        """The kernel's driver: millivolts and milliamperes, shunt voltages and their labelled sum."""
        folder = self.root / f"sys/bus/i2c/drivers/ina3221/{device}/hwmon/hwmon{number}"
        for channel, (label, reading) in enumerate(rails.items(), start=1):
            self.write(
                folder / f"in{channel}_label",
                f"{label.rstrip('12')}\n" if label.startswith("NC") else f"{label}\n",
            )
            self.files[label] = (folder / f"in{channel}_input", folder / f"curr{channel}_input")
            self.set(label, *reading)
            self.write(folder / f"shunt{channel}_resistor", f"{shunt_uohm}\n")
            self.write(folder / f"in{channel + 3}_input", "4000\n")
        self.write(folder / "in7_label", "sum of shunt voltages\n")
        self.write(folder / "in7_input", "760000\n")
        self.write(folder / "curr4_input", "99999\n")
        self.write(folder / "samples", "1\n")
        self.write(folder / "update_interval", "7\n")
        return folder

    def ina238(self, device: str, power_uw: int, number: int, label: str | None = None) -> Path:
        folder = self.root / f"sys/bus/i2c/drivers/ina238/{device}/hwmon/hwmon{number}"
        self.files[label or "VIN"] = (folder / "power1_input",)
        self.write(folder / "power1_input", f"{power_uw}\n")
        self.write(folder / "in1_input", "19000\n")
        self.write(folder / "curr1_input", "1\n")
        if label is not None:
            self.write(folder / "in1_label", f"{label}\n")
        return folder

    def set(self, label: str, *readings: int) -> None:
        for file, reading in zip(self.files[label], readings, strict=True):
            self.write(file, f"{reading}\n")

    @staticmethod
    def write(file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    @property
    def sensor(self) -> Jetson:
        return Jetson(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


def nano(tree: Tree) -> None:
    tree.device_tree(
        "NVIDIA Jetson Nano Developer Kit",
        *("nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210"),
    )
    tree.iio("6-0040", {"POM_5V_IN": 5_231, "POM_5V_GPU": 1_204, "POM_5V_CPU": 890})


def nano_hwmon(tree: Tree) -> None:
    tree.device_tree("NVIDIA Jetson Nano Developer Kit", "nvidia,p3450-0000", "nvidia,tegra210")
    tree.hwmon("6-0040", {"POM_5V_IN": (5048, 1036), "POM_5V_GPU": (5040, 40), "POM_5V_CPU": (5040, 80)}, 2)


def tx2(tree: Tree) -> None:
    tree.device_tree("quill", "nvidia,p2597-0000+p3310-1000", "nvidia,quill", "nvidia,tegra186")
    tree.iio("0-0040", {"VDD_SYS_GPU": 1_523, "VDD_SYS_SOC": 610, "VDD_4V0_WIFI": 19}, 0)
    tree.iio("0-0041", {"VDD_IN": 7_402, "VDD_SYS_CPU": 940, "VDD_SYS_DDR": 1_120}, 1)
    tree.iio("0-0042", {"VDD_MUX": 9_999, "VDD_5V0_IO_SYS": 1_000, "VDD_3V3_SYS": 500}, 2)


def tx2_nx(tree: Tree) -> None:
    tree.device_tree("NVIDIA Jetson TX2 NX", "nvidia,p3509-0000+p3636-0001", "nvidia,tegra186")
    tree.iio("2-0040", {"VDD_IN": 4_104, "VDD_CPU_GPU": 800, "VDD_SOC": 700})


def xavier_nx(tree: Tree) -> None:
    tree.device_tree("NVIDIA Jetson Xavier NX", "nvidia,p3509-0000+p3668-0001", "nvidia,tegra194")
    tree.iio("7-0040", {"VDD_IN": 8_730, "VDD_CPU_GPU_CV": 4_100, "VDD_SOC": 1_500})


def xavier_nx_hwmon(tree: Tree) -> None:
    tree.device_tree("NVIDIA Jetson Xavier NX", "nvidia,p3449-0000+p3668-0001", "nvidia,tegra194")
    tree.hwmon(
        "7-0040", {"VDD_IN": (5_056, 1_728), "VDD_CPU_GPU_CV": (5_048, 520), "VDD_SOC": (5_048, 300)}, 4
    )


AGX_XAVIER = ("nvidia,galen", "nvidia,jetson-xavier", "nvidia,p2822-0000+p2888-0001", "nvidia,tegra194")


def agx_xavier(tree: Tree) -> None:
    tree.device_tree("Jetson-AGX", *AGX_XAVIER)
    tree.iio("1-0040", {"GPU": 4_100, "CPU": 1_530, "SOC": 2_607}, 0)
    tree.iio("1-0041", {"CV": 0, "VDDRQ": 771, "SYS5V": 2_440}, 1)


def agx_xavier_hwmon(tree: Tree) -> None:
    tree.device_tree("Jetson-AGX", "nvidia,p2972-0000", "nvidia,tegra194")
    tree.hwmon("1-0040", {"GPU": (19_048, 216), "CPU": (19_040, 80), "SOC": (19_040, 136)}, 3)
    tree.hwmon("1-0041", {"CV": (19_040, -8), "VDDRQ": (19_040, 40), "SYS5V": (5_016, 488)}, 4)


def orin_nx(tree: Tree) -> None:
    tree.device_tree(
        "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
        *("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"),
    )
    tree.hwmon(
        "1-0040", {"VDD_IN": (5_064, 1_896), "VDD_CPU_GPU_CV": (5_056, 600), "VDD_SOC": (5_056, 296)}, 1
    )


def orin_nano(tree: Tree) -> None:
    tree.device_tree(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        *("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"),
    )
    tree.hwmon("1-0040", {"VDD_IN": (5_080, 992), "VDD_CPU_GPU_CV": (5_064, 104), "VDD_SOC": (5_064, 296)}, 3)


def agx_orin(tree: Tree) -> None:
    tree.device_tree(
        "NVIDIA Jetson AGX Orin Developer Kit",
        *("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"),
    )
    tree.hwmon(
        "1-0040",
        {"VDD_GPU_SOC": (19_920, 120), "VDD_CPU_CV": (19_920, 40), "VIN_SYS_5V0": (4_968, 820)},
        number=3,
        shunt_uohm=2000,
    )
    tree.hwmon("1-0041", {"NC1": (0, 0), "VDDQ_VDD2_1V8AO": (4_968, 160), "NC2": (0, 0)}, 4, shunt_uohm=2000)


def thor(tree: Tree) -> None:
    tree.device_tree(
        "NVIDIA Jetson AGX Thor Developer Kit",
        *("nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264"),
    )
    tree.hwmon(
        "2-0040",
        {"VDD_GPU": (19_600, -20), "VDD_CPU_SOC_MSS": (19_600, 332), "VIN_SYS_5V0": (5_016, 1_300)},
        number=5,
        shunt_uohm=2000,
    )
    tree.ina238("2-0044", 23_456_789, 6)


BUILDERS = [
    (nano, "Jetson Nano", "p3448-0000-b00", "module", 5.231),
    (nano_hwmon, "Jetson Nano", "p3450-0000", "module", 5.048 * 1.036),
    (tx2, "Jetson TX2", "p3310-1000", "module", 7.402),
    (tx2_nx, "Jetson TX2 NX", "p3636-0001", "module", 4.104),
    (xavier_nx, "Jetson Xavier NX", "p3668-0001", "module", 8.730),
    (xavier_nx_hwmon, "Jetson Xavier NX", "p3668-0001", "module", 5.056 * 1.728),
    (agx_xavier, "Jetson AGX Xavier", "p2888-0001", "module", 11.448),
    (
        *(agx_xavier_hwmon, "Jetson AGX Xavier", "p2972-0000", "module"),
        19.048 * 0.216 + 19.040 * (0.080 + 0.136 - 0.008 + 0.040) + 5.016 * 0.488,
    ),
    (orin_nx, "Jetson Orin NX or Orin Nano", "p3767-0000", "module", 5.064 * 1.896),
    (orin_nano, "Jetson Orin NX or Orin Nano", "p3767-0005-super", "module", 5.080 * 0.992),
    (agx_orin, "Jetson AGX Orin", "p3701-0005", "module", 19.920 * 0.160 + 4.968 * 0.820),
    (thor, "Jetson Thor", "p3834-0008", "board", 23.456789),
]


@pytest.mark.parametrize(("build", "board", "module", "domain", "total_w"), BUILDERS)
def test_total_of_every_board(
    tree: Tree, build: Callable[[Tree], None], board: str, module: str, domain: str, total_w: float
) -> None:
    build(tree)
    sensor = tree.sensor
    assert sensor.unavailable() is None
    assert (sensor.details["board"], sensor.details["module"], sensor.domain) == (board, module, domain)
    assert 0.01 < sensor.accuracy.relative < 0.1
    clock = VirtualClock()
    clock.sleep(3.0)
    with sensor.open(clock) as reader:
        sample = reader.read()
    assert sample.power_w == pytest.approx(total_w, rel=1e-3)
    assert sample.t_s == pytest.approx(3.0)


def test_every_board_of_the_table_is_tested() -> None:
    assert {name for _, name, *_ in BUILDERS} == {board.name for board in BOARDS}


def test_each_label_belongs_to_one_role_and_each_id_to_one_board() -> None:
    for board in BOARDS:
        labels = [*board.summed, *board.shown]
        assert len(labels) == len(set(labels))
    ids = [each for board in BOARDS for each in board.ids]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("number", [0, 7, 23])
def test_hwmon_numbers_change_from_boot_to_boot(tree: Tree, number: int) -> None:
    tree.device_tree("Jetson-AGX", *AGX_XAVIER)
    tree.hwmon("1-0040", {"GPU": (19_000, 100), "CPU": (19_000, 100), "SOC": (19_000, 100)}, number + 1)
    tree.hwmon("1-0041", {"CV": (19_000, 100), "VDDRQ": (19_000, 100), "SYS5V": (5_000, 100)}, number)
    with tree.sensor.open(VirtualClock()) as reader:
        assert reader.read().power_w == pytest.approx(10.0)


def test_details_say_what_is_summed_and_what_is_not(tree: Tree) -> None:
    agx_orin(tree)
    tree.write(
        tree.root / "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n"
    )
    tree.hwmon("7-0042", {"CAMERAS": (12_000, 500)}, 9)
    details = tree.sensor.details
    assert details["rails_summed"] == "VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"
    assert details["rails_not_summed"] == "VDDQ_VDD2_1V8AO"
    assert details["rails_unknown"] == "CAMERAS"
    assert "carrier board" in str(details["not_included"])
    assert details["l4t"] == "R36.4.3"
    assert details["samples"] == "1"
    # 40 uV over 2 mOhm at nearly 20 V.
    assert details["quantisation_step_w"] == pytest.approx(0.4)
    assert details["chip_update_period_s"] == pytest.approx(0.007)


def test_details_do_not_depend_on_a_supply_that_sags(tree: Tree) -> None:
    agx_orin(tree)
    before = tree.sensor.details
    tree.set("VDD_GPU_SOC", 19_200, 900)
    tree.set("VIN_SYS_5V0", 4_904, 1_500)
    assert tree.sensor.details == before


@pytest.mark.parametrize(
    ("interval_ms", "samples", "period_s"), [(7, 1, 0.007), (6758, 1024, 6.758), (0, 1, 0.001)]
)
def test_update_period_is_what_the_chip_is_set_to(
    tree: Tree, interval_ms: int, samples: int, period_s: float
) -> None:
    orin_nx(tree)
    (folder,) = tree.root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*")
    tree.write(folder / "update_interval", f"{interval_ms}\n")
    tree.write(folder / "samples", f"{samples}\n")
    assert tree.sensor.details["chip_update_period_s"] == pytest.approx(period_s)
    assert tree.sensor.details["samples"] == str(samples)


def test_update_period_where_the_driver_does_not_tell(tree: Tree) -> None:
    nano(tree)
    assert tree.sensor.details["chip_update_period_s"] == pytest.approx(0.0066)
    assert "samples" not in tree.sensor.details and "quantisation_step_w" not in tree.sensor.details


def test_thor_updates_as_slowly_as_its_input_monitor_averages(tree: Tree) -> None:
    thor(tree)
    assert tree.sensor.details["chip_update_period_s"] == pytest.approx(0.0505, rel=1e-2)


@pytest.mark.parametrize("label", [None, "VIN"])
def test_ina238_is_microwatts_labelled_or_not(tree: Tree, label: str | None) -> None:
    tree.device_tree("Thor", "nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008")
    tree.ina238("2-0044", 140_000_001, 0, label)
    with tree.sensor.open(VirtualClock()) as reader:
        assert reader.read().power_w == pytest.approx(140.000001)


def test_polling_follows_the_load(tree: Tree) -> None:
    orin_nx(tree)
    sensor, clock = tree.sensor, VirtualClock()
    samples: list[PowerSample] = []
    with (
        sensor.open(clock) as reader,
        clock.every(sensor.poll_interval_s, lambda: samples.append(reader.read())),
    ):
        clock.sleep(0.5)
        tree.set("VDD_IN", 5_000, 3_000)
        clock.sleep(0.5)
    assert len(samples) >= 50
    assert [sample.t_s for sample in samples] == sorted({sample.t_s for sample in samples})
    assert samples[0].power_w == pytest.approx(5.064 * 1.896)
    assert samples[-1].power_w == pytest.approx(15.0)


@pytest.mark.parametrize(
    "compatible",
    [
        ("nvidia,p9999-0000+p8888-0000", "nvidia,tegra999"),
        ("nvidia,p3701x-0000",),
        ("nvidia,p3509-0000+p3668-0000", "nvidia,p3701-0000"),
    ],
)
def test_unknown_board_lists_its_rails_and_refuses_a_total(tree: Tree, compatible: tuple[str, ...]) -> None:
    tree.device_tree("Some Carrier", *compatible)
    tree.hwmon("1-0040", {"VDD_IN": (5_000, 1_000), "VDD_CPU_GPU_CV": (5_000, 500), "NC1": (0, 0)}, 1)
    with pytest.raises(UnavailableError) as caught, tree.sensor.open(VirtualClock()):
        pass
    assert "Some Carrier" in caught.value.message and compatible[0] in caught.value.message
    assert "Rails found: VDD_CPU_GPU_CV, VDD_IN." in caught.value.message
    assert tree.sensor.unavailable() == str(caught.value)
    with pytest.raises(UnavailableError):
        _ = tree.sensor.domain


def test_label_that_only_contains_the_expected_one_is_not_it(tree: Tree) -> None:
    tree.device_tree("Jetson Orin NX", "nvidia,p3767-0000")
    tree.hwmon(
        "1-0040", {"VDD_IN_AUX": (5_000, 1_000), "XVDD_IN": (5_000, 1_000), "vdd_in": (5_000, 1_000)}, 1
    )
    reason = tree.sensor.unavailable()
    assert reason is not None and "expected each of VDD_IN once" in reason
    assert "Rails found: VDD_IN_AUX, XVDD_IN, vdd_in." in reason


def test_missing_rail_refuses_a_total(tree: Tree) -> None:
    agx_orin(tree)
    (label,) = (
        file
        for file in tree.root.glob("sys/bus/i2c/drivers/ina3221/1-0040/hwmon/*/in*_label")
        if file.read_text() == "VDD_CPU_CV\n"
    )
    label.unlink()
    reason = tree.sensor.unavailable()
    assert reason is not None
    assert "it is not so for VDD_CPU_CV. Rails found: VDDQ_VDD2_1V8AO, VDD_GPU_SOC, VIN_SYS_5V0." in reason


def test_rail_that_is_there_twice_refuses_a_total(tree: Tree) -> None:
    orin_nx(tree)
    tree.hwmon("7-0041", {"VDD_IN": (5_000, 1)}, 8)
    assert "it is not so for VDD_IN" in (tree.sensor.unavailable() or "")


def test_board_without_any_monitor(tree: Tree) -> None:
    tree.device_tree(
        "NVIDIA Jetson Nano 2GB Developer Kit", "nvidia,p3542-0000+p3448-0003", "nvidia,tegra210"
    )
    assert "Rails found: none." in (tree.sensor.unavailable() or "")


def test_machine_that_is_no_jetson(tmp_path: Path) -> None:
    reason = Jetson(tmp_path).unavailable()
    assert reason is not None and "found none" in reason and "jetson:ROOT" in reason


def test_device_tree_behind_a_mount(tree: Tree) -> None:
    orin_nx(tree)
    tree.device_tree("x", "nvidia,p3767-0001", folder="sys/firmware/devicetree/base")
    # What /proc/device-tree is: a link that leads out of the mounted root.
    for file in (tree.root / "proc/device-tree").iterdir():
        file.unlink()
    (tree.root / "proc/device-tree").rmdir()
    (tree.root / "proc/device-tree").symlink_to("/nowhere/devicetree/base")
    sensor = Jetson.from_request(SensorRequest(argument=str(tree.root), watts_per_core=10.0, device="cuda:0"))
    assert sensor.details["module"] == "p3767-0001"


def test_from_request_without_an_argument_is_this_machine() -> None:
    request = SensorRequest(argument="", watts_per_core=10.0, device="cuda:0")
    assert Jetson.from_request(request).root == Path("/")


@pytest.mark.parametrize("build", [nano, agx_orin, thor])
def test_rail_that_vanishes_invalidates_the_measurement(tree: Tree, build: Callable[[Tree], None]) -> None:
    build(tree)
    label = str(tree.sensor.details["rails_summed"]).split(", ")[-1]
    with tree.sensor.open(VirtualClock()) as reader:
        reader.read()
        tree.files[label][-1].unlink()
        with pytest.raises(MeasurementError, match=f"rail {label} could be read at first"):
            reader.read()


@pytest.mark.parametrize("text", ["", "nan\n", "N/A\n", "5 W\n", "1e3\n"])
def test_nonsense_invalidates_the_measurement(tree: Tree, text: str) -> None:
    orin_nx(tree)
    with tree.sensor.open(VirtualClock()) as reader:
        tree.write(tree.files["VDD_IN"][1], text)
        with pytest.raises(MeasurementError):
            reader.read()
    assert tree.sensor.unavailable() is not None


@pytest.mark.parametrize("current_ma", [-4_000, -100, -8, 0])
def test_board_that_draws_nothing_is_not_believed(tree: Tree, current_ma: int) -> None:
    orin_nx(tree)
    tree.set("VDD_IN", 5_064, current_ma)
    with tree.sensor.open(VirtualClock()) as reader, pytest.raises(MeasurementError):
        reader.read()


def test_one_rail_far_below_zero_is_not_believed_though_the_sum_is_above(tree: Tree) -> None:
    agx_orin(tree)
    tree.set("VDD_CPU_CV", 19_920, -100)
    with tree.sensor.open(VirtualClock()) as reader, pytest.raises(MeasurementError, match="VDD_CPU_CV"):
        reader.read()


def test_offset_of_an_idle_rail_is_kept_and_not_cut_off(tree: Tree) -> None:
    agx_orin(tree)
    tree.set("VDD_CPU_CV", 19_920, -20)
    with tree.sensor.open(VirtualClock()) as reader:
        assert reader.read().power_w == pytest.approx(19.920 * 0.100 + 4.968 * 0.820)


@pytest.mark.parametrize("name", ["in1_input", "curr1_input", "curr3_input"])
def test_no_permission_names_the_remedy(tree: Tree, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    agx_orin(tree)
    open_file = os.open

    def refuse(path: "os.PathLike[str] | str", flags: int, mode: int = 0o777) -> int:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnavailableError, match="no permission") as caught, tree.sensor.open(VirtualClock()):
        pass
    assert caught.value.hint.startswith("Run: sudo chmod a+r ")
    assert f"hwmon3/{name}" in caught.value.hint


def test_no_permission_to_read_labels(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    nano(tree)
    read_text = Path.read_text

    def refuse(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if path.name.startswith("rail_name"):
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, encoding, errors)

    monkeypatch.setattr(Path, "read_text", refuse)
    reason = tree.sensor.unavailable()
    assert reason is not None and "no permission" in reason and "rail_name_0" in reason


@pytest.mark.parametrize(
    ("compatible", "expected"),
    [
        (("nvidia,p3740-0002+p3701-0008",), ("Jetson AGX Orin", "p3701-0008")),
        (("lenovo,thinkedge-se70", "nvidia,p3509-0000+p3668-0001"), ("Jetson Xavier NX", "p3668-0001")),
        (("nvidia,p3509-0000+p3636-0001",), ("Jetson TX2 NX", "p3636-0001")),
        (("nvidia,p3509-0000+p3767-0000",), ("Jetson Orin NX or Orin Nano", "p3767-0000")),
        (("nvidia,e3900-0000+p2888-0004",), ("Jetson AGX Xavier", "p2888-0004")),
        (("nvidia,quill", "nvidia,tegra186"), ("Jetson TX2", "quill")),
        (("nvidia,p3701",), ("Jetson AGX Orin", "p3701")),
        # The carrier of TX1 and TX2 alone names no module, and a chip is no board.
        (("nvidia,p2597-0000",), None),
        (("nvidia,tegra234",), None),
        (("raspberrypi,5-model-b", "brcm,bcm2712"), None),
        ((), None),
    ],
)
def test_boards_are_recognised_by_their_module(
    compatible: tuple[str, ...], expected: tuple[str, str] | None
) -> None:
    found = board_of(compatible)
    assert (found and (found[0].name, found[1])) == expected
