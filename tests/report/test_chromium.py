"""The report in a real browser: no message on the console, nothing beside the screen, tables that sort."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from perframe.report.collect import Collected
from perframe.report.page import report_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

# Runs in the page, in the place of its reader; what it finds becomes the title.
PROBE = """<script>addEventListener("load", async () => {
  const table = [...document.querySelectorAll("table.sorts")].find((each) => each.tBodies[0].rows.length > 2);
  const head = [...table.tHead.rows[0].cells].findIndex((each) => each.textContent === "EPF");
  const column = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[head].dataset.v));
  const states = [];
  for (const _ of [1, 2, 3]) {
    table.tHead.rows[0].cells[head].querySelector("button").click();
    states.push([table.tHead.rows[0].cells[head].getAttribute("aria-sort"), column()]);
  }
  const tables = [...document.querySelectorAll("table")];
  const many = tables.filter((each) => each.tBodies[0].rows.length > 1);
  const unsorted = many.filter((each) => !each.querySelector("th button")).map((each) => each.caption.textContent);
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
  const sizes = [...document.querySelectorAll("th button")].map((each) => each.getBoundingClientRect());
  const target = Math.min(...sizes.map((each) => Math.min(each.width, each.height)));
  await new Promise((done) => setTimeout(done, 300));
  const boxes = [...document.querySelectorAll(".scroll")];
  const scrolling = boxes.filter((each) => each.scrollWidth > each.clientWidth).length;
  const wrong = boxes.filter((each) => (each.scrollWidth > each.clientWidth) !== (each.tabIndex === 0)).length;
  document.querySelectorAll("details").forEach((each) => { each.open = false; });
  const closed = () => document.querySelectorAll("#environment details:not([open])").length;
  const folded = { before: closed() };
  dispatchEvent(new Event("beforeprint"));
  folded["on paper"] = closed();
  dispatchEvent(new Event("afterprint"));
  folded.after = closed();
  const stacked = [...document.querySelectorAll("table.stacks tbody tr")].map((row) =>
    new Set([...row.cells].map((cell) => cell.getBoundingClientRect().left)).size);
  const scrolls = ".scroll, pre, .plot, .unseen";
  const seen = [...document.querySelectorAll("main *")].filter((each) => !each.closest(scrolls));
  const width = Math.max(...seen.map((each) => each.getBoundingClientRect().right));
  const paper = getComputedStyle(document.body).backgroundColor;
  const beside = width > innerWidth;
  document.title = JSON.stringify(
    { states, paper, screen: innerWidth, beside, unsorted, target, scrolling, wrong, folded, stacked });
  parent.postMessage(document.title, "*");
});</script></body>"""

# A window of a headless browser cannot be as narrow as a phone, a frame in it can.
PHONE = """<!doctype html><title></title><iframe src="probe.html" style="width:390px;height:800px;border:0"></iframe>
<script>addEventListener("message", (told) => { document.title = told.data; });</script>"""


def browse(page: Path, *options: str) -> tuple[str, list[str]]:
    """Open a page; return its title and what it wrote to the console."""
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    ended = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={page.parent / 'browser'}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    title = re.search(r"<title>(.*?)</title>", ended.stdout, flags=re.DOTALL)
    assert title is not None
    return title[1], [line for line in ended.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def page(collected: Collected) -> str:
    return report_page(collected)


def probed(page: str, folder: Path, *options: str, phone: bool = False) -> dict[str, Any]:
    # The page's own policy would refuse the probe.
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace(
        "</body>", PROBE
    )
    (folder / "probe.html").write_text(open_page, encoding="utf-8")
    (folder / "phone.html").write_text(PHONE, encoding="utf-8")
    name = "phone.html" if phone else "probe.html"
    title, _ = browse(folder / name, "--virtual-time-budget=5000", *options)
    found: dict[str, Any] = json.loads(html.unescape(title))
    return found


def test_the_console_stays_empty(page: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    title, console = browse(tmp_path / "report.html")
    assert title.startswith("What a frame costs") and console == []


@pytest.fixture(scope="module")
def desk(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the probe finds on a desk."""
    return probed(page, tmp_path_factory.mktemp("desk"), "--window-size=1400,900")


@pytest.fixture(scope="module")
def phone(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the probe finds on a phone."""
    return probed(page, tmp_path_factory.mktemp("phone"), phone=True)


def test_tables_sort_and_find_back_to_their_order(desk: dict[str, Any]) -> None:
    (first, down), (second, up), (third, back) = desk["states"]
    assert (first, second, third) == ("descending", "ascending", None)
    assert down == sorted(back, reverse=True) and up == sorted(back) and back not in (down, up)


def test_every_table_sorts_by_headings_that_a_finger_hits(
    desk: dict[str, Any], phone: dict[str, Any]
) -> None:
    assert desk["unsorted"] == [] and min(desk["target"], phone["target"]) >= 24.0


def test_nothing_stands_beside_the_screen(desk: dict[str, Any], phone: dict[str, Any]) -> None:
    assert phone["screen"] == 390 and not phone["beside"]
    assert desk["screen"] > 1300 and not desk["beside"]


def test_sentences_stand_below_each_other_on_a_phone(desk: dict[str, Any], phone: dict[str, Any]) -> None:
    assert set(phone["stacked"]) == {1} and set(desk["stacked"]) == {3}


def test_the_keyboard_stops_at_tables_that_scroll_and_at_no_others(
    desk: dict[str, Any], phone: dict[str, Any]
) -> None:
    assert desk["wrong"] == phone["wrong"] == 0 < phone["scrolling"]


def test_paper_shows_every_environment(desk: dict[str, Any]) -> None:
    assert desk["folded"] == {"before": 1, "on paper": 0, "after": 1}


@pytest.mark.parametrize(("scheme", "paper"), [(0, "rgb(20, 23, 27)"), (1, "rgb(255, 255, 255)")])
def test_the_page_is_dark_or_light_as_the_reader_likes_it(
    page: str, tmp_path: Path, scheme: int, paper: str
) -> None:
    assert probed(page, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")["paper"] == paper
