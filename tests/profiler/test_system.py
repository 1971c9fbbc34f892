"""Which devices are there, and what may be opened and written."""

import os
from pathlib import Path

import pytest

from perframe.engines.cuda import cuda_unavailable
from perframe.profiler.lock import device_lock
from perframe.profiler.system import devices, permissions


def test_the_cpu_is_there_and_said_to_be_in_use_when_it_is() -> None:
    assert next(devices(driver=False)).works
    with device_lock("cpu"):
        busy = next(devices(driver=False))
    assert not busy.works and str(os.getpid()) in busy.what


@pytest.mark.skipif(cuda_unavailable() is None, reason="there is a GPU")
@pytest.mark.parametrize(("vendor", "word"), [("0x10de", "no driver of it"), ("0x8086", "no NVIDIA device")])
def test_a_gpu_without_a_driver_is_told_from_no_gpu(tmp_path: Path, vendor: str, word: str) -> None:
    file = tmp_path / "sys/bus/pci/devices/0000:01:00.0/vendor"
    file.parent.mkdir(parents=True)
    file.write_text(f"{vendor}\n")
    _, gpu = devices(driver=False, root=tmp_path)
    assert not gpu.works and word in gpu.what and gpu.remedy


def test_devices_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").mkdir()
    assert [each.name for each in permissions(tmp_path)] == ["engine cache"]
    for name in ("nvidia0", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    assert all(each.works for each in permissions(tmp_path))
    may_open = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).name != "nvidia0" and may_open(path, mode)
    )
    gpu, _ = permissions(tmp_path)
    assert not gpu.works and "nvidia0" in gpu.what and "nvidiactl" not in gpu.what
    assert gpu.remedy.startswith("sudo usermod -aG ")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody can make a folder in a file.
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (cache,) = permissions(tmp_path)
    assert not cache.works and "XDG_CACHE_HOME" in cache.remedy
