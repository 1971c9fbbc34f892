"""Which runtimes are installed, what CUDA they were built for and what the driver supports: read, not imported.

Importing torch alone takes seconds, and a runtime that does not fit the driver may not be importable at all.
"""

import ctypes
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Every name a distribution goes by; what is built for several CUDA versions says which in its name.
_DISTRIBUTIONS = {
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime",),
    "onnxruntime-gpu": ("onnxruntime-gpu",),
    "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"),
    "torch": ("torch",),
    "cuda-bindings": ("cuda-bindings",),
    "pycuda": ("pycuda",),
    "nvidia-ml-py": ("nvidia-ml-py",),
}
# In these two files ONNX Runtime keeps what it needs from others; names of linked libraries stand at their beginning.
_CUDA_PROVIDER = "libonnxruntime_providers_cuda.so"
_TENSORRT_PROVIDER = "libonnxruntime_providers_tensorrt.so"
_BEGINNING = 1 << 20


@dataclass(frozen=True)
class Installed:
    """The software that has to fit together.

    Attributes:
        versions: Installed runtimes and their versions, as pip knows them.
        cuda: CUDA's major version that each of them was built for, where it can be told.
        linked_tensorrt: TensorRT's major version that ONNX Runtime's TensorRT provider is linked with; `None` without
            that provider.
        driver: Version of the NVIDIA driver; `None` if none is loaded.
        driver_cuda: Newest CUDA that the driver supports, major and minor; `None` if it cannot be asked.
    """

    versions: Mapping[str, str]
    cuda: Mapping[str, int]
    linked_tensorrt: int | None
    driver: str | None
    driver_cuda: tuple[int, int] | None


def installed() -> Installed:
    """Look at what is installed."""
    versions = installed_versions()
    return Installed(
        versions,
        _built_for(versions),
        _linked(_TENSORRT_PROVIDER, "libnvinfer"),
        driver_version(),
        driver_cuda(),
    )


def installed_versions() -> dict[str, str]:
    """Return the version of every runtime that is installed."""
    found = {name: _first_version(names) for name, names in _DISTRIBUTIONS.items()}
    return {name: version for name, version in found.items() if version is not None}


def driver_version(root: Path = Path("/")) -> str | None:
    """Return the version of the NVIDIA driver that is loaded, such as "580.65.06"; `None` if none is.

    Args:
        root: Where the system's `proc` lies.
    """
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d{3,}\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else None


def driver_cuda() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver supports, major and minor; `None` where no driver can be asked."""
    # The driver's own library answers this without a GPU being opened.
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _first_version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _built_for(versions: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int | None] = {
        "onnxruntime-gpu": _linked(_CUDA_PROVIDER, "libcudart"),
        # CUDA's own package carries its version.
        "cuda-bindings": _number(r"(\d+)\.", versions.get("cuda-bindings", "")),
        "torch": _number(r".*\+cu(\d+)\d$", versions.get("torch", "")),
    }
    for name in ("tensorrt", "tensorrt-rtx"):
        for suffixed in _DISTRIBUTIONS[name][1:]:
            if _first_version((suffixed,)) is not None:
                found[name] = _number(r".*-cu(\d+)$", suffixed)
    return {name: major for name, major in found.items() if name in versions and major is not None}


def _linked(provider: str, library: str) -> int | None:
    """The major version of a library that one of ONNX Runtime's files is linked with."""
    spec = importlib.util.find_spec("onnxruntime")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        try:
            with (Path(folder) / "capi" / provider).open("rb") as file:
                beginning = file.read(_BEGINNING)
        except OSError:
            continue
        if found := re.search(rb"\0%b\.so\.(\d+)\0" % library.encode(), beginning):
            return int(found[1])
    return None


def _number(pattern: str, text: str) -> int | None:
    found = re.match(pattern, text)
    return int(found[1]) if found else None
