"""The scripts that make a shell complete perframe."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perframe.cli import run


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with the command `perframe` in it, to be put into PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "perframe"
    script.write_text(f"#!{sys.executable}\nfrom perframe.cli import main\nmain()\n")
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_PERFRAME_COMPLETE={shell}_complete" in script
    assert run(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shell": shell, "script": script.strip()}
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "csh"]) == 2
    assert "bash" in capsys.readouterr().err


def ask(shell: str, words: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    """Ask perframe, as a shell does, how the last of some words goes on."""
    count = str(len(words.split(" ")) - 1)
    asking = {"_PERFRAME_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": count}
    if shell == "fish":
        asking["COMP_CWORD"] = words.split(" ")[-1]
    program = "import sys; sys.argv = ['perframe']; from perframe.cli import main; main()"
    return subprocess.run(
        [sys.executable, *flags, "-c", program],
        env={**os.environ, **asking},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("perframe prof", "profile"),
        ("perframe profile --layer-en", "--layer-energy"),
        ("perframe profile --layer-energy rep", "replayed"),
        ("perframe import tr", "trtexec"),
        ("perframe new mob", "mobilenet-v1"),
        ("perframe completion fi", "fish"),
        ("perframe build --engine tensorrt-", "tensorrt-rtx"),
        ("perframe doctor --sensor n", "nvml"),
        ("perframe config fin", "findings"),
    ],
)
def test_commands_options_and_choices(shell: str, words: str, found: str) -> None:
    assert found in ask(shell, words).stdout


def test_names_are_completed_without_loading_what_they_name() -> None:
    for words, name in (("perframe profile --engine ", "onnxruntime"), ("perframe sweep --sensor ", "rapl")):
        ended = ask("bash", words, "-X", "importtime")
        assert name in ended.stdout
        loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
        assert "click" in loaded and not loaded & {"numpy", "onnx", "onnxruntime", "torch", "pynvml"}


def test_where_a_file_is_wanted_the_shell_completes_files() -> None:
    for words in (
        "perframe profile ",
        "perframe profile m.onnx --calibration ",
        "perframe gate a.json --baseline ",
    ):
        assert ask("bash", words).stdout.startswith("file"), words


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes(commands: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    typed = 'COMP_WORDS=(perframe doctor --for "") COMP_CWORD=3; _perframe_completion perframe; echo "${COMPREPLY[@]}"'
    ended = subprocess.run(
        ["bash", "-c", f"{script}\n{typed}"],
        env={**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == ["export", "build", "profile"]
