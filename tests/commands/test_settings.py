"""Where options come from: flags, then variables, then perframe.toml, then defaults."""

import json
from pathlib import Path

import pytest

from perframe.cli import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder inside a repository."""
    inside = tmp_path / "repository" / "models"
    inside.mkdir(parents=True)
    (inside.parent / ".git").mkdir()
    monkeypatch.chdir(inside)
    return inside


def write(folder: Path, text: str) -> None:
    (folder / "perframe.toml").write_text(text)


def settings(capsys: Capture, *arguments: str) -> dict[str, tuple[object, str, str | None]]:
    """What `perframe config` shows: value, source and where, by command and option."""
    assert run(["config", *arguments, "--json"]) == 0, capsys.readouterr().err
    document = json.loads(capsys.readouterr().out)
    return {
        f"{each['command']} {each['option']}": (each["value"], each["source"], each["where"])
        for each in document["settings"]
    }


def refused(capsys: Capture, code: int, *words: str) -> None:
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 2, captured
    for word in words:
        assert word in captured.err


def batches(capsys: Capture, onnx_file: Path, *flags: str) -> list[int]:
    assert run(["profile", str(onnx_file), "--engine", "fake", "--json", *flags]) == 0, (
        capsys.readouterr().err
    )
    return [each["batch"] for each in json.loads(capsys.readouterr().out)["batches"]]


def test_a_flag_stands_above_a_variable_above_the_file(
    folder: Path, onnx_file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batches(capsys, onnx_file) == [1]
    write(folder, "[profile]\nbatch = [2, 4]\nwindows = 3\n")
    assert batches(capsys, onnx_file) == [2, 4]
    monkeypatch.setenv("PERFRAME_PROFILE_BATCH", "3 5")
    assert batches(capsys, onnx_file) == [3, 5]
    assert batches(capsys, onnx_file, "-b", "6") == [6]
    found = settings(capsys)
    assert found["profile batch"] == ([3, 5], "variable", "PERFRAME_PROFILE_BATCH")
    assert found["profile windows"] == (3, "file", "perframe.toml")
    every = settings(capsys, "profile")
    assert every["profile sensor"] == ("auto", "default", None)
    assert every["profile fps"] == (None, "default", None)
    assert run(["config"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "file: perframe.toml"
    assert "profile --batch [3, 5] PERFRAME_PROFILE_BATCH" in {" ".join(line.split()) for line in shown}


def test_the_file_is_looked_for_up_to_the_repositorys_root(folder: Path, capsys: Capture) -> None:
    write(folder.parents[1], "[profile]\nwindows = 7\n")
    assert settings(capsys) == {}
    write(folder.parent, '[profile]\ncalibration = "card.json"\n[import.trtexec]\ntop = 3\n')
    found = settings(capsys)
    # A file that it names lies beside it.
    assert found["profile calibration"] == ("../card.json", "file", "../perframe.toml")
    assert found["import trtexec top"] == (3, "file", "../perframe.toml")
    # The nearest one holds, alone.
    write(folder, "[profile]\nwindows = 4\n")
    assert settings(capsys) == {"profile windows": (4, "file", "perframe.toml")}


def test_outside_a_repository_no_folder_above_counts(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "[profile]\nwindows = 7\n")
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert settings(capsys) == {}
    monkeypatch.chdir(tmp_path)
    assert settings(capsys)["profile windows"][0] == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profil]\nwindows = 4\n", ("[profil]", "Did you mean profile")),
        ("windows = 4\n", ("[windows]",)),
        ("profile = 4\n", ("expected a table",)),
        ("[profile]\nwindow = 4\n", ("[profile] window ", "Did you mean windows")),
        ("[profile]\nas_json = true\n", ("as_json",)),
        ("[profile]\nwindows = '4'\n", ("windows", "a whole number", "'4'")),
        ("[profile]\nwindows = 4.5\n", ("a whole number", "4.5")),
        ("[profile]\nwindows = true\n", ("a whole number", "True")),
        ("[profile]\nwindows = [4]\n", ("a whole number", "[4]")),
        ("[profile]\nwatts = 'ten'\n", ("a number", "'ten'")),
        ("[profile]\nlayers = 'no'\n", ("true or false", "'no'")),
        ("[profile]\nsensor = 5\n", ("text", "5")),
        ("[profile]\nbatch = '14'\n", ("a whole number", "'14'")),
        ("[profile]\nbatch = [1, 'x']\n", ("a whole number", "'x'")),
        ("[profile]\nwindows = 1\n", ("--windows", "set by perframe.toml")),
        ("[profile]\nlayer-energy = 'guessed'\n", ("guessed", "set by perframe.toml")),
        ("[profile]\nfactory = 'evil:run'\n", ("factory", "runs code")),
        ("[profile]\ntrust = true\n", ("trust", "command line only")),
    ],
)
def test_what_is_not_known_or_of_the_wrong_kind_is_refused(
    folder: Path, capsys: Capture, text: str, words: tuple[str, ...]
) -> None:
    write(folder, text)
    for arguments in (["profile", "model.onnx"], ["config"]):
        assert run(arguments) == 2
        refused(capsys, 2, "perframe.toml", *words)


def test_a_file_that_is_no_toml(folder: Path, capsys: Capture) -> None:
    write(folder, "[profile\n")
    assert run(["profile", "model.onnx"]) == 5
    refused(capsys, 5, "perframe.toml", "not TOML")
    (folder / "perframe.toml").write_bytes(b"\xff\xfe")
    assert run(["config"]) == 5
    refused(capsys, 5, "perframe.toml")
    # What is no command's business does not stand in its way.
    assert run(["--version"]) == 0


def test_another_commands_table_stands_in_nobodys_way(folder: Path, onnx_file: Path, capsys: Capture) -> None:
    write(folder, "[sweep]\nrunz = 4\n")
    assert batches(capsys, onnx_file) == [1]
    assert run(["config"]) == 2
    refused(capsys, 2, "runz", "Did you mean runs")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        (
            "PERFRAME_PROFILE_WINDOW",
            "4",
            ("PERFRAME_PROFILE_WINDOW ", "Did you mean PERFRAME_PROFILE_WINDOWS"),
        ),
        ("PERFRAME_PROFILE_FACTORY", "evil:run", ("PERFRAME_PROFILE_FACTORY",)),
        ("PERFRAME_PROFILE_WINDOWS", "many", ("many", "set by PERFRAME_PROFILE_WINDOWS")),
        ("PERFRAME_PROFILE_LAYERS", "perhaps", ("perhaps", "set by PERFRAME_PROFILE_LAYERS")),
    ],
)
def test_a_variable_that_cannot_be_meant(
    folder: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv(variable, value)
    for arguments in (["profile", "model.onnx"], ["config", "profile"]):
        assert run(arguments) == 2
        refused(capsys, 2, *words)


@pytest.mark.parametrize("command", [(), ("doctor",)])
def test_variables_that_nothing_reads_are_named(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    # What others read, and a command that is misspelled.
    monkeypatch.setenv("PERFRAME_DATA", "/somewhere")
    monkeypatch.setenv("PERFRAME_PROFIL_WINDOWS", "3")
    assert run(["config", *command]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("PERFRAME_PROFIL_WINDOWS: ") and "Did you mean PERFRAME_PROFILE_WINDOWS" in told
    assert run(["config", *command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unknown_variables"] == ["PERFRAME_PROFIL_WINDOWS"]
    monkeypatch.delenv("PERFRAME_PROFIL_WINDOWS")
    assert run(["config", *command]) == 0
    assert "nothing reads" not in capsys.readouterr().out


def test_flags_in_variables(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFRAME_PROFILE_LAYERS", "0")
    monkeypatch.setenv("PERFRAME_IMPORT_TRTEXEC_TOP", "5")
    found = settings(capsys)
    assert found["profile layers"][0] is False
    assert found["import trtexec top"] == (5, "variable", "PERFRAME_IMPORT_TRTEXEC_TOP")


def test_a_sweeps_plan_stands_above_the_file(folder: Path, capsys: Capture) -> None:
    write(folder, '[sweep]\nfamily = "mobilenet-v1"\ngroup-sizes = [1]\nruns = 5\n')
    (folder / "plan.toml").write_text("group-sizes = [1, 8]\n")
    sweep = ["sweep", "--dry-run", "--json", "-o", "results"]
    assert run([*sweep, "--plan", "plan.toml"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["networks"]) == 2 and document["runs"] == 5
    assert run(sweep) == 0
    assert len(json.loads(capsys.readouterr().out)["networks"]) == 1


def test_a_project_may_set_up_both_ways_to_gate(folder: Path, onnx_file: Path, capsys: Capture) -> None:
    write(folder, '[gate]\nmax-increase = "2%"\nsensor = "none"\n')
    for name in ("a.json", "b.json"):
        assert run(["profile", str(onnx_file), "--engine", "fake", "-o", name]) == 0
    assert run(["gate", "a.json", "--baseline", "b.json"]) in (0, 4), capsys.readouterr().err
