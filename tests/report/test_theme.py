"""Colours can be told from what they stand on, by everyone."""

from collections.abc import Mapping

import pytest

from perframe.report.panel import SERIES
from perframe.report.theme import DARK, LIGHT, figure_style, page_style

SERIES_COLOURS = [f"s{i}" for i in range(SERIES)]
DRAWN = ["dense", "other", "axis"]
WRITTEN = ["ink", "muted", "accent", "warn", "bad"]
THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, as in WCAG 2.2."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@THEMES
def test_every_series_can_be_seen_and_its_name_be_read(theme: Mapping[str, str]) -> None:
    low = {name: contrast(theme[name], theme["paper"]) for name in SERIES_COLOURS}
    assert min(low.values()) >= 4.5, low


@THEMES
def test_what_is_only_drawn_can_be_seen(theme: Mapping[str, str]) -> None:
    low = {name: contrast(theme[name], theme["paper"]) for name in DRAWN}
    assert min(low.values()) >= 3.0, low


@THEMES
@pytest.mark.parametrize("ground", ["paper", "ground"])
def test_text_can_be_read(theme: Mapping[str, str], ground: str) -> None:
    low = {name: contrast(theme[name], theme[ground]) for name in WRITTEN}
    assert min(low.values()) >= 4.5, low


def test_both_themes_name_the_same_colours_and_style_sheets_use_no_others() -> None:
    assert set(LIGHT) == set(DARK)
    assert all(f"var(--{name})" in page_style() for name in LIGHT)
    assert "var(" not in figure_style()


def test_what_stands_in_quotes_is_kept_when_a_style_sheet_is_made_small() -> None:
    assert 'attr(data-h) ": "' in page_style() and 'content:"' in page_style()
