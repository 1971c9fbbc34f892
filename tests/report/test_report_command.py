"""`perframe report` as a user types it."""

import json
import os
from pathlib import Path

import pytest

from perframe.cli import run


def refused(capsys: pytest.CaptureFixture[str], code: int, ended: int, *words: str) -> None:
    captured = capsys.readouterr()
    assert ended == code, captured
    lines = captured.err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: ") and lines[1].startswith("hint: "), captured.err
    assert all(word in captured.err for word in words), captured.err


def test_one_file_and_a_trace_are_written(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html, trace = tmp_path / "report.html", tmp_path / "trace.json"
    assert run(["report", str(grid), "-o", str(html), "--perfetto", str(trace), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == {"path": str(html), "bytes": html.stat().st_size}
    assert told["networks"] == 22 and told["skipped"] == []
    assert json.loads(trace.read_text())["traceEvents"]


def test_the_report_can_be_piped(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(grid), "-o", "-"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(["report", str(tmp_path), "-o", str(tmp_path / "a.html")])
    refused(capsys, 5, ended, "expected profiles, found none")
    assert not (tmp_path / "a.html").exists()


def test_a_missing_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(["report", str(tmp_path / "no"), "-o", str(tmp_path / "a.html")])
    refused(capsys, 5, ended, "no: expected a folder of profiles")


def test_nothing_to_write_is_a_usage_error(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, run(["report", str(grid)]), "-o REPORT.html")


def test_a_result_is_never_written_over(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = grid / "run-1" / "mobilenet_v1-E2GC-G8.json"
    before = file.read_bytes()
    refused(capsys, 2, run(["report", str(file), "-o", str(file)]), "the output is also the input")
    assert file.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused_for_its_owner(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    ended = run(["report", str(grid), "-o", str(tmp_path / "a.html")])
    tmp_path.chmod(0o700)
    refused(capsys, 6, ended, "cannot write the output")


def test_a_folder_that_cannot_be_written_is_refused(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 6, run(["report", str(grid), "-o", "/proc/a.html"]), "cannot write the output")


def test_a_table_of_accuracies_of_ones_own(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.csv").write_text("name,top1_percent\nmobilenet_v1-E2GC-G8,71\nmobilenet_v1-E2GC-G4,70\n")
    html = tmp_path / "a.html"
    assert run(["report", str(grid), "--accuracy", str(tmp_path / "own.csv"), "-o", str(html)]) == 0
    assert "Accuracy: top-1, own.csv" in html.read_text()


def test_the_trace_may_not_replace_the_report(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    same = (str(tmp_path / "a.html"), str(tmp_path / "folder" / ".." / "a.html"))
    ended = run(["report", str(grid), "-o", same[0], "--perfetto", same[1]])
    refused(capsys, 2, ended, "need a file each")
    assert not Path(same[0]).exists()


@pytest.mark.parametrize(
    ("found", "instead", "words"),
    [
        ("perframe.profile/1", "perframe.profile/99", ("profile/99", "upgrade")),
        ('"severity": "warning"', '"severity": "awful"', ('one of "info", "warning", "invalid"', '"awful"')),
        ('"created"', "created", ("not a JSON document",)),
    ],
)
def test_a_file_that_is_named_says_itself_what_is_wrong(
    grid: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    found: str,
    instead: str,
    words: tuple[str, ...],
) -> None:
    text = (grid / "run-1" / "mobilenet_v1-E2GC-G8.json").read_text()
    assert found in text
    (tmp_path / "a.json").write_text(text.replace(found, instead, 1))
    ended = run(["report", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.html")])
    refused(capsys, 5, ended, "a.json", *words)


def test_accuracies_of_other_networks_are_told(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.csv").write_text("name,top1_percent\nmobilenet_v1-E2GC-G8,71\n<b>another</b>,70\n")
    html = tmp_path / "a.html"
    assert run(["report", str(grid), "--accuracy", str(tmp_path / "own.csv"), "-o", str(html)]) == 0
    told = "own.csv gives accuracies of what is not among the networks: &lt;b&gt;another&lt;/b&gt;."
    assert told in html.read_text()
