"""What is known of installed runtimes without importing any."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perframe.engines.installed import driver_version, installed, installed_versions


def add(folder: Path, name: str, version: str) -> None:
    """Make a distribution that pip would list."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which nothing is installed yet."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    # What is imported already is found without looking.
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    return tmp_path


def test_nothing_is_installed(site: Path) -> None:
    found = installed()
    assert (found.versions, found.cuda, found.linked_tensorrt) == ({}, {}, None)


@pytest.mark.parametrize(
    ("name", "version", "runtime", "cuda"),
    [
        ("cuda-bindings", "13.5.0", "cuda-bindings", 13),
        ("torch", "2.13.0+cu128", "torch", 12),
        ("tensorrt-cu12", "10.16.1", "tensorrt", 12),
        ("tensorrt_rtx_cu13", "1.7.1.116", "tensorrt-rtx", 13),
        ("torch", "2.13.0+cpu", "torch", None),
        ("torch", "2.13.0", "torch", None),
        ("tensorrt", "10.3.0", "tensorrt", None),
    ],
)
def test_what_cuda_a_runtime_is_built_for(
    site: Path, name: str, version: str, runtime: str, cuda: int | None
) -> None:
    add(site, name, version)
    found = installed()
    assert found.versions == {runtime: version}
    assert found.cuda.get(runtime) == cuda


def test_what_onnx_runtimes_providers_are_linked_with(site: Path) -> None:
    add(site, "onnxruntime-gpu", "1.31.1")
    capi = site / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (capi.parent / "__init__.py").write_text("raise AssertionError('it is not to be imported')\n")
    assert (installed().cuda, installed().linked_tensorrt) == ({}, None)
    linked = b"\x7fELF\0libcublas.so.13\0libcudart.so.13\0libc.so.6\0"
    # Deep inside, another file's name is no library that it is linked with.
    (capi / "libonnxruntime_providers_cuda.so").write_bytes(linked + bytes(1 << 20) + b"\0libcudart.so.12\0")
    (capi / "libonnxruntime_providers_tensorrt.so").write_bytes(
        b"\0libnvinfer_plugin.so.9\0libnvinfer.so.10\0"
    )
    found = installed()
    assert found.cuda == {"onnxruntime-gpu": 13}
    assert found.linked_tensorrt == 10


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n",
            "550.54.14",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@host)\n",
            "580.65.06",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n", "540.4.0"),
        ("something else\n", None),
    ],
)
def test_the_version_of_the_driver(tmp_path: Path, text: str, version: str | None) -> None:
    assert driver_version(tmp_path) is None
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert driver_version(tmp_path) == version


DRIVER = "int cuDriverGetVersion(int *version) { *version = %d; return %d; }"


@pytest.mark.parametrize(
    ("version", "status", "said"), [(12040, 0, "(12, 4)"), (13010, 0, "(13, 1)"), (0, 34, "None")]
)
def test_what_cuda_the_driver_supports(tmp_path: Path, version: int, status: int, said: str) -> None:
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("there is no compiler to make a library with")
    (tmp_path / "driver.c").write_text(DRIVER % (version, status))
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-o", str(library), str(tmp_path / "driver.c")], check=True)
    ended = subprocess.run(
        [sys.executable, "-c", "from perframe.engines.installed import driver_cuda; print(driver_cuda())"],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == said


def test_this_environment() -> None:
    versions = installed_versions()
    assert versions["numpy"] == sys.modules["numpy"].__version__
