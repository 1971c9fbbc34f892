"""perframe gate as a CI job runs it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from perframe.cli import run
from perframe.profiler.result import Profile, Quality, read_profile, write_profile

EXAMPLE = [
    "REGRESSION  epf (modelled), batch 1  71.21 mJ -> 78.33 mJ: +10.00 % [+5.92 %, +14.24 %], +5.00 % allowed",
    "The change is at least +5.92 %, with 95 % confidence. From 1 run against 1; spread between runs 0.50 %,",
    "stated.",
]
UNKNOWN = [
    "inconclusive  epf (modelled), batch 1  71.21 mJ -> 78.33 mJ: +10.00 %, +5.00 % allowed",
    "Nothing bounds the change: one run says nothing about how far runs differ. From 1 run against 1.",
    "Measure several runs of each, state --run-spread, or measure both in turn with --against.",
]


def dearer(result: Profile, factor: float) -> Profile:
    batches = []
    for batch in result.batches:
        windows = tuple(
            dataclasses.replace(each, energy_j=(each.energy_j or 0.0) * factor)
            for each in batch.energy.windows
        )
        batches.append(dataclasses.replace(batch, energy=dataclasses.replace(batch.energy, windows=windows)))
    return dataclasses.replace(result, batches=tuple(batches))


@pytest.fixture(scope="module")
def folder(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiles as a CI job keeps them: a baseline, and what came of later commits."""
    folder = tmp_path_factory.mktemp("ci")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFRAME_LOCK_DIR", str(folder))
        arguments = ["profile", str(onnx_file), "--engine", "fake", "--windows", "5", "-b", "1", "-b", "4"]
        assert run([*arguments, "-o", str(folder / "base.json")]) == 0
    base = read_profile(folder / "base.json")
    bad = Quality("throttled", "invalid", "Clocks were held down.", "Cool it.")
    hot = tuple(dataclasses.replace(each, quality=(bad,)) for each in base.batches)
    for name, each in {
        "same": dearer(base, 1.001),
        "worse": dearer(base, 1.1),
        "better": dearer(base, 0.9),
        "slightly": dearer(base, 0.901),
        "unclear": dearer(base, 1.02),
        "elsewhere": dataclasses.replace(base, identity={**base.identity, "device_name": "other"}),
        "invalid": dataclasses.replace(base, batches=hot),
    }.items():
        write_profile(each, folder / f"{name}.json")
    (folder / "copy.json").write_bytes((folder / "base.json").read_bytes())
    (folder / "cut.json").write_text((folder / "base.json").read_text()[:500])
    return folder


def test_the_stored_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A result that every later version reads, and one that is 10 % dearer."""
    stored = Path(__file__).parent / "data" / "profile-1.json"
    write_profile(dearer(read_profile(stored), 1.1), tmp_path / "dearer.json")
    files = [str(tmp_path / "dearer.json"), "--baseline", str(stored)]
    known = ["--run-spread", "0.5%"]
    for options, code, expected in ((known, 3, EXAMPLE), ([], 4, UNKNOWN)):
        assert run(["gate", *files, "--max-increase", "5%", "-b", "1", *options]) == code
        shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
        assert shown[:3] == expected
    assert run(["gate", *files, "--max-increase", "15%", "-b", "1", *known]) == 0


@pytest.mark.parametrize(
    ("current", "code"),
    [("same", 0), ("better", 0), ("worse", 3), ("unclear", 4), ("elsewhere", 4), ("invalid", 8)],
)
def test_the_exit_code_is_the_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str], current: str, code: int
) -> None:
    baseline = ["--baseline", str(folder / "base.json"), "--max-increase", "2%", "--run-spread", "0.5%"]
    assert run(["gate", str(folder / f"{current}.json"), *baseline]) == code
    captured = capsys.readouterr()
    assert "epf (modelled), batch 4" in captured.out and captured.err == ""
    assert run(["gate", str(folder / f"{current}.json"), *baseline, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["exit_code"] == code


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["worse", "--max-increase", "2%", "--baseline", "missing"], 5, "missing.json"),
        (["worse", "--max-increase", "2%", "--baseline", "cut"], 5, "cut.json"),
        (["cut", "--max-increase", "2%", "--baseline", "base"], 5, "cut.json"),
        (["base", "--max-increase", "2%", "--baseline", "base"], 2, "named twice"),
        (["worse", "--max-increase", "2%"], 2, "--baseline"),
        (["worse", "--baseline", "base"], 2, "threshold"),
        (["worse", "--max-increase", "2", "--baseline", "base"], 2, "2%"),
        (["worse", "--max-increase", "2mJ", "--baseline", "base"], 2, "2%"),
        (["worse", "--max-epf", "300ms"], 2, "300mJ"),
        (["worse", "--metric", "speed", "--max-increase", "2%"], 2, "speed"),
        (["worse", "--max-increase", "2%", "--baseline", "base", "--sensor", "none"], 2, "--against"),
        (["worse", "--max-increase", "2%", "--baseline", "base", "--json", "--github"], 2, "--github"),
        (["worse", "--max-increase", "2%", "--against", "base", "--baseline", "base"], 2, "--against"),
        (["worse", "same", "--max-increase", "2%", "--against", "base"], 2, "one candidate"),
        (["worse", "--max-increase", "2%", "--against", "worse"], 2, "itself"),
        (["worse", "--max-increase", "2%", "--baseline", "base", "--run-spread", "1"], 2, "2%"),
        (["worse", "--max-increase", "2%", "--baseline", "base", "--run-spread", "-1%"], 2, "-1%"),
        (["worse", "--max-increase", "2%", "--baseline", "base", "--ignore", "nosuchkey"], 2, "nosuchkey"),
        (["base", "copy", "--max-increase", "2%", "--baseline", "worse"], 5, "the same measurement"),
        (["worse", "--thresholds", "missing"], 5, "missing.json"),
    ],
)
def test_what_cannot_be_judged_is_an_error_and_never_a_pass(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, word: str
) -> None:
    files = {path.stem for path in folder.glob("*.json")} | {"missing"}
    named = [str(folder / f"{each}.json") if each in files else each for each in arguments]
    assert run(["gate", *named]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2 and word in captured.err


def test_ci_gets_its_files_and_annotations(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    written = {
        flag: tmp_path / name
        for flag, name in (("--junit", "j.xml"), ("--markdown", "m.md"), ("-o", "g.json"))
    }
    options = [part for flag, path in written.items() for part in (flag, str(path))]
    baseline = [
        "--baseline",
        str(folder / "base.json"),
        "--max-increase",
        "2%",
        "--run-spread",
        "1%",
        "-b",
        "1",
    ]
    assert run(["gate", str(folder / "worse.json"), *baseline, "--github", *options]) == 3
    assert "\n::error title=perframe gate%3A epf" in capsys.readouterr().out
    assert ElementTree.parse(written["--junit"]).getroot()[0].get("failures") == "1"
    assert json.loads(written["-o"].read_text())["outcome"] == "regression"
    assert summary.read_text() == "# before\n" + written["--markdown"].read_text()


def test_thresholds_from_a_file_and_several_runs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[threshold]]\nmetric = "epf"\nmax-increase = "30%"\n[[threshold]]\nmetric = "latency-p99"\nmax = "1s"\n'
    )
    runs = [str(folder / f"{name}.json") for name in ("same", "base")]
    before = [str(folder / f"{name}.json") for name in ("better", "slightly")]
    arguments = [
        "gate",
        *runs,
        "--baseline",
        before[0],
        "--baseline",
        before[1],
        "--thresholds",
        str(file),
        "--json",
    ]
    assert run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["verdicts"]) == 4
    assert document["verdicts"][0]["evidence"]["source"] == "measured"
    # No output may take the place of an input.
    assert run([*arguments[:-1], "-o", runs[0]]) == 2
    assert run([*arguments[:-1], "-o", str(file)]) == 2


def test_a_reader_that_went_away_does_not_turn_a_regression_into_a_pass(folder: Path) -> None:
    arguments = [
        "gate",
        str(folder / "worse.json"),
        "--baseline",
        str(folder / "base.json"),
        "--max-increase",
        "2%",
        "--run-spread",
        "1%",
    ]
    program = "import sys; from perframe.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=60)
    assert process.returncode == 3


def test_models_are_measured_in_turn(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "candidate.onnx"
    copy.write_bytes(onnx_file.read_bytes())
    arguments = ["gate", "--against", str(onnx_file), str(copy), "--engine", "fake", "--max-increase", "2%"]
    assert run([*arguments, "--metric", "epf", "--metric", "latency-p50", "-b", "4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["outcome"] for each in document["verdicts"]] == ["pass", "pass"]
    assert document["current"] == [str(copy)]
    assert len(document["pairs"][0]["current"]["energy"]["windows"]) == 6
    assert run([*arguments, "--budget-s", "1"]) == 4
    assert "pairs of windows only" in capsys.readouterr().out
    assert run([*arguments, "--max-epf", "1J"]) == 2


def test_ctrl_c_promises_nothing_that_was_not_kept(onnx_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "candidate.onnx"
    copy.write_bytes(onnx_file.read_bytes())
    arguments = ["gate", str(copy), "--against", str(onnx_file), "--max-increase", "2%", "--warm-up-s", "60"]
    with subprocess.Popen(
        [sys.executable, "-m", "perframe", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PERFRAME_LOCK_DIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("perframe-*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines() == [
        "error: Interrupted.",
        "hint: Nothing was decided, and nothing is kept.",
    ]
