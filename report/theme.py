"""Colours and style sheets, the same for a page and for a figure in a file of its own.

The colours of series begin with those of M. Okabe and K. Ito (Color Universal Design, 2008), darkened or lightened
until each has a contrast of 4.5 to its background, as its name is written in it; a series is told by its marker too.
What is only drawn has a contrast of 3.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "ground": "#f6f7f8",
    "ink": "#1a1e23",
    "muted": "#59616a",
    "rule": "#e3e6e9",
    "axis": "#8b939c",
    "accent": "#0b5fa5",
    "warn": "#8f4700",
    "bad": "#b3261e",
    "s0": "#0072b2",
    "s1": "#c25100",
    "s2": "#00815c",
    "s3": "#b0568a",
    "s4": "#8a6d00",
    "s5": "#56606b",
    "dense": "#6f8294",
    "other": "#8b939c",
}

DARK: Mapping[str, str] = {
    "paper": "#14171b",
    "ground": "#1c2026",
    "ink": "#e8eaed",
    "muted": "#a3abb4",
    "rule": "#2b3038",
    "axis": "#6d757e",
    "accent": "#6cb6f2",
    "warn": "#f2b26b",
    "bad": "#ff8f86",
    "s0": "#56b4e9",
    "s1": "#f0883e",
    "s2": "#2fbf93",
    "s3": "#d992bd",
    "s4": "#d6bb4a",
    "s5": "#a9b4bf",
    "dense": "#74879a",
    "other": "#7d8790",
}

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"


@lru_cache(maxsize=8)
def asset(name: str) -> str:
    """Return the text of a file of `assets/`."""
    return (files("perframe.report") / "assets" / name).read_text(encoding="utf-8")


def page_style() -> str:
    """Return the style sheet of a page: light or dark as the reader likes it, light on paper."""
    light, dark = (";".join(f"--{name}:{colour}" for name, colour in each.items()) for each in (LIGHT, DARK))
    variables = (
        f":root{{color-scheme:light dark;--font:{FONT};{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    )
    return variables + _compact(asset("report.css") + asset("plot.css"))


def figure_style() -> str:
    """Return the style sheet of a figure by itself, without variables: not every program that draws SVG knows them."""
    values = {"font": FONT, **LIGHT}
    return re.sub(r"var\(--([a-z0-9]+)\)", lambda found: values[found[1]], _compact(asset("plot.css")))


def _compact(css: str) -> str:
    without_comments = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    # What stands in quotes is text.
    return re.sub(
        r"(\"[^\"]*\")|\s*([{};:,>])\s*",
        lambda found: found[1] or found[2],
        re.sub(r"\s+", " ", without_comments),
    ).strip()
