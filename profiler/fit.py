"""Whether what is installed fits together: runtimes with each other, and with the driver.

What does not is rarely said by the runtimes themselves: ONNX Runtime answers a provider that cannot be loaded with the
CPU, and CUDA a driver that is too old with an error code.
"""

from collections.abc import Iterator

from perframe.engines.installed import Installed
from perframe.profiler.finding import Finding

# Oldest driver branch of each CUDA version: the table "CUDA Toolkit and Minimum Required Driver Version for CUDA
# Minor Version Compatibility" of NVIDIA's CUDA Toolkit Release Notes.
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
# NVIDIA's support matrix of TensorRT 11.
_OLDEST_DRIVER_OF_TENSORRT_11 = 590


def fit(software: Installed) -> list[Finding]:
    """Hold the versions of installed runtimes against each other and against the driver.

    Args:
        software: What is installed. Without a driver nothing is held against it.
    """
    rules = (_two_wheels, _cpu_wheels, _tensorrt_provider, _driver, _tensorrt_11)
    return [finding for rule in rules for finding in rule(software)]


def _two_wheels(software: Installed) -> Iterator[Finding]:
    if {"onnxruntime", "onnxruntime-gpu"} <= software.versions.keys():
        yield Finding(
            "fit",
            "onnxruntime",
            False,
            "onnxruntime and onnxruntime-gpu are both installed, and overwrite each other's files",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'perframe[gpu]'",
        )


def _cpu_wheels(software: Installed) -> Iterator[Finding]:
    if software.driver_cuda is None:
        return
    version = software.versions.get("onnxruntime")
    if version is not None and "onnxruntime-gpu" not in software.versions:
        remedy = "pip uninstall -y onnxruntime && pip install 'perframe[gpu]'"
        yield Finding(
            "fit", "onnxruntime", False, f"{version} is the wheel without the GPU's providers", remedy
        )
    version = software.versions.get("torch", "")
    if version.endswith("+cpu"):
        remedy = (
            "pip install --force-reinstall torch, from the index of the driver's CUDA version (pytorch.org)"
        )
        yield Finding("fit", "torch", False, f"{version} is the wheel without the GPU", remedy)


def _tensorrt_provider(software: Installed) -> Iterator[Finding]:
    """ONNX Runtime's TensorRT provider is linked with one major version of TensorRT."""
    needed = software.linked_tensorrt
    if needed is None:
        return
    linked = f"the TensorRT provider of ONNX Runtime is linked with libnvinfer.so.{needed}"
    suffix = f"-cu{software.cuda['onnxruntime-gpu']}" if "onnxruntime-gpu" in software.cuda else ""
    remedy = (
        f"pip install 'tensorrt{suffix}=={needed}.*' (in an environment of its own beside a newer TensorRT)"
    )
    version = software.versions.get("tensorrt")
    if version is None:
        what = f"{linked}, and no TensorRT is installed by pip; the system may have one"
        yield Finding("fit", "onnxruntime tensorrt", False, what, remedy)
    else:
        works = int(version.partition(".")[0]) == needed
        what = f"{linked}, and TensorRT {version} is installed"
        yield Finding("fit", "onnxruntime tensorrt", works, what, "" if works else remedy)


def _driver(software: Installed) -> Iterator[Finding]:
    """A driver runs programs of its CUDA major version and of older ones."""
    if software.driver_cuda is None:
        return
    major, minor = software.driver_cuda
    driver = f"the driver{f' {software.driver}' if software.driver else ''} supports CUDA {major}.{minor}"
    for name, needed in software.cuda.items():
        works, remedy = needed <= major, ""
        if not works:
            remedy = (
                f"Update the driver to R{_OLDEST_DRIVER[needed]} or later"
                if needed in _OLDEST_DRIVER
                else "Update the driver"
            )
            if name == "cuda-bindings":
                remedy = f"pip install 'cuda-bindings=={major}.*'"
        version = software.versions[name]
        yield Finding("fit", name, works, f"{version} is built for CUDA {needed}; {driver}", remedy)


def _tensorrt_11(software: Installed) -> Iterator[Finding]:
    version, driver = software.versions.get("tensorrt", ""), software.driver
    if version.startswith("11.") and driver and int(driver.partition(".")[0]) < _OLDEST_DRIVER_OF_TENSORRT_11:
        yield Finding(
            "fit",
            "tensorrt driver",
            False,
            f"TensorRT {version} needs driver R{_OLDEST_DRIVER_OF_TENSORRT_11} or later, found {driver}",
            "Update the driver, or pip install 'tensorrt==10.*'",
        )
