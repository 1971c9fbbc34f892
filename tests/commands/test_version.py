"""perframe --version: perframe's own, and those of the runtimes."""

import importlib.metadata
import subprocess
import sys

import pytest

import perframe
from perframe.cli import run


def test_perframe_comes_first_and_the_runtimes_follow(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"perframe {perframe.__version__}"
    told = dict(line.split(" ", 1) for line in others)
    for name in ("numpy", "onnx", "onnxruntime"):
        assert told[name] == importlib.metadata.version(name)


def test_no_runtime_is_imported_for_it() -> None:
    program = (
        "import sys; from perframe.cli import run; run(['--version']);"
        "sys.exit(bool({'torch', 'onnx', 'onnxruntime', 'numpy', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
