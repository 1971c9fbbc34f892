"""The report as a file: whole, sound, honest, and safe with what comes out of files."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from perframe.analysis.accuracy_table import AccuracyTable, published_table
from perframe.profiler.result import Profile, Quality, write_profile
from perframe.report.collect import Collected, Measured, collect
from perframe.report.page import report_page

WriteGrid = Callable[..., Path]

TABLE = published_table("imagenet-1k")
VOID = {"meta", "br", "img", "link", "input", "hr"}
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'&\u202e\x1b[31m\x00"


class Sound(HTMLParser):
    """Collects tags and attributes, and refuses what is not closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def parsed(page: str) -> Sound:
    parser = Sound()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


@pytest.fixture(scope="module")
def page(collected: Collected) -> str:
    return report_page(collected)


def test_the_page_is_sound_and_every_id_is_there_once(page: str) -> None:
    found = parsed(page)
    ids = Counter(found.values("id"))
    assert set(ids.values()) == {1}
    assert {link.removeprefix("#") for link in found.values("href")} <= set(ids)
    assert set(found.values("aria-labelledby")) <= set(ids)


def test_the_answer_comes_first_and_the_rest_in_order(page: str) -> None:
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == [
        "answer", "energy", "accuracy", "layers", "power", "findings", "quality", "environment", "reproduce",
    ]  # fmt: skip
    assert page.index("G = 32") < page.index("Figure 1.")


def test_nothing_is_fetched_from_anywhere(page: str) -> None:
    found = parsed(page)
    assert not found.values("src") and "@import" not in page and "url(" not in page
    assert all(link.startswith("#") for link in found.values("href"))
    assert found.tags["script"] == 1 and not [
        name for _, name, _ in found.attributes if name.startswith("on")
    ]


def test_the_policy_allows_the_page_its_one_script(page: str) -> None:
    script = re.search(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def test_every_figure_has_a_caption_its_data_and_a_name(page: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    assert len(figures) == 8
    for figure in figures:
        assert re.search(r"<figcaption><b>Figure \d+\. .+?</b> .{40,}</figcaption>", figure)
        assert "<tbody><tr>" in figure
    labels = parsed(page).values("aria-label")
    assert page.count('role="img"') == page.count("<svg") and all(labels)


def test_every_table_says_what_it_is_of_and_has_headings(page: str) -> None:
    found = parsed(page)
    assert found.tags["caption"] == found.tags["table"] == found.tags["thead"]
    assert found.values("scope").count("col") > 30


def test_the_full_grid_stays_small(page: str) -> None:
    assert len(page.encode()) < 2_000_000


def test_measured_energy_is_nowhere_called_modelled(page: str) -> None:
    assert "modelled" not in page.replace("energy-modelled", "").split("<main>")[1].split('id="quality"')[0]


def test_modelled_energy_is_marked_on_every_figure_that_shows_it(modelled_grid: Path) -> None:
    page = report_page(collect([modelled_grid], TABLE))
    assert "<b>Energy is modelled.</b>" in page
    energies = [
        svg
        for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
        if re.search(r"[Ee]nergy|ower", svg)
    ]
    assert len(energies) > 10
    assert all('class="stamp"' in svg and ">modelled</text>" in svg for svg in energies)


def hostile(profile: Profile) -> Profile:
    batch = profile.batches[0]
    layers = tuple(
        replace(each, name=f"{HOSTILE}{i}", module=f"{HOSTILE}{i}", op=HOSTILE)
        for i, each in enumerate(batch.layers)
    )
    told = replace(batch, layers=layers, quality=(Quality(HOSTILE, "warning", HOSTILE, HOSTILE),))
    return replace(
        profile,
        model=replace(profile.model, name=HOSTILE, family="other", variant="other", group_size=None),
        environment={HOSTILE: HOSTILE},
        identity={**profile.identity, HOSTILE: HOSTILE, "device_name": HOSTILE},
        batches=(told,),
    )


def test_hostile_names_are_shown_and_do_nothing(golden: Profile, tmp_path: Path) -> None:
    write_profile(hostile(golden), tmp_path / "a.json")
    page = report_page(collect([tmp_path], TABLE))
    found = parsed(page)
    assert found.tags["script"] == 1 and found.tags["img"] == 0
    assert "onerror=alert(1)" in "".join(found.text)
    assert not set(page) & {"\x00", "\x1b", "\u202e"}


def test_one_result_is_enough(golden: Profile, tmp_path: Path) -> None:
    write_profile(golden, tmp_path / "a.json")
    page = report_page(collect([tmp_path / "a.json"], TABLE))
    parsed(page)
    assert "nothing to choose from" in page and "Everything measured" in page
    assert "Nothing here was measured" in page, "the golden profile is the fake engine's"


def test_without_energy_times_take_its_place(write_grid: WriteGrid, tmp_path: Path) -> None:
    page = report_page(collect([write_grid(tmp_path / "grid", runs=1, kind="absent")], TABLE))
    assert "<b>No energy was measured</b>" in page
    assert "Time per frame against group size G" in page and "Energy per frame against" not in page
    assert "no power to show" in page


def test_without_accuracies_the_page_says_what_to_give(grid: Path) -> None:
    page = report_page(collect([grid], AccuracyTable("published elsewhere", {"another": 70.0})))
    assert "knows none of these networks" in page and "What accuracy costs" not in page


def test_a_hundred_thousand_layers_stay_readable(golden: Profile, collected: Collected) -> None:
    batch, like = golden.batches[0], golden.batches[0].layers[0]
    layers = tuple(
        replace(like, name=f"l{i}", module=f"blocks.{i}", latency_s=1e-6 * (1 + i % 97), share=1e-5)
        for i in range(100_000)
    )
    profile = replace(golden, batches=(replace(batch, layers=layers),))
    page = report_page(replace(collected, measured=(Measured(((Path("a.json"), profile),)),)))
    assert len(page.encode()) < 2_000_000
    assert "The 60 costliest of 100000 modules are drawn." in page
    assert "99880 cheaper modules are left out" in page


def test_several_conditions_are_told_apart(write_grid: WriteGrid, tmp_path: Path) -> None:
    for limit in (200.0, 250.0):
        write_grid(
            tmp_path / f"{limit:g}",
            runs=1,
            edit=lambda profile, limit=limit: replace(
                profile,
                created=f"2026-01-01T00:00:00.{limit:g}+00:00",
                identity={**profile.identity, "sensor_power_limit_w": limit},
            ),
        )
    found = collect([tmp_path], TABLE)
    page = report_page(found)
    assert len(found.conditions) == 2 and len(found.answers) == 4
    assert "(sensor_power_limit_w 200 W)" in page and "(sensor_power_limit_w 250 W)" in page
    headings = re.findall(r'<article class="answer"><h3>(.*?)</h3>', page)
    assert len(headings) == len(set(headings)) == 4


def test_where_a_note_holds_is_counted(write_grid: WriteGrid, tmp_path: Path) -> None:
    """Once per run and batch size, also where two sets of conditions share their names."""
    note = Quality("some-note", "info", "Something.", "Do something.")

    def noted(profile: Profile, created: str, but: int) -> Profile:
        batches = tuple(
            replace(batch, quality=(note, note) if batch.batch != but else ()) for batch in profile.batches
        )
        return replace(
            profile, created=created, batches=batches, identity={**profile.identity, "cpus_online": created}
        )

    def where(but: int) -> str:
        for day in (1, 2):
            write_grid(
                tmp_path / f"{but}-{day}",
                runs=1,
                edit=lambda one, day=day: noted(one, f"2026-01-0{day}", but),
            )
        page = report_page(collect([tmp_path / f"{but}-1", tmp_path / f"{but}-2"], TABLE))
        row = re.search(r"<tr><th[^>]*>(?:(?!</tr>).)*some-note.*?</tr>", page, flags=re.DOTALL)
        assert row is not None
        return row[0]

    assert "all 132 measurements" in where(but=0)
    told = where(but=16)
    assert "and 85 more" in told, "of 88, three are named"
    assert "mobilenet_v1-E2GC-G1, Test GPU, onnxruntime, fp32 (cpus_online 2026-01-01), batch 1" in told
