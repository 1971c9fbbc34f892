"""The commands of the documentation run as they are written, and its reference leaves nothing out."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import click
import pytest

from perframe.analysis.toml_file import read_toml
from perframe.cli import run
from perframe.errors import PerframeError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))

# A fenced block with the comments right above it, indented or not (within a list).
BLOCK = re.compile(
    r"(?P<marks>(?:^ *<!-- [^\n]* -->\n)*)"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
MARK = re.compile(r"<!-- (needs|files|recorded|exits):? (.+?) -->")
PROMPT = "$ "


@dataclass
class Block:
    """A fenced block: a file to write where it has a title, else what may hold commands."""

    language: str
    title: str | None
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> list[str]:
        return [command for command, _ in self.session]

    @property
    def session(self) -> list[tuple[str, str]]:
        """Every command with what the page says that it prints."""
        parts = re.split(rf"^{re.escape(PROMPT)}", self.text, flags=re.MULTILINE)[1:]
        return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def blocks(page: Path) -> Iterator[Block]:
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        text = textwrap.dedent(found["text"])
        yield Block(found["language"], found["title"], text, dict(MARK.findall(found["marks"])))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_fence_is_of_a_block(page: Path) -> None:
    """A block that opens and closes at different indents is one to nobody: not to the site, and not to these tests."""
    fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)
    found = [block.text for block in blocks(page)]
    assert len(fences) == 2 * len(found)
    assert not any("```" in text for text in found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_command_is_run_or_marked(page: Path) -> None:
    """Commands stand in console blocks behind a prompt; what is no perframe command says what it needs."""
    for block in blocks(page):
        if "needs" in block.marks or block.title:
            continue
        if block.language == "console":
            assert block.text.startswith(PROMPT), block.text
            assert all(command.startswith("perframe ") for command in block.commands), block.commands
        else:
            assert not re.search(r"^\s*(\$ )?perframe ", block.text, re.MULTILINE), block.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_commands_end_as_the_page_says(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    to_run = [block for block in blocks(page) if "needs" not in block.marks]
    if not any(block.commands for block in to_run):
        pytest.skip("no command to run")
    monkeypatch.chdir(tmp_path)
    # Plug-ins that a page shows are found here.
    monkeypatch.syspath_prepend(str(tmp_path))
    # How wide the pages are.
    monkeypatch.setenv("COLUMNS", "120")
    recorded = any("recorded" in block.marks for block in to_run)
    for block in to_run:
        if "recorded" in block.marks:
            shutil.copytree(ROOT / "results" / block.marks["recorded"], tmp_path / block.marks["recorded"])
        if block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
            if block.title == "pyproject.toml":
                install(tmp_path)
            continue
        if "files" in block.marks:
            data: Path = request.getfixturevalue("data_folder")
            for file in data.glob(block.marks["files"]):
                shutil.copy(file, tmp_path)
        expected = int(block.marks.get("exits", "0"))
        for command, printed in block.session:
            code = run(shlex.split(command)[1:])
            shown = capsys.readouterr()
            assert code == expected, (command, shown)
            if recorded:
                # What is computed from files is the same everywhere.
                assert plain(shown.out + shown.err) == plain(printed), command


def plain(text: str) -> str:
    """Without what pads the lines of a table, and how long it took."""
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(re.sub(r"measured in [\w ]+,", "measured,", line) for line in lines)


def install(folder: Path) -> None:
    """Write what pip would, for entry points to be found."""
    project = read_toml(folder / "pyproject.toml", "project")["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("perframe_docs", DOCS / "generated.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_command_and_option(generated: ModuleType) -> None:
    page = generated.commands_page()
    for ctx in generated.commands():
        section = page.partition(f"## {ctx.command_path}\n")[2]
        assert section, ctx.command_path
        for option in ctx.command.get_params(ctx):
            if isinstance(option, click.Option):
                assert all(f"`{name}`" in page for name in option.opts), (ctx.command_path, option.opts)


def test_the_reference_has_every_exit_code(generated: ModuleType) -> None:
    page = generated.exit_codes_page()
    classes: list[type[PerframeError]] = [PerframeError, *PerframeError.__subclasses__()]
    assert all(re.search(rf"^\| {each.exit_code} \|", page, re.MULTILINE) for each in classes)


def test_the_reference_has_every_quality_code(generated: ModuleType) -> None:
    page = generated.quality_codes_page()
    sources = (ROOT / "profiler").glob("*.py")
    raised = {
        code
        for source in sources
        for code in re.findall(r"\bQuality\(\s*\"([a-z-]+)\"", source.read_text(encoding="utf-8"))
    }
    assert len(raised) > 20
    assert {code for code in raised if f"`{code}`" not in page} == set()


def test_the_reference_has_every_field_of_a_profile(generated: ModuleType) -> None:
    page = generated.files_page()
    for name in ("epf_above_idle_j", "relative_uncertainty", "closed_form_epf_j", "module", "intensity"):
        assert f"| `{name}` |" in page


def test_every_page_is_in_the_site(generated: ModuleType) -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"^ *- (\S+\.md)$", site, re.MULTILINE))
    assert named == {str(page.relative_to(DOCS)) for page in PAGES} | set(generated.PAGES)


# --- the site -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, in whose making no warning is let pass."""
    for name in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file"]
    ended = subprocess.run(
        [*build, str(ROOT / "mkdocs.yml"), "--site-dir", str(folder)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def test_no_markup_is_left_in_the_pages(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert not any(each in html for each in ("```", "{: #", "&lt;!-- needs", "<!-- needs")), page


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|img|iframe)\b[^>]* src=\"([^\"]*)|<link\b[^>]* href=\"([^\"]*)",
            page.read_text(encoding="utf-8"),
        )
        assert not [
            each for pair in fetched for each in pair if each.startswith(("http:", "https:", "//"))
        ], page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium is installed")
def test_the_search_works_from_the_disk(site: Path, tmp_path: Path) -> None:
    address = (site / "how-to" / "jetson.html").as_uri() + "?q=tegrastats"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    ended = subprocess.run(
        ["chromium", *options, "--virtual-time-budget=10000", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert re.search(r"md-search-result__meta\">\d+ matching documents", ended.stdout)
