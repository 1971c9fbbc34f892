"""Tables and their text as HTML."""

import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from perframe.report.figure import Cell, DataTable, number, prose, table_html

HEADINGS = ("network", "EPF")


def table(*rows: tuple[Cell, ...], stacks: bool = False) -> str:
    return table_html(DataTable("What", HEADINGS, rows, stacks=stacks))


def test_no_line_ends_within_a_quantity_a_rule_or_an_option() -> None:
    text = prose("G = 8 takes 10.2 ms, 66 °C; give a longer --warm-up-s, not a-b")
    assert "G\u00a0=\u00a08 takes 10.2\u00a0ms, 66\u00a0°C;" in text
    assert '<code class="option">--warm-up-s</code>, not a-b' in text


@given(st.text(max_size=40))
def test_any_text_in_any_place_of_a_cell_is_sound(text: str) -> None:
    page = table((Cell(text, tags=((text, text),)), number(1)), stacks=True)
    root = ET.fromstring(f"<x>{page}</x>")
    assert not root.findall(".//script") and len(root.findall(".//tbody/tr")) == 1


def test_tags_stand_before_the_text() -> None:
    page = table((Cell("noisy", -1.0, tags=(("warning", "warning"),)), number(1)))
    assert '<th scope="row" class="n" data-v="-1"><span class="tag warning">warning</span> noisy</th>' in page


def test_numbers_stand_to_the_right_unless_they_are_among_sentences() -> None:
    row = (Cell("a"), number(1))
    assert '<td class="n" data-v="1">1</td>' in table(row)
    assert '<td data-v="1" data-h="EPF">1</td>' in table(row, stacks=True)


def test_a_table_is_no_stop_of_the_keyboard_before_it_is_known_to_be_too_wide() -> None:
    assert not re.search("tabindex|role=", table((Cell("a"), number(1))))
