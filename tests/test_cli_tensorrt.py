"""TensorRT from the command line, as far as a machine without a GPU goes."""

import json
from pathlib import Path

import pytest

from perframe.cli import run
from perframe.engines.tensorrt_library import tensorrt_library
from perframe.errors import UnavailableError

pytestmark = pytest.mark.tensorrt


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        tensorrt_library("tensorrt-rtx")
    except UnavailableError as error:
        pytest.skip(error.message)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def build(model: Path, out: Path, *options: str) -> int:
    return run(["build", str(model), "--engine", "tensorrt-rtx", "-o", str(out), *options])


def test_options_become_one_specification(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "-b 1 -b 4 --workspace 256m --optimization-level 2 --tf32 --sparsity --target 8.6 --target 8.6 --json"
    )
    assert build(onnx_file, tmp_path / "e", *options.split()) == 0
    sidecar = json.loads(capsys.readouterr().out)
    assert sidecar["batches"] == [1, 4]
    assert sidecar["tensorrt"] == {
        "workspace_bytes": 256 << 20,
        "optimization_level": 2,
        "tf32": True,
        "sparsity": True,
        "version_compatible": False,
        "hardware_compatible": False,
        "dla_core": None,
        "targets": ["8.6"],
    }


def test_what_was_built_is_said(onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(onnx_file, tmp_path / "e") == 0
    assert "for tensorrt-rtx" in capsys.readouterr().out
    assert len(list((tmp_path / "cache").rglob("engine"))) == 1


def test_nothing_is_kept_if_so_asked(onnx_file: Path, tmp_path: Path) -> None:
    assert build(onnx_file, tmp_path / "e", "--no-cache") == 0
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("size", ["0", "2x", "-1", "1.5G", "99999999999999T"])
def test_a_size_that_is_none(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    assert build(onnx_file, tmp_path / "e", "--workspace", size) == 2
    assert "not a size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code"), [(("--target", "9.9"), 2), (("--dla-core", "0"), 2), (("--target", "7.5"), 7)]
)
def test_exit_codes(onnx_file: Path, tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    assert build(onnx_file, tmp_path / "e", *options) == code


def test_tensorrt_options_for_another_engine(onnx_file: Path, tmp_path: Path) -> None:
    assert run(["build", str(onnx_file), "-o", str(tmp_path / "e"), "--tf32"]) == 2
