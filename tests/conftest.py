"""What several tests need: one small real checkpoint, its ONNX file, and folders."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from perframe.engines.convert import convert, new_checkpoint

# How long an example takes depends on what else the machine does; whether it holds does not.
settings.register_profile("perframe", deadline=None)
settings.load_profile("perframe")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what skips although PERFRAME_REQUIRE says that this machine has what it needs, such as "gpu,tensorrt"."""
    report = yield
    required = set(filter(None, os.environ.get("PERFRAME_REQUIRE", "").split(",")))
    if report.skipped and any(item.get_closest_marker(name) for name in required):
        report.outcome = "failed"
        report.longrepr = (
            f"PERFRAME_REQUIRE={','.join(sorted(required))}, but it was skipped: {report.longrepr}"
        )
    return report


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of recorded data, which is not part of the repository."""
    folder = Path(os.environ.get("PERFRAME_DATA", Path(__file__).parents[1] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"recorded data not found in {folder}; set PERFRAME_DATA")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small E2GC MobileNet-V1 (G=8, a quarter of the width, 10 classes), as `perframe new` writes it."""
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth.tar"
    new_checkpoint("mobilenet-v1", path, group_size=8, width=0.25, classes=10, input_shape=(3, 64, 64))
    return path


@pytest.fixture(scope="session")
def onnx_file(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of `checkpoint`, at 64 x 64."""
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    convert(checkpoint, path, input_shape=(3, 64, 64), parity=False)
    return path


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test its own devices and cache: tests never wait for each other, nor touch what a user has kept."""
    monkeypatch.setenv("PERFRAME_LOCK_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
