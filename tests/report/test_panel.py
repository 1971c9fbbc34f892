"""Plots are sound SVG whatever they are given."""

import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perframe.report.axes import linear
from perframe.report.panel import Panel, apart, escaped, shortened, side_by_side
from perframe.report.units import span

HOSTILE = '</svg><script>alert("1")</script>\x00\x1b[31m\u202e&\'"\n'


@given(st.lists(st.floats(0.0, 200.0), max_size=12), st.floats(1.0, 15.0))
def test_labels_are_moved_apart_in_their_order(places: list[float], gap: float) -> None:
    moved = apart(sorted(places), gap, 200.0)
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(moved))
    assert all(place <= 200.0 for place in moved)


def test_labels_with_room_stay_where_they_are() -> None:
    assert apart([10.0, 40.0, 90.0], 14.0, 100.0) == [10.0, 40.0, 90.0]


@given(st.text(max_size=60))
def test_any_text_makes_sound_xml(text: str) -> None:
    panel = Panel(text, linear(text, [1.0, 2.0], "s"), linear(text, [1.0, 2.0], "J"), stamp="modelled")
    panel.mark(1.0, 1.5, 0, text)
    panel.block((0.0, 1.0), (0.0, 1.0), "area s0", text)
    panel.annotate([(1.0, 1.5, text)], [(1.0, 1.5)])
    panel.ends([(1.0, text, "s0"), (1.0, text, "s1")])
    root = ET.fromstring(side_by_side([panel.drawing(text)], 1, text))
    assert not root.findall(".//{*}script")


def test_names_out_of_files_are_escaped_and_shown() -> None:
    assert "<script" not in escaped(HOSTILE) and '"' not in escaped(HOSTILE)
    assert "\\x00" in escaped(HOSTILE) and "\\u202e" in escaped(HOSTILE)


def test_the_end_of_a_path_is_what_is_kept_of_it() -> None:
    assert shortened("stages.3.blocks.12.grouped.conv", 18) == "…s.12.grouped.conv"
    assert shortened("fc", 18) == "fc"


def test_an_interval_has_one_unit_and_digits_that_tell_its_ends_apart() -> None:
    assert span(0.362, 0.364, "J") == "362 to 364 mJ"
    assert span(0.01567, 0.01569, "s") == "15.67 to 15.69 ms"
    assert span(0.0, 0.0, "J") == "0 to 0 J"
    assert span(1.0, 1.0, "J") == "1.00 to 1.00 J"
