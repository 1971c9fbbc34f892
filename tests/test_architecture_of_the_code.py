"""Imports point one way, and vendor libraries are loaded where they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A room may import itself and what stands to its right.
ORDER = [
    "cli",
    "commands",
    "report",
    "analysis",
    "profiler",
    "engines",
    "export",
    "files",
    "arrays",
    "typed_json",
    "progress",
    "errors",
]
SOURCES = sorted(
    path
    for room in ("commands", "export", "engines", "profiler", "analysis", "report")
    for path in (ROOT / room).rglob("*.py")
)


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("perframe."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert imported_rooms(path) <= set(ORDER[ORDER.index(room) :])


def loaded_after(*arguments: str) -> set[str]:
    """Which modules a fresh interpreter holds after running one command."""
    program = (
        "import sys; from perframe.cli import run; code = run(sys.argv[1:]);"
        "print('\\n'.join(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.split())


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_after("--help") & {
        "torch",
        "onnx",
        "onnxruntime",
        "numpy",
        "rich",
        "pynvml",
        "filelock",
    }


def test_profiling_an_onnx_file_never_imports_torch(onnx_file: Path) -> None:
    arguments = [
        "profile",
        str(onnx_file),
        "--windows",
        "2",
        "--window-s",
        "0.01",
        "--warm-up-s",
        "0",
        "--json",
    ]
    loaded = loaded_after(*arguments)
    assert "onnxruntime" in loaded
    assert "torch" not in loaded
