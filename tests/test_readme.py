"""The README's commands run as they are written."""

import json
import re
from pathlib import Path

import click
import pytest

from perframe.cli import command, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_commands_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = "$ perframe "
    # What opens the page is output; the commands to type come after.
    body = README[README.index("### What does a frame cost?") :]
    body = body[: body.index("### Did this change")]
    commands = [line.removeprefix(prompt).split() for line in body.splitlines() if line.startswith(prompt)]
    assert [arguments[0] for arguments in commands] == ["new", "inspect", "export", "build", "profile"]
    monkeypatch.chdir(tmp_path)
    for arguments in commands:
        assert run(arguments) == 0, (arguments, capsys.readouterr().err)
    document = json.loads((tmp_path / "profile.json").read_text())
    assert [batch["batch"] for batch in document["batches"]] == [1, 4, 16]
    assert all(batch["attributed_share"] >= 0.99 for batch in document["batches"])


def test_the_answer_in_the_readme_is_that_of_the_recorded_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "120")
    found = re.search(r"^\$ perframe (choose .*)\n((?:.+\n)+)```$", README, flags=re.MULTILINE)
    assert found is not None
    assert run(found[1].split()) == 0
    assert capsys.readouterr().out.startswith(found[2])


def test_every_verb_is_in_the_readme() -> None:
    verbs = set(command.list_commands(click.Context(command)))
    assert verbs == set(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE))
