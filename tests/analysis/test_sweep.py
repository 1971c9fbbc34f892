"""Many profiles: nothing repeated, nothing lost, and every network in every run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perframe.analysis.sweep_plan import SweepPlan, grid
from perframe.cli import run
from perframe.errors import UsageError
from perframe.profiler.result import read_profile

GRID = (
    "--family",
    "mobilenet-v1",
    "--group-sizes",
    "4,8",
    "--groups",
    "4",
    "--width",
    "0.25",
    "--classes",
    "10",
)
QUICK = ("--input", "3x32x32", "--engine", "fake", "--sensor", "modelled", "--windows", "2", "--no-layers")
NAMES = {"mobilenet_v1-E2GC-G4-w0.25", "mobilenet_v1-E2GC-G8-w0.25", "mobilenet_v1-FgGC-g4-w0.25"}


def sweep(folder: Path, *more: str) -> int:
    return run(["sweep", *GRID, *QUICK, "-b", "1", "-b", "4", "-o", str(folder), *more])


def results(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.glob("run-*/*.json"))}


def test_every_network_is_measured_in_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path) == 0, capsys.readouterr().err
    found = results(tmp_path)
    assert set(found) == {f"run-{run}/{name}.json" for run in (1, 2) for name in NAMES}
    for path in found.values():
        profile = read_profile(path)
        assert profile.complete and [batch.batch for batch in profile.batches] == [1, 4]
        assert profile.model.name == path.stem
    # A finished sweep leaves nothing but its plan and its results.
    assert not (tmp_path / ".work").exists()


def test_the_same_command_again_repeats_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path) == 0
    before = {name: path.stat().st_mtime_ns for name, path in results(tmp_path).items()}
    capsys.readouterr()
    assert sweep(tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measured"] == 0 and told["kept"] == 6
    assert before == {name: path.stat().st_mtime_ns for name, path in results(tmp_path).items()}


def test_another_plan_does_not_mix_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path) == 0
    assert sweep(tmp_path, "--seed", "1") == 2
    assert "seed" in capsys.readouterr().err


def test_a_batch_that_was_finished_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path) == 0
    path = next(iter(results(tmp_path).values()))
    document = json.loads(path.read_text())
    first = document["batches"][0]
    first["latency"]["samples"] = 4242
    path.write_text(json.dumps({**document, "batches": [first], "complete": False}))
    assert sweep(tmp_path) == 0, capsys.readouterr().err
    profile = read_profile(path)
    assert profile.complete and [batch.batch for batch in profile.batches] == [1, 4]
    assert profile.batches[0].latency is not None and profile.batches[0].latency.samples == 4242


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    assert sweep(tmp_path) == 0
    path = next(iter(results(tmp_path).values()))
    path.write_text(path.read_text()[:100])
    assert sweep(tmp_path) == 0
    assert read_profile(path).complete


def test_killed_outright_it_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", *GRID, *QUICK, "-b", "1", "-o", str(tmp_path), "--runs", "3"]
    program = "import sys; from perframe.cli import run; sys.exit(run(sys.argv[1:]))"
    started = subprocess.Popen([sys.executable, "-c", program, *arguments], env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not results(tmp_path) and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.wait()
    kept = {name: path.stat().st_mtime_ns for name, path in results(tmp_path).items()}
    assert kept
    assert run(arguments) == 0, capsys.readouterr().err
    found = results(tmp_path)
    assert len(found) == 9 and all(read_profile(path).complete for path in found.values())
    assert {name: found[name].stat().st_mtime_ns for name in kept} == kept


def test_a_checkpoint_takes_the_place_of_the_untrained_network(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--checkpoint", str(checkpoint), "--runs", "1") == 0, capsys.readouterr().err
    assert set(results(tmp_path)) == {f"run-1/{name}.json" for name in NAMES}
    plan = json.loads((tmp_path / "sweep.json").read_text())
    given = {each["name"]: each["checkpoint"] for each in plan["configurations"]}
    assert given["mobilenet_v1-E2GC-G8-w0.25"] == str(checkpoint) and list(given.values()).count(None) == 2


def test_training_and_precisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = (
        *GRID[:4],
        "--width",
        "0.25",
        "--input",
        "3x64x64",
        "--sensor",
        "modelled",
        "--no-layers",
        "--runs",
        "1",
    )
    quick = ("--windows", "2", "--window-s", "0.05", "--warm-up-s", "0", "-b", "2")
    trained = tmp_path / "training"
    assert run(["sweep", *common, *quick, "--regime", "training", "-o", str(trained)]) == 0, (
        capsys.readouterr().err
    )
    assert {read_profile(path).regime for path in results(trained).values()} == {"training"}
    both = tmp_path / "both"
    arguments = ["sweep", *common, *quick, "--precision", "fp32", "--precision", "fp16", "-o", str(both)]
    assert run(arguments) == 0, capsys.readouterr().err
    found = [read_profile(path).model.precision for path in results(both).values()]
    assert found.count("fp16") == found.count("fp32") == 2


def test_a_dry_run_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path / "none", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES) and "At least" in shown
    assert not (tmp_path / "none").exists()


def test_a_plan_file_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'family = ["mobilenet-v1"]\ngroup-sizes = [4, 8]\ngroups = [4]\nwidth = 0.25\nclasses = 10\n'
        'batch = [1]\nengine = "fake"\nsensor = "modelled"\ninput = ["3x32x32"]\nruns = 1\nwindows = 2\n'
    )
    folder = tmp_path / "results"
    assert run(["sweep", "--plan", str(plan), "--no-layers", "-o", str(folder)]) == 0, capsys.readouterr().err
    assert set(results(folder)) == {f"run-1/{name}.json" for name in NAMES}
    plan.write_text("no-such-option = 1\n")
    assert run(["sweep", "--plan", str(plan), "-o", str(folder)]) == 2
    plan.write_text("runs = [")
    assert run(["sweep", "--plan", str(plan), "-o", str(folder)]) == 5


def test_runs_are_in_random_order_and_repeatable() -> None:
    plan = SweepPlan(grid(("mobilenet-v1", "resnext50"), (1, 2, 4, 8, 16, 32), (2, 4, 8, 16, 32)))
    assert len(plan.configurations) == 22
    orders = [[each.name for each in plan.order(run)] for run in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]
    assert [each.name for each in plan.order(1)] == orders[0]


@pytest.mark.parametrize("runs", [0, -1, 10**6])
def test_a_plan_that_makes_no_sense_is_refused(runs: int) -> None:
    with pytest.raises(UsageError):
        SweepPlan(grid(("mobilenet-v1",), (8,), ()), runs=runs)
    with pytest.raises(UsageError):
        SweepPlan(())
