"""Single figures for papers."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from perframe.cli import run
from perframe.errors import InputError, UnavailableError, UsageError
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
