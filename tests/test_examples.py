"""The examples run, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def printed(name: str, folder: Path) -> str:
    """What an example prints, run as a script anywhere."""
    ended = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:perframe", str(EXAMPLES / name)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_profile_a_checkpoint(tmp_path: Path) -> None:
    shown = printed("profile_a_checkpoint.py", tmp_path)
    assert "mobilenet_v1-E2GC-G8-w0.25" in shown
    for batch in (1, 4):
        (milliseconds,) = re.findall(rf"^batch {batch}: ([\d.]+) ms .* mJ per frame, m", shown, re.MULTILINE)
        assert 0.0 < float(milliseconds) < 1000.0
    assert len(re.findall(r"^ +[\d.]+%  \S+ ", shown, re.MULTILINE)) == 5


def test_energy_of_group_sizes(tmp_path: Path) -> None:
    shown = printed("energy_of_group_sizes.py", tmp_path)
    rows = re.findall(r"^ *(\d+) +([\d.]+) M +([\d.]+)$", shown, re.MULTILINE)
    assert [int(row[0]) for row in rows] == [1, 4, 16]
    macs, joules = ([float(row[i]) for row in rows] for i in (1, 2))
    assert macs == sorted(macs) and min(joules) > 0.0
    least = rows[joules.index(min(joules))][0]
    assert f"fewest MACs: G = 1; least energy: G = {least}" in shown


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the example reads Linux's counters")
def test_own_sensor(tmp_path: Path) -> None:
    shown = printed("own_sensor.py", tmp_path)
    (watts,) = re.findall(r"^sensor host, of the board: ([\d.]+) W, modelled$", shown, re.MULTILINE)
    # At rest it states 30 W, and 10 W more for each busy core.
    assert 30.0 <= float(watts) <= 31.0 + 10.0 * (os.cpu_count() or 1)
    assert re.search(r"^[\d.]+ mJ per frame", shown, re.MULTILINE)
