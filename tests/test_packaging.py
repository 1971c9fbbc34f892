"""What a user installs: the files in the wheel, and no more."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("commands", "export", "engines", "profiler", "profiler/sensors", "analysis", "report")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what is under version control."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("the file list is taken from git, and this is no clone")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(out), str(source)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_program_and_nothing_else(wheel: Path) -> None:
    expected = {f"perframe/{path.name}" for path in ROOT.glob("*.py")} | {"perframe/py.typed"}
    for room in ROOMS:
        expected |= {f"perframe/{room}/{path.name}" for path in (ROOT / room).glob("*.py")}
    for folder in ("analysis/data", "report/assets"):
        expected |= {f"perframe/{folder}/{path.name}" for path in (ROOT / folder).iterdir()}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected


def test_the_wheel_has_the_command_the_licence_and_light_requirements(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
    assert "perframe = perframe.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in archive.namelist()
    metadata = archive.read(f"{info}/METADATA").decode().splitlines()
    core = {
        line.split()[1].split(">")[0]
        for line in metadata
        if line.startswith("Requires-Dist:") and ";" not in line
    }
    assert core == {"click", "filelock", "numpy", "nvidia-ml-py", "onnx", "rich"}
