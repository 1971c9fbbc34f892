"""Which devices this system has, and what it permits."""

import grp
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from perframe.engines.cuda import device_identity
from perframe.errors import UnavailableError
from perframe.files import user_cache
from perframe.profiler.environment import cpu_model, usable_cpus
from perframe.profiler.finding import Finding, obstacle
from perframe.profiler.lock import device_lock

_NVIDIA = "0x10de"
# A discrete GPU's nodes, and a Jetson's.
_NODES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvmap", "nvhost-gpu")


def devices(*, driver: bool, root: Path = Path("/")) -> Iterator[Finding]:
    """Look at the CPU and every GPU that CUDA counts.

    Args:
        driver: Whether an NVIDIA driver is loaded.
        root: Where the system's `sys` lies.
    """
    yield _free("cpu", f"{cpu_model()}, {usable_cpus()} CPUs")
    for index in itertools.count():
        name = f"cuda:{index}"
        try:
            identity = device_identity(index)
        except UnavailableError as error:
            if index == 0:
                yield obstacle("device", name, error) if driver else _without_driver(name, root)
            return
        yield _free(name, str(identity))


def permissions(root: Path = Path("/")) -> Iterator[Finding]:
    """Look at what measuring needs to open and to write, beside the sensors.

    Args:
        root: Where the system's `dev` lies.
    """
    nodes = [node for pattern in _NODES for node in sorted((root / "dev").glob(pattern))]
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        what = f"no access to {', '.join(map(str, closed))}"
        remedy = f"sudo usermod -aG {_group(closed[0])} $USER, and log in again"
        yield Finding("permission", "GPU devices", False, what, remedy)
    elif nodes:
        yield Finding("permission", "GPU devices", True, "can be opened")
    cache = user_cache("engines")
    existing = next(folder for folder in (cache, *cache.parents) if os.access(folder, os.F_OK))
    if existing.is_dir() and os.access(existing, os.W_OK):
        yield Finding("permission", "engine cache", True, f"{cache}: can be written")
    else:
        remedy = "Set XDG_CACHE_HOME to a folder that can be written."
        yield Finding("permission", "engine cache", False, f"{cache}: cannot be written", remedy)


def _free(device: str, what: str) -> Finding:
    """A device, unless another process measures on it just now."""
    try:
        with device_lock(device):
            return Finding("device", device, True, what)
    except UnavailableError as error:
        return obstacle("device", device, error)


def _without_driver(device: str, root: Path) -> Finding:
    vendors = (root / "sys/bus/pci/devices").glob("*/vendor")
    if any(_read(vendor) == _NVIDIA for vendor in vendors):
        what = "an NVIDIA device is on the PCI bus, and no driver of it is loaded"
        return Finding(
            "device", device, False, what, "Install the NVIDIA driver; start a container with --gpus all."
        )
    what = "no NVIDIA device is on the PCI bus, and no NVIDIA driver is loaded"
    return Finding(
        "device", device, False, what, "Start a container with --gpus all, or go to a machine with a GPU."
    )


def _group(node: Path) -> str:
    try:
        return grp.getgrgid(node.stat().st_gid).gr_name
    except KeyError:
        # A container may not know the host's groups.
        return str(node.stat().st_gid)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
