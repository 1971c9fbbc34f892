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
PROBE = """<script>addEventListener("load", () => {
  const table = [...document.querySelectorAll("table.sorts")].find((each) => each.tBodies[0].rows.length > 2);
  const head = [...table.tHead.rows[0].cells].findIndex((each) => each.textContent === "EPF");
  const column = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[head].dataset.v));
  const states = [];
  for (const _ of [1, 2, 3]) {
    table.tHead.rows[0].cells[head].querySelector("button").click();
    states.push([table.tHead.rows[0].cells[head].getAttribute("aria-sort"), column()]);
  }
  const scrolls = ".scroll, pre, .plot, .unseen";
  const seen = [...document.querySelectorAll("main *")].filter((each) => !each.closest(scrolls));
  const width = Math.max(...seen.map((each) => each.getBoundingClientRect().right));
  const paper = getComputedStyle(document.body).backgroundColor;
  document.title = JSON.stringify({ states, paper, screen: innerWidth, beside: width > innerWidth });
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


def test_tables_sort_and_find_back_to_their_order(page: str, tmp_path: Path) -> None:
    (first, down), (second, up), (third, back) = probed(page, tmp_path)["states"]
    assert (first, second, third) == ("descending", "ascending", None)
    assert down == sorted(back, reverse=True) and up == sorted(back) and back not in (down, up)


def test_nothing_stands_beside_the_screen(page: str, tmp_path: Path) -> None:
    phone = probed(page, tmp_path, phone=True)
    assert phone["screen"] == 390 and not phone["beside"]
    wide = probed(page, tmp_path, "--window-size=1400,900")
    assert wide["screen"] > 1300 and not wide["beside"]


@pytest.mark.parametrize(("scheme", "paper"), [(0, "rgb(20, 23, 27)"), (1, "rgb(255, 255, 255)")])
def test_the_page_is_dark_or_light_as_the_reader_likes_it(
    page: str, tmp_path: Path, scheme: int, paper: str
) -> None:
    assert probed(page, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")["paper"] == paper
