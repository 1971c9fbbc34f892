"""The machine and the software a measurement was made with."""

import os
import platform
from pathlib import Path

import perframe
from perframe.engines.installed import driver_version, installed_versions
from perframe.profiler.power_state import power_state


def environment() -> dict[str, str | float | None]:
    """Describe this machine for people. Holds no host name, user name or path."""
    found: dict[str, str | float | None] = {
        "os": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "perframe": perframe.__version__,
        "cpu": cpu_model(),
        "cpus": float(usable_cpus()),
        "memory_bytes": _memory_bytes(),
        **power_state(),
        "load_1min": os.getloadavg()[0],
    }
    if (driver := driver_version()) is not None:
        found["nvidia_driver"] = driver
    return found | installed_versions()


def cpu_model() -> str:
    """Return the CPU's name, or its architecture where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            # x86 says "model name"; Arm boards say "Model" or "Hardware".
            if key.strip() in ("model name", "Model", "Hardware") and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _memory_bytes() -> float | None:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return None
