"""What a report is made of, out of folders in any state."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from perframe.analysis.accuracy_table import AccuracyTable, published_table
from perframe.analysis.candidates import candidates
from perframe.analysis.results import read_results
from perframe.errors import InputError
from perframe.profiler.result import Profile, write_profile
from perframe.report.collect import Collected, collect
from perframe.report.page import report_page

TABLE = published_table("imagenet-1k")


def test_runs_of_one_network_are_taken_together(collected: Collected) -> None:
    assert len(collected.measured) == 22
    assert all(len(each.runs) == 2 for each in collected.measured)
    assert collected.batch == 1 and not collected.results.skipped
    # G = 16 stands after G = 8.
    numbers = [each.profile.model.group_size for each in collected.measured[:6]]
    assert numbers == [1, 2, 4, 8, 16, 32]


def test_the_answer_is_what_the_published_tables_say(collected: Collected) -> None:
    told = [(several[0].what, several[0].picked.model.group_size) for several in collected.answers]
    assert told == [("MobileNet-V1", 32), ("ResNeXt-50", 32)]
    assert [each.batch for each in collected.answers[0]] == [1, 4, 16]


def test_another_batch_size_may_matter_most(grid: Path) -> None:
    found = collect([grid], TABLE, batch=16)
    assert found.batch == 16 and found.answers[0][0].batch == 16


def test_a_file_that_is_named_twice_counts_once(grid: Path) -> None:
    file = grid / "run-1" / "mobilenet_v1-E2GC-G8.json"
    found = collect([file, file, file.parent], TABLE)
    assert sum(len(each.runs) for each in found.measured) == 22
    assert len(found.results.results) == 66


def test_foreign_and_newer_files_are_named_and_left_out(grid: Path, tmp_path: Path) -> None:
    shutil.copytree(grid / "run-1", tmp_path / "all")
    (tmp_path / "all" / "notes.json").write_text("{}")
    (tmp_path / "all" / "cut.json").write_text('{"schema": "perframe.profile/1", "cre')
    document = json.loads((grid / "run-1" / "mobilenet_v1-E2GC-G1.json").read_text())
    (tmp_path / "all" / "newer.json").write_text(json.dumps({**document, "schema": "perframe.profile/9"}))
    found = collect([tmp_path / "all"], TABLE)
    assert len(found.measured) == 22
    assert {each.path.name for each in found.results.skipped} == {"notes.json", "cut.json", "newer.json"}
    page = report_page(found)
    assert "newer.json" in page and "perframe.profile/9" in page


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_nothing_to_report_is_an_input_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError):
        collect([tmp_path], TABLE)


def test_a_batch_size_that_was_not_measured_is_an_input_error(grid: Path) -> None:
    with pytest.raises(InputError, match="there are 1, 4, 16"):
        collect([grid], TABLE, batch=7)


def test_layers_without_windows_still_make_a_report(golden: Profile, tmp_path: Path) -> None:
    """As they are imported from dumps of another program."""
    batch = golden.batches[0]
    energy = replace(batch.energy, kind="absent", epf_j=None, windows=())
    alone = replace(batch, latency=None, warm_up=None, energy=energy, paced=None)
    write_profile(replace(golden, plan=None, batches=(alone,)), tmp_path / "imported.json")
    found = collect([tmp_path], TABLE)
    assert not found.answers and not found.series
    page = report_page(found)
    assert "Where a frame of" in page and "was imported" in page


def test_accuracies_go_with_layers_that_have_no_windows(golden: Profile, tmp_path: Path) -> None:
    batch = golden.batches[0]
    alone = replace(batch, energy=replace(batch.energy, windows=()))
    write_profile(replace(golden, batches=(alone,)), tmp_path / "a.json")
    own = AccuracyTable("own.csv", {golden.model.name: 70.0, "another": 1.0}, own=True)
    assert collect([tmp_path], own).unknown == ("another",)


def test_no_folder_of_this_machine_is_named(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(grid / "run-1", tmp_path / "mine" / "all")
    (tmp_path / "mine" / "all" / "notes.json").write_text("{}")
    shutil.copy(tmp_path / "mine" / "all" / "mobilenet_v1-E2GC-G8.json", tmp_path / "mine" / "copy.json")
    monkeypatch.chdir(tmp_path)
    for given in (tmp_path / "mine", Path("mine")):
        page = report_page(collect([given], TABLE))
        assert str(tmp_path) not in page
        assert "mine/all/notes.json" in page and "is a copy of the one in mine/" in page


def test_a_network_has_one_interval_wherever_it_is_shown(grid: Path, collected: Collected) -> None:
    chosen = {each.name: each for each in candidates(read_results(grid).results, TABLE, 1)}
    shown = {each.name: each for several in collected.answers for each in several[0].candidates}
    assert shown == chosen
    for series in collected.series:
        for network in series.networks:
            if series.batch == 1 and network.epf_j is not None:
                assert network.epf_j.estimate == chosen[network.model.name].epf_j


def test_recommended_is_what_was_deployed(grid: Path, tmp_path: Path) -> None:
    """The same networks were trained on the same device, too."""
    shutil.copytree(grid / "run-1", tmp_path / "inference")
    (tmp_path / "training").mkdir()
    for path in (grid / "run-1").iterdir():
        text = path.read_text().replace('"regime": "inference"', '"regime": "training"')
        (tmp_path / "training" / path.name).write_text(text.replace("2026-01-01", "2026-01-02"))
    found = collect([tmp_path], TABLE)
    assert len(found.measured) == 44 and len(found.recommended) == 2
    assert all(each.profile.regime == "inference" for each in found.recommended)
    page = report_page(found)
    titles = re.findall(r"<figcaption><b>Figure \d+\. (.*?)\.</b>", page)
    assert len(titles) == len(set(titles)) > 8
    drawn = [title for title in titles if "Power while" in title or "Where a frame" in title]
    assert len(drawn) == 4 and not any("training" in title for title in drawn)
