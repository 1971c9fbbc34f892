"""Plots are sound SVG whatever they are given."""

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perframe.report.axes import linear
from perframe.report.panel import CHARACTER, Panel, apart, escaped, shortened, side_by_side
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
    panel.ends([(1.0, text, "s0", 0), (1.0, text, "s1", None)])
    panel.moments([(1.0, text), (1.0, text)])
    root = ET.fromstring(side_by_side([panel.drawing(text)], 1, text))
    assert not root.findall(".//{*}script")


def placed(body: str, name: str) -> tuple[float, float, str]:
    """Where a text stands, and at which of its ends it is held."""
    found = re.search(rf'x="([^"]*)" y="([^"]*)" text-anchor="(\w+)">{name}<', body)
    assert found is not None, name
    return float(found[1]), float(found[2]), found[3]


@given(st.lists(st.tuples(st.floats(0.1, 10.0), st.floats(70.0, 80.0)), min_size=2, max_size=8, unique=True))
def test_no_name_is_struck_through_by_the_line_that_joins_the_points(
    points: list[tuple[float, float]],
) -> None:
    panel = Panel("", linear("x", [0.0, 10.0]), linear("y", [70.0, 80.0], from_zero=False))
    front = sorted(points)
    panel.annotate([(x, y, f"name {i}") for i, (x, y) in enumerate(front)], front, front)
    body = panel.drawing("").body
    for i in [i for i in range(len(front)) if f">name {i}<" in body]:
        x, y, anchor = placed(body, f"name {i}")
        left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * 6 * CHARACTER
        for (ax, ay), (bx, by) in pairwise((panel.px(a), panel.py(b)) for a, b in front):
            for t in (k / 200 for k in range(201)):
                at_x, at_y = ax + (bx - ax) * t, ay + (by - ay) * t
                assert not (left + 4 < at_x < left + 6 * CHARACTER - 4 and y - 6 < at_y < y - 2)


def test_a_name_is_nearer_to_its_point_than_to_any_other() -> None:
    panel = Panel("", linear("x", [0.0, 10.0]), linear("y", [0.0, 10.0]))
    points = [(5.0, 5.0), (5.2, 4.6), (5.0, 4.2), (5.3, 5.4), (1.0, 1.0)]
    panel.annotate([(x, y, f"name {i}") for i, (x, y) in enumerate(points)], points)
    body = panel.drawing("").body
    written = [i for i in range(len(points)) if f">name {i}<" in body]
    assert 4 in written
    for i in written:
        x, y, _ = placed(body, f"name {i}")
        distances = [math.dist((x, y - 4.0), (panel.px(a), panel.py(b))) for a, b in points]
        assert distances.index(min(distances)) == i


def test_the_names_of_lines_show_how_their_lines_look() -> None:
    panel = Panel("", linear("x", [0.0, 1.0]), linear("y", [0.0, 1.0]), right=80.0)
    panel.ends([(0.5, "here", "s0", 0), (0.5, "P100", "quiet dash", None)])
    body = panel.drawing("").body
    assert '<path class="line s0" d=' in body and '<path class="line quiet dash" d=' in body
    assert body.count('class="mark') == 1


def test_moments_that_are_close_have_their_names_one_below_the_other() -> None:
    panel = Panel("", linear("x", [0.0, 100.0]), linear("y", [0.0, 1.0]))
    panel.moments([(0.0, "rest"), (1.0, "warm-up"), (2.0, "windows"), (100.0, "end")])
    body = panel.drawing("").body
    heights = [placed(body, name)[1] for name in ("rest", "warm-up", "windows", "end")]
    assert heights == [*sorted(heights[:3]), heights[0]] and len(set(heights[:3])) == 3
    assert placed(body, "end")[0] < panel.right, "there is no room to the right of the last moment"


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
