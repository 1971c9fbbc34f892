"""Power state against fake system trees."""

from pathlib import Path

import pytest

from perframe.profiler.power_state import power_state

KEYS = {
    "power_mode",
    "cpus_online",
    "cpu_governor",
    "cpu_clocks",
    "cpu_boost",
    "gpu_governor",
    "gpu_clocks",
    "power_source",
}

NVPMODEL_CONF = """\
# < POWER_MODEL ID=2 NAME=COMMENTED >
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MODE_30W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=20 NAME=MODE_X >
< PM_CONFIG DEFAULT=2 >
"""


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def cpu(root: Path, policy: int, governor: str, lowest_khz: int, highest_khz: int) -> None:
    folder = root / f"sys/devices/system/cpu/cpufreq/policy{policy}"
    write(folder / "scaling_governor", governor)
    write(folder / "scaling_min_freq", str(lowest_khz))
    write(folder / "scaling_max_freq", str(highest_khz))


def devfreq(root: Path, name: str, governor: str, lowest_hz: int, highest_hz: int) -> None:
    folder = root / "sys/class/devfreq" / name
    write(folder / "governor", governor)
    write(folder / "min_freq", str(lowest_hz))
    write(folder / "max_freq", str(highest_hz))


def supply(root: Path, name: str, **entries: str) -> None:
    for entry, text in entries.items():
        write(root / "sys/class/power_supply" / name / entry, text)


def test_nothing_is_known_of_an_empty_machine(tmp_path: Path) -> None:
    assert power_state(tmp_path) == dict.fromkeys(KEYS)


def test_this_machine_gives_all_keys() -> None:
    assert set(power_state()) == KEYS


def test_jetson_with_locked_clocks(tmp_path: Path) -> None:
    write(tmp_path / "var/lib/nvpmodel/status", "pmode:0002 fmode:fan_mode_quiet")
    write(tmp_path / "etc/nvpmodel.conf", NVPMODEL_CONF)
    write(tmp_path / "sys/devices/system/cpu/online", "0-7")
    cpu(tmp_path, 0, "schedutil", 1_728_000, 1_728_000)
    cpu(tmp_path, 4, "schedutil", 1_728_000, 1_728_000)
    devfreq(tmp_path, "17000000.gpu", "nvhost_podgov", 612_000_000, 612_000_000)
    devfreq(tmp_path, "15340000.vic", "userspace", 1, 2)
    assert power_state(tmp_path) == {
        "power_mode": "2 MODE_30W",
        "cpus_online": "0-7",
        "cpu_governor": "schedutil",
        "cpu_clocks": "locked at 1728000000 Hz",
        "cpu_boost": None,
        "gpu_governor": "nvhost_podgov",
        "gpu_clocks": "locked at 612000000 Hz",
        "power_source": None,
    }


@pytest.mark.parametrize(
    ("status", "conf", "mode"),
    [
        ("pmode:0000", NVPMODEL_CONF, "0 MAXN"),
        ("pmode:0020", NVPMODEL_CONF, "20 MODE_X"),
        ("pmode:0007", NVPMODEL_CONF, "7"),
        ("pmode:0001", None, "1"),
        ("garbage", NVPMODEL_CONF, None),
        # What applies before a mode was set is not told.
        (None, NVPMODEL_CONF, None),
    ],
)
def test_power_mode(tmp_path: Path, status: str | None, conf: str | None, mode: str | None) -> None:
    if status is not None:
        write(tmp_path / "var/lib/nvpmodel/status", status)
    if conf is not None:
        write(tmp_path / "etc/nvpmodel.conf", conf)
    assert power_state(tmp_path)["power_mode"] == mode


def test_all_cpus_count(tmp_path: Path) -> None:
    cpu(tmp_path, 0, "schedutil", 400_000, 2_000_000)
    cpu(tmp_path, 4, "performance", 2_000_000, 2_000_000)
    cpu(tmp_path, 8, "schedutil", 400_000, 2_000_000)
    state = power_state(tmp_path)
    assert state["cpu_governor"] == "performance, schedutil"
    assert state["cpu_clocks"] == "partly locked"


def test_clusters_locked_at_different_clocks(tmp_path: Path) -> None:
    cpu(tmp_path, 0, "performance", 2_035_200, 2_035_200)
    cpu(tmp_path, 1, "performance", 345_600, 345_600)
    assert power_state(tmp_path)["cpu_clocks"] == "locked at 345600000, 2035200000 Hz"


@pytest.mark.parametrize(
    "name",
    ["57000000.gpu", "17000000.gp10b", "17000000.gv11b", "17000000.ga10b", "17000000.gpu", "gpu-gpc-0"],
)
def test_gpu_of_every_jetson_is_found(tmp_path: Path, name: str) -> None:
    devfreq(tmp_path, name, "nvhost_podgov", 306_000_000, 918_000_000)
    state = power_state(tmp_path)
    assert (state["gpu_governor"], state["gpu_clocks"]) == ("nvhost_podgov", "scaled")


@pytest.mark.parametrize("name", ["gpu-nvd-0", "bwmgr", "15340000.vic", "c0000000.gpu-dma"])
def test_other_devices_are_not_the_gpu(tmp_path: Path, name: str) -> None:
    devfreq(tmp_path, name, "performance", 1, 1)
    assert power_state(tmp_path)["gpu_clocks"] is None


def test_unreadable_limit_is_not_known_rather_than_scaled(tmp_path: Path) -> None:
    cpu(tmp_path, 0, "performance", 1, 1)
    write(tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "<unsupported>")
    state = power_state(tmp_path)
    assert (state["cpu_clocks"], state["cpu_governor"]) == (None, "performance")


@pytest.mark.parametrize(
    ("file", "text", "boost"),
    [
        ("intel_pstate/no_turbo", "0", "on"),
        ("intel_pstate/no_turbo", "1", "off"),
        ("cpufreq/boost", "1", "on"),
        ("cpufreq/boost", "0", "off"),
        ("cpufreq/boost", "what", None),
    ],
)
def test_boost(tmp_path: Path, file: str, text: str, boost: str | None) -> None:
    write(tmp_path / "sys/devices/system/cpu" / file, text)
    assert power_state(tmp_path)["cpu_boost"] == boost


def test_power_source(tmp_path: Path) -> None:
    supply(tmp_path, "hidpp_battery_0", type="Battery", scope="Device", status="Discharging")
    assert power_state(tmp_path)["power_source"] is None
    supply(tmp_path, "AC", type="Mains", online="1")
    supply(tmp_path, "BAT0", type="Battery", status="Full")
    assert power_state(tmp_path)["power_source"] == "mains"
    supply(tmp_path, "AC", online="0")
    supply(tmp_path, "BAT0", status="Discharging")
    assert power_state(tmp_path)["power_source"] == "battery"
    # Fed through USB-C only.
    supply(tmp_path, "BAT0", status="Charging")
    assert power_state(tmp_path)["power_source"] == "mains"
