"""How a machine is set to trade speed for power: what must agree before two results may be compared.

Read from files only, so that it needs neither root nor a vendor's tools. Sources: NVIDIA's Jetson Linux Developer
Guide (nvpmodel, jetson_clocks); https://docs.kernel.org/admin-guide/pm/cpufreq.html and intel_pstate.html;
/sys/class/devfreq and /sys/class/power_supply of the kernel's ABI documents.
"""

import re
from collections.abc import Sequence
from pathlib import Path

# The GPU of a Jetson among the devices whose clock is scaled: 57000000.gpu (Nano, Xavier, JetPack 6),
# 17000000.gp10b (TX2), .gv11b (Xavier), .ga10b (Orin), gpu-gpc-0 (Thor). Thor's gpu-nvd-0 is its video engine.
_GPU = re.compile(r"[0-9a-f]+\.(gpu|gm20b|gp10b|gv11b|ga10b)|gpu-gpc-\d+")


def power_state(root: Path = Path("/")) -> dict[str, str | float | None]:
    """Describe how this machine's speed and power are set. Holds no host name, user name or path.

    Args:
        root: Where the system's `sys`, `var` and `etc` lie.

    Returns:
        Always the same keys, None for what the machine does not tell:

        * `power_mode`: a Jetson's nvpmodel mode, number and name ("2 MODE_30W"), as nvpmodel itself keeps it. Before
          a mode was ever set there is none.
        * `cpus_online`: numbers of the CPUs in use ("0-7"); power modes switch some off.
        * `cpu_governor`, `gpu_governor`: what chooses the clocks; several if CPUs differ ("performance, schedutil").
        * `cpu_clocks`, `gpu_clocks`: "locked at 2201600000 Hz" where the lowest clock allowed is the highest (as
          jetson_clocks does), "partly locked" if not for all, else "scaled".
        * `cpu_boost`: "on" or "off", whether clocks above the nominal are allowed.
        * `power_source`: "mains" or "battery".

        `gpu_governor` and `gpu_clocks` are a Jetson's; other GPUs are described by their driver.
    """
    cpus = root / "sys/devices/system/cpu"
    policies = sorted(cpus.glob("cpufreq/policy*"))
    gpus = [path for path in sorted((root / "sys/class/devfreq").glob("*")) if _GPU.fullmatch(path.name)]
    return {
        "power_mode": _power_mode(root),
        "cpus_online": _text(cpus / "online"),
        "cpu_governor": _distinct([policy / "scaling_governor" for policy in policies]),
        "cpu_clocks": _clocks(policies, "scaling_min_freq", "scaling_max_freq", unit_hz=1000),
        "cpu_boost": _cpu_boost(cpus),
        "gpu_governor": _distinct([gpu / "governor" for gpu in gpus]),
        "gpu_clocks": _clocks(gpus, "min_freq", "max_freq", unit_hz=1),
        "power_source": _power_source(root / "sys/class/power_supply"),
    }


def _power_mode(root: Path) -> str | None:
    # "pmode:0002", on newer systems followed by "fmode:..." of the fan.
    status = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    if status is None:
        return None
    number = int(status[1])
    names = re.findall(
        r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", _text(root / "etc/nvpmodel.conf") or "", re.MULTILINE
    )
    return " ".join([str(number), *(name for each, name in names if int(each) == number)])


def _clocks(devices: Sequence[Path], lowest: str, highest: str, *, unit_hz: int) -> str | None:
    ranges = [(_integer(device / lowest), _integer(device / highest)) for device in devices]
    if not ranges or any(low is None or high is None for low, high in ranges):
        return None
    locked_hz = sorted({high * unit_hz for low, high in ranges if high is not None and low == high})
    if not locked_hz:
        return "scaled"
    if any(low != high for low, high in ranges):
        return "partly locked"
    return f"locked at {', '.join(map(str, locked_hz))} Hz"


def _cpu_boost(cpus: Path) -> str | None:
    if (disabled := _text(cpus / "intel_pstate/no_turbo")) in ("0", "1"):
        return "off" if disabled == "1" else "on"
    if (enabled := _text(cpus / "cpufreq/boost")) in ("0", "1"):
        return "on" if enabled == "1" else "off"
    return None


def _power_source(supplies: Path) -> str | None:
    batteries: list[str | None] = []
    mains: list[str | None] = []
    for supply in supplies.glob("*"):
        # Mice and headsets have batteries too.
        if _text(supply / "scope") == "Device":
            continue
        match _text(supply / "type"):
            case "Battery":
                batteries.append(_text(supply / "status"))
            case "Mains":
                mains.append(_text(supply / "online"))
    if "Discharging" in batteries:
        return "battery"
    # A battery that is not drained is fed from somewhere, even where only USB-C brings the power.
    if "1" in mains or {"Charging", "Full", "Not charging"} & set(batteries):
        return "mains"
    return None


def _distinct(files: Sequence[Path]) -> str | None:
    values = [_text(file) for file in files]
    if not values or None in values:
        return None
    return ", ".join(sorted({value for value in values if value}))


def _integer(file: Path) -> int | None:
    try:
        return int(_text(file) or "")
    except ValueError:
        return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
