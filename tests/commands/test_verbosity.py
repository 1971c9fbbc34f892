"""How much is told beside the result, and in what colours."""

import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from perframe.cli import run
from perframe.progress import is_quiet, is_verbose

PROFILE = ("--engine", "fake", "--windows", "2")


@pytest.mark.parametrize("before", [True, False])
def test_quiet_leaves_the_result(onnx_file: Path, capsys: pytest.CaptureFixture[str], before: bool) -> None:
    profile = ["profile", str(onnx_file), *PROFILE]
    assert run(profile) == 0
    told = capsys.readouterr().out
    assert "windows of" in told and "warning: Energy is modelled" in told
    assert run(["-q", *profile] if before else [*profile, "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert "windows of" not in quiet.out and "warning:" not in quiet.out and quiet.err == ""
    # What a figure is stays beside it.
    assert "EPF (modelled)" in quiet.out and "blocks.0.grouped.conv" in quiet.out


@pytest.mark.parametrize("before", [True, False])
def test_verbose_logs_to_stderr(
    onnx_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    before: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "perframe.toml").write_text("[profile]\nwindows = 2\n")
    profile = ["profile", str(onnx_file), "--engine", "fake"]
    assert run(["-v", *profile] if before else [*profile, "--verbose"]) == 0
    err = capsys.readouterr().err.splitlines()
    assert "perframe.sensors: auto takes modelled for fake" in err
    # What the options are taken from is read before the command's own options are.
    assert ("perframe.settings: perframe.toml is read" in err) is before
    # It ends with the command.
    assert run(profile) == 0
    assert capsys.readouterr().err == ""
    assert not is_verbose() and not is_quiet()


def test_debug_logs_everything_and_shows_the_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(tmp_path / "none.onnx"), "--debug", "-v"]) == 5
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("-q", "doctor", "-v"), ("doctor", "--debug", "--quiet")])
def test_quiet_and_verbose_at_once(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "contradicts" in captured.err


def test_a_log_line_obeys_no_terminal_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    import click

    from perframe.commands.verbosity import usual_verbosity, with_verbosity

    @click.command()
    @with_verbosity
    def command() -> None:
        logging.getLogger("perframe.tensorrt").info("layer \x1b[31m%s", "red\nline")

    with usual_verbosity():
        command.main(["-v"], standalone_mode=False)
    assert capsys.readouterr().err == "perframe.tensorrt: layer \\x1b[31mred line\n"


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal, which is all that it is given."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "perframe", *arguments],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    parts = []
    # A terminal that nobody writes to any more cannot be read.
    while True:
        try:
            parts.append(os.read(ours, 1 << 16))
        except OSError:
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return b"".join(parts).decode()


def test_colours_only_where_they_are_wanted(onnx_file: Path) -> None:
    profile = ("profile", str(onnx_file), *PROFILE)
    # ESC [ 3 is the beginning of a colour, of text.
    assert "\x1b[3" in on_a_terminal(*profile, NO_COLOR="")
    assert "\x1b[3" not in on_a_terminal(*profile, NO_COLOR="1").replace("\x1b[3A", "")


def test_progress_on_a_terminal_only_and_not_beside_a_log(onnx_file: Path, tmp_path: Path) -> None:
    build = ("build", str(onnx_file), "-o", str(tmp_path / "m.engine"), "--engine", "fake")
    hidden_cursor = "\x1b[?25l"
    assert hidden_cursor in on_a_terminal(*build)
    for option in ("--quiet", "--verbose"):
        assert hidden_cursor not in on_a_terminal(option, *build)
