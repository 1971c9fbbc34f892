"""Many profiles: nothing repeated, nothing lost, and every network in every run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from perframe.analysis.sweep_plan import SweepPlan, grid, keep_plan, read_plan
from perframe.cli import run
from perframe.errors import UsageError
from perframe.profiler.lock import device_lock
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFRAME_LOCK_DIR", str(tmp_path_factory.mktemp("locks")))
        assert sweep(folder) == 0
    return folder


@pytest.fixture
def swept(finished: Path, tmp_path: Path) -> Path:
    """A finished sweep."""
    shutil.copytree(finished, tmp_path / "swept")
    return tmp_path / "swept"


def test_every_network_is_measured_in_every_run(finished: Path) -> None:
    found = results(finished)
    assert set(found) == {f"run-{run}/{name}.json" for run in (1, 2) for name in NAMES}
    for path in found.values():
        profile = read_profile(path)
        assert profile.complete and [batch.batch for batch in profile.batches] == [1, 4]
        assert profile.model.name == path.stem
    # A finished sweep leaves nothing but its plan and its results.
    assert not (finished / ".work").exists()


def test_the_same_command_again_repeats_nothing(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: path.stat().st_mtime_ns for name, path in results(swept).items()}
    assert sweep(swept, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measured"] == 0 and told["kept"] == 6
    assert before == {name: path.stat().st_mtime_ns for name, path in results(swept).items()}


def test_another_plan_does_not_mix_with_it(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(swept, "--seed", "1") == 2
    assert "seed" in capsys.readouterr().err


def test_an_option_that_was_refused_leaves_no_plan_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    assert sweep(folder, "--regime", "training") == 2
    assert "does not train" in capsys.readouterr().err
    assert not folder.exists()


def test_a_plan_without_results_is_replaced_with_all_that_was_made_for_it(tmp_path: Path) -> None:
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "mobilenet_v1-E2GC-G8-w0.25.pth.tar").write_text("of another seed")
    one = SweepPlan(grid(("mobilenet-v1",), (8,), (), width=0.25, classes=10), width=0.25, classes=10)
    keep_plan(one, tmp_path)
    assert sweep(tmp_path, "--seed", "2", "--runs", "1") == 0
    assert read_plan(tmp_path).seed == 2
    assert len(results(tmp_path)) == 3


def test_runs_are_added(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for runs, measured, kept in ((3, 3, 6), (1, 0, 3)):
        assert sweep(swept, "--runs", str(runs), "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["measured"], told["kept"]) == (measured, kept)
        # Fewer runs than there are take none away.
        assert read_plan(swept).runs == 3
    assert len(results(swept)) == 9


@pytest.mark.parametrize("text", ['{"schema": "perframe.profile/2"}', '{"mine": 1}', "[1]"])
def test_what_is_not_its_own_is_not_overwritten(
    text: str, swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(iter(results(swept).values()))
    path.write_text(text)
    assert sweep(swept) == 5
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == text


def test_a_full_disk_ends_it_in_two_lines_and_with_room_it_goes_on(tmp_path: Path) -> None:
    # No file may grow beyond what a checkpoint needs, which is what the system tells of a full disk too.
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from perframe.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    arguments = ["sweep", *GRID, *QUICK, "-b", "1", "-b", "4", "-o", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 6, ended.stderr
    message, hint = ended.stderr.splitlines()[-2:]
    assert message.startswith("error: ") and "cannot write" in message and "space" in hint
    assert "Traceback" not in ended.stderr
    assert sweep(tmp_path) == 0
    assert len(results(tmp_path)) == 6


def test_where_it_cannot_write_it_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results"
    file.write_text("mine")
    assert sweep(file) == 6
    shown = capsys.readouterr().err
    assert str(file) in shown and "give another" in shown and "disk" not in shown
    assert file.read_text() == "mine"


def test_it_says_where_its_time_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For real: what was stopped in the profiles and by the sweep is the time that passed."""
    trace, folder = tmp_path / "trace.csv", tmp_path / "results"
    rows = (f"{index / 200},{40 + index % 7}\n" for index in range(20_000))
    trace.write_text("t_s,power_w\n" + "".join(rows))
    one = ("--family", "mobilenet-v1", "--group-sizes", "8", *GRID[-4:], "--input", "3x32x32", "--runs", "1")
    quick = ("--sensor", f"replay:{trace}", "--windows", "2", "--window-s", "0.1", "--warm-up-s", "0.3")
    arguments = ["sweep", *one, *quick, "-o", str(folder)]
    assert run([*arguments, "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    start_s = time.monotonic()
    assert run([*arguments, "--json"]) == 0
    took_s = time.monotonic() - start_s
    told = json.loads(capsys.readouterr().out)
    (path,) = results(folder).values()
    (batch,) = read_profile(path).batches
    assert batch.warm_up is not None
    assert told["windows_s"] == pytest.approx(sum(window.duration_s for window in batch.energy.windows))
    assert told["warm_up_s"] == batch.warm_up.duration_s
    # Two looks at rest before the windows and two after them, half a second each.
    assert told["rest_s"] >= 2.0
    assert all(told[part] > 0.0 for part in ("layers_s", "builds_s", "other_s"))
    parts = ("windows_s", "warm_up_s", "rest_s", "layers_s", "builds_s", "other_s")
    assert sum(told[part] for part in parts) == pytest.approx(told["duration_s"])
    assert told["overhead_s"] == pytest.approx(sum(told[part] for part in ("rest_s", "layers_s", "other_s")))
    assert planned["least_s"] < told["duration_s"] < took_s
    assert planned["least_s"] < planned["longest_warm_ups_s"]
    path.unlink()
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    for part in ("windows", "warm-up", "at rest", "layers", "exports and builds", "other"):
        assert f" % {part}" in shown, shown


def test_time_on_a_virtual_clock_is_not_the_sweeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, "--runs", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["windows_s"] == 0.0
    assert told["builds_s"] + told["other_s"] == pytest.approx(told["duration_s"])


def test_a_batch_that_was_finished_is_kept(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(iter(results(swept).values()))
    document = json.loads(path.read_text())
    first = document["batches"][0]
    first["latency"]["samples"] = 4242
    path.write_text(json.dumps({**document, "batches": [first], "complete": False}))
    assert sweep(swept) == 0, capsys.readouterr().err
    profile = read_profile(path)
    assert profile.complete and [batch.batch for batch in profile.batches] == [1, 4]
    latency = profile.batches[0].latency
    assert latency is not None and latency.samples == 4242


def test_what_is_damaged_is_measured_again(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = list(results(swept).values())
    damaged = (paths[0].read_text()[:100], "", '{"schema": "perframe.profile/1"}')
    # Of one network in both runs, and of another: as few exports as that takes.
    same = next(path for path in paths[1:] if path.name == paths[0].name)
    for path, text in zip((paths[0], same, paths[1]), damaged, strict=True):
        path.write_text(text)
    assert sweep(swept, "--json") == 0
    assert json.loads(capsys.readouterr().out)["measured"] == 3
    assert all(read_profile(path).complete for path in paths)


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
        "3x32x32",
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
    for path in results(trained).values():
        profile = read_profile(path)
        # The published protocol, and its two passes though no layers were asked for.
        assert profile.regime == "training" and profile.plan is not None
        assert profile.plan.window_iterations == 50
        for batch in profile.batches:
            assert batch.latency is not None and batch.latency.samples >= 100
            assert [layer.name for layer in batch.layers] == ["forward", "backward"]
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


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("--engine", "nosuch"), "nosuch"),
        (("--regime", "training", "--engine", "onnxruntime"), "does not train"),
        (("--sensor", "nosuch"), "nosuch"),
    ],
)
def test_a_dry_run_refuses_what_the_sweep_would(
    wrong: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [sweep(tmp_path, *wrong, *dry) for dry in ((), ("--dry-run",))] == [2, 2]
    assert capsys.readouterr().err.count(told) == 2


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


@pytest.mark.parametrize(
    "line",
    [
        'group-sizes = [1, "x"]',
        "group-sizes = 3",
        "group-sizes = [1, 2.5]",
        "group-sizes = [true]",
        "runs = 2.5",
    ],
)
def test_a_plan_file_of_other_kinds_is_refused_in_two_lines(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(line)
    arguments = ["--family", "mobilenet-v1", "--dry-run", "-o", str(tmp_path / "results")]
    assert run(["sweep", "--plan", str(plan), *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("runs", [0, -1, 10**6])
def test_a_plan_that_makes_no_sense_is_refused(runs: int) -> None:
    with pytest.raises(UsageError):
        SweepPlan(grid(("mobilenet-v1",), (8,), ()), runs=runs)
    with pytest.raises(UsageError):
        SweepPlan(())


def test_a_sweep_waits_for_a_device_that_others_measure_on(tmp_path: Path) -> None:
    """It ends only where they do not let go of it; what it found so far is kept."""
    with device_lock("fake", 0.0):
        assert sweep(tmp_path / "results", "--wait-s", "0") == 6
    with ThreadPoolExecutor(1) as pool:
        with device_lock("fake", 0.0):
            swept = pool.submit(sweep, tmp_path / "results", "--wait-s", "60")
            assert not wait([swept], timeout=1.0).done
        assert swept.result() == 0
