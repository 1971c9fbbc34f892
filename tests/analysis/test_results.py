"""A folder of profiles, and everything else that may be in it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perframe.analysis.results import read_results
from perframe.errors import InputError
from perframe.profiler.result import PowerTrace, Profile, read_profile, write_profile

WriteResults = Callable[..., Path]


@pytest.fixture
def folder(write_results: WriteResults, tmp_path: Path) -> Path:
    return write_results(tmp_path, labels=("G=8",))


def one_of(folder: Path) -> Path:
    return sorted(folder.rglob("*.json"))[0]


def edited(path: Path, edit: Callable[[dict[str, Any]], object], to: str = "edited.json") -> Path:
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    target = path.with_name(to)
    target.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return target


def reasons(folder: Path) -> dict[str, str]:
    return {each.path.name: each.reason for each in read_results(folder).skipped}


def test_it_reads_what_the_strict_reader_reads(golden: Profile, tmp_path: Path) -> None:
    # Its own findings would keep it from being judged.
    golden = replace(golden, batches=tuple(replace(batch, quality=()) for batch in golden.batches))
    write_profile(golden, tmp_path / "golden.json")
    found = read_results(tmp_path)
    assert not found.skipped
    assert [each.batch for each in found.results] == [batch.batch for batch in golden.batches]
    for result, batch in zip(found.results, golden.batches, strict=True):
        windows = batch.energy.windows
        assert result.model == golden.model and dict(result.identity) == dict(golden.identity)
        assert result.epf_j is not None
        assert result.epf_j.tolist() == [w.energy_j / w.frames for w in windows if w.energy_j is not None]
        assert result.latency_s.tolist() == [w.duration_s * batch.batch / w.frames for w in windows]
        assert result.energy_kind == batch.energy.kind


def with_traces(profile: Profile) -> Profile:
    trace, spans_s = PowerTrace((-1.0, 0.0, 2.5), (42.0, 180.5, 240.0)), ((-1.0, -0.5), (3.0, 3.5))
    return replace(
        profile,
        batches=tuple(
            replace(batch, energy=replace(batch.energy, trace=trace, idle_spans_s=spans_s))
            for batch in profile.batches
        ),
    )


def test_power_readings_change_nothing(golden: Profile, tmp_path: Path) -> None:
    for name, profile in (("without.json", golden), ("with.json", with_traces(golden))):
        write_profile(profile, tmp_path / name)
    with_them, without = (read_results(tmp_path / name) for name in ("with.json", "without.json"))
    assert len(with_them.results) == len(without.results) > 0
    for one, other in zip(with_them.results, without.results, strict=True):
        assert one.model == other.model and one.latency_s.tolist() == other.latency_s.tolist()
        assert one.epf_j is not None and other.epf_j is not None
        assert one.epf_j.tolist() == other.epf_j.tolist()


def test_power_readings_are_not_parsed(golden: Profile, tmp_path: Path) -> None:
    write_profile(with_traces(golden), tmp_path / "1.json")
    text = (tmp_path / "1.json").read_text(encoding="utf-8")
    assert text.count("180.5") == len(golden.batches)
    (tmp_path / "1.json").write_text(text.replace("180.5", '"high"'), encoding="utf-8")
    assert read_results(tmp_path).results
    with pytest.raises(InputError, match=r"energy\.trace\.power_w\[1\]"):
        read_profile(tmp_path / "1.json")


@pytest.mark.parametrize("indent", [None, 2, 3, 7])
def test_however_it_is_written(golden: Profile, tmp_path: Path, indent: int | None) -> None:
    golden = with_traces(golden)
    write_profile(golden, tmp_path / "1.json")
    expected = read_results(tmp_path).results
    document = json.loads((tmp_path / "1.json").read_text(encoding="utf-8"))
    (tmp_path / "1.json").write_text(json.dumps(document, indent=indent, sort_keys=True), encoding="utf-8")
    found = read_results(tmp_path).results
    assert [each.latency_s.tolist() for each in found] == [each.latency_s.tolist() for each in expected]


def test_layers_cannot_be_forged_in_a_name(golden: Profile, tmp_path: Path) -> None:
    name = '\n   "layers": [\n   ],\n   "layers_sum_s"'
    write_profile(replace(golden, model=replace(golden.model, name=name)), tmp_path / "1.json")
    assert {each.model.name for each in read_results(tmp_path).results} == {name}


def test_foreign_files_are_named_and_left_out(folder: Path) -> None:
    (folder / "notes.txt").write_text("not JSON, and nobody says that it was")
    (folder / "list.json").write_text("[1, 2]")
    (folder / "other.json").write_text('{"schema": "other/1"}')
    (folder / "empty.json").touch()
    (folder / "binary.json").write_bytes(b"\xff\xfe\x00")
    (folder / "sweep.json").write_text('{"schema": "perframe.sweep/1"}')
    hidden = folder / ".work"
    hidden.mkdir()
    (hidden / "scratch.json").write_text("{")
    assert set(reasons(folder)) == {"list.json", "other.json", "empty.json", "binary.json"}
    assert "'other/1'" in reasons(folder)["other.json"]
    assert len(read_results(folder).results) == 6


def test_a_newer_schema_is_refused_by_name(folder: Path) -> None:
    edited(one_of(folder), lambda d: d.update(schema="perframe.profile/99"))
    assert "perframe.profile/99" in reasons(folder)["edited.json"]


def test_a_truncated_file_is_named(folder: Path) -> None:
    text = one_of(folder).read_text(encoding="utf-8")
    (folder / "cut.json").write_text(text[: len(text) // 2], encoding="utf-8")
    assert "not a JSON document" in reasons(folder)["cut.json"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda d: d["batches"][0]["energy"]["windows"].__delitem__(slice(1, None)),
            "at least 2 windows, found 1",
        ),
        (lambda d: d["batches"][0]["energy"]["windows"].clear(), "at least 2 windows, found 0"),
        (lambda d: d["batches"][0]["energy"]["windows"][2].update(energy_j=float("nan")), "positive, finite"),
        (
            lambda d: d["batches"][0]["energy"]["windows"][2].update(duration_s=float("inf")),
            "positive, finite",
        ),
        (lambda d: d["batches"][0]["energy"]["windows"][2].update(frames=0), "positive, finite"),
        (
            lambda d: d["batches"][0]["quality"].append(
                {"code": "throttled", "severity": "invalid", "message": "Heat.", "hint": "Cool."}
            ),
            "invalid: Heat.",
        ),
        (lambda d: d["batches"][0]["energy"].pop("windows"), "windows is missing"),
        (lambda d: d["batches"][0]["energy"].update(windows=7), "windows"),
        (lambda d: d["model"].update(macs="many"), "macs"),
        (lambda d: d.pop("identity"), "identity"),
    ],
    ids=["one", "none", "nan", "infinite", "frames", "invalid", "no windows", "number", "macs", "identity"],
)
def test_what_cannot_be_judged_is_said(
    folder: Path, edit: Callable[[dict[str, Any]], object], said: str
) -> None:
    bad = edited(one_of(folder), edit)
    document = json.loads(bad.read_text(encoding="utf-8"))
    document["created"] = "2026-02-02T00:00:00+00:00"
    bad.write_text(json.dumps(document), encoding="utf-8")
    assert said in reasons(folder)["edited.json"]


def test_a_copy_is_one_measurement(folder: Path) -> None:
    path = one_of(folder)
    (path.parent / "zcopy.json").write_bytes(path.read_bytes())
    found = read_results(folder)
    assert len(found.results) == 6
    assert [each.path.name for each in found.skipped] == ["zcopy.json"] * 3
    assert "copy" in found.skipped[0].reason


def test_a_folder_without_profiles_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none that can be judged"):
        read_results(tmp_path)
    (tmp_path / "cut.json").write_text('{"schema"')
    with pytest.raises(InputError, match=r"cut\.json: not a JSON document"):
        read_results(tmp_path)
    with pytest.raises(InputError, match="expected a folder"):
        read_results(tmp_path / "missing")


def test_a_file_stands_for_itself(folder: Path) -> None:
    path = one_of(folder)
    assert {each.path for each in read_results(path).results} == {path}
    assert read_profile(path).model.group_size == 8
