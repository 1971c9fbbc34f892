"""Single figures for papers."""

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.cli import run
from perframe.errors import InputError, UnavailableError, UsageError
from perframe.profiler.result import Profile, write_profile
from perframe.report.collect import Collected, collect
from perframe.report.single import OF_NETWORKS, OF_ONE, single_figure, write_figure

FIGURES = (*OF_NETWORKS, *OF_ONE)


@pytest.mark.parametrize("key", FIGURES)
def test_every_figure_is_an_svg_of_its_own(collected: Collected, key: str, tmp_path: Path) -> None:
    figure = single_figure(collected, key)
    write_figure(figure, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and float(root.attrib["width"]) > 300
    assert "var(--" not in text, "not every program that draws SVG knows variables"
    assert figure.data.rows and len(figure.caption) > 40


@pytest.mark.parametrize(("name", "start"), [("a.pdf", b"%PDF-"), ("a.PNG", b"\x89PNG")])
def test_pdf_and_png_are_drawn(collected: Collected, tmp_path: Path, name: str, start: bytes) -> None:
    pytest.importorskip("typst", reason="PDF and PNG need perframe[plots]")
    write_figure(single_figure(collected, "epf"), tmp_path / name, ppi=72)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_without_the_library_the_error_names_what_to_install(
    collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(UnavailableError, match="typst") as error:
        write_figure(single_figure(collected, "epf"), tmp_path / "a.pdf")
    assert "perframe[plots]" in error.value.hint and not list(tmp_path.iterdir())


def test_another_ending_is_refused(collected: Collected, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.svg, \.pdf, \.png"):
        write_figure(single_figure(collected, "epf"), tmp_path / "a.jpg")


def test_a_network_is_named_or_the_recommended_one(collected: Collected) -> None:
    assert "mobilenet_v1-E2GC-G32" in single_figure(collected, "layers").title
    assert "resnext50-FgGC-g4" in single_figure(collected, "power", "resnext50-FgGC-g4").title
    with pytest.raises(InputError, match="no such network"):
        single_figure(collected, "layers", "another")


def test_what_is_not_there_is_not_drawn(
    write_grid: Callable[..., Path], collected: Collected, tmp_path: Path
) -> None:
    absent = collect([write_grid(tmp_path / "grid", runs=1, kind="absent")], collected.table)
    assert single_figure(absent, "latency").drawings
    for key in ("epf", "power"):
        with pytest.raises(InputError, match=key):
            single_figure(absent, key)


def test_the_command_writes_the_figure_and_prints_its_caption(
    grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plot", "shape", str(grid), "-o", str(tmp_path / "a.svg")]) == 0
    assert "arXiv 2006.15100" in capsys.readouterr().out
    assert (tmp_path / "a.svg").stat().st_size > 10_000


def in_fp16(profile: Profile) -> Profile:
    """The same network at half the cost."""
    batches = tuple(
        replace(
            batch,
            energy=replace(
                batch.energy,
                windows=tuple(
                    replace(window, duration_s=window.duration_s / 2, energy_j=(window.energy_j or 0.0) / 2)
                    for window in batch.energy.windows
                ),
            ),
        )
        for batch in profile.batches
    )
    return replace(
        profile,
        model=replace(profile.model, precision="fp16", sha256="f" * 64),
        identity={**profile.identity, "precision": "fp16"},
        batches=batches,
    )


def on_another_device(profile: Profile) -> Profile:
    identity = {**profile.identity, "sensor_gpu": "Another GPU"}
    return replace(profile, created="2026-01-02T00:00:00+00:00", identity=identity)


@pytest.fixture
def write_both(
    write_grid: Callable[..., Path], tmp_path: Path
) -> Callable[[Callable[[Profile], Profile]], Path]:
    """Write the grid as it is and otherwise."""

    def write(edit: Callable[[Profile], Profile]) -> Path:
        write_grid(tmp_path / "both" / "one", runs=1)
        write_grid(tmp_path / "both" / "other", runs=1, edit=edit)
        return tmp_path / "both"

    return write


def test_the_recommended_precision_is_drawn(write_both: Callable[..., Path], collected: Collected) -> None:
    found = collect([write_both(in_fp16)], collected.table)
    assert found.answers[0][0].picked.model.precision == "fp16"
    for key in OF_ONE:
        assert "fp16" in single_figure(found, key).title
    with pytest.raises(UsageError, match=r"2 networks have this name: .*fp32\); .*fp16\)"):
        single_figure(found, "layers", "mobilenet_v1-E2GC-G8")


def test_on_two_devices_nobody_guesses_which_is_meant(
    write_both: Callable[..., Path], collected: Collected
) -> None:
    found = collect([write_both(on_another_device)], collected.table)
    for key in FIGURES:
        with pytest.raises(UsageError, match=r"Another GPU.*Test GPU"):
            single_figure(found, key)


def test_which_of_several_runs_is_drawn_is_told(collected: Collected) -> None:
    for key in ("layers", "roofline"):
        assert single_figure(collected, key).title.endswith("run 1 of 2")
    assert len(single_figure(collected, "power").drawings) == 2


def test_where_nothing_is_recommended_a_network_is_named(
    write_grid: Callable[..., Path], collected: Collected, tmp_path: Path
) -> None:
    training = write_grid(tmp_path / "t", runs=1, edit=lambda profile: replace(profile, regime="training"))
    found = collect([training], collected.table)
    with pytest.raises(UsageError, match="22 networks, none of which is recommended"):
        single_figure(found, "layers")
    assert single_figure(found, "layers", "resnext50-E2GC-G8").drawings


@pytest.mark.parametrize(
    ("key", "needs"), [("epf", "two networks that follow one rule"), ("pareto", "two networks")]
)
def test_one_network_gives_no_curve_and_the_error_says_so(
    golden: Profile, tmp_path: Path, key: str, needs: str
) -> None:
    write_profile(golden, tmp_path / "a.json")
    with pytest.raises(InputError, match=needs):
        single_figure(collect([tmp_path / "a.json"], AccuracyTable("any", {golden.model.name: 70.0})), key)


def test_names_out_of_files_do_not_reach_the_terminal(
    golden: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = replace(golden.model, name="a\x1b]0;owned\x07\n::error::b", family="other", group_size=None)
    write_profile(replace(golden, model=model), tmp_path / "a.json")
    assert run(["plot", "layers", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.svg")]) == 0
    told = capsys.readouterr().out
    assert len(told.splitlines()) == 2 and not re.search("[\x00-\x09\x0b-\x1f]", told)
    assert not [line for line in told.splitlines() if line.startswith("::")]


def test_the_help_lists_the_figures_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plot", "--help"]) == 0
    text = capsys.readouterr().out
    assert "\\b" not in text and re.search(r"^ +shape +the same beside", text, flags=re.MULTILINE)
