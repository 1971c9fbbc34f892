"""One plot as SVG: a frame with two axes, and marks put on it.

Colours come from classes alone (`s0` to `s5` for series), so that a page can be light or dark. Text is escaped here.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from perframe.errors import one_line
from perframe.report.axes import Axis
from perframe.report.theme import figure_style

Point = tuple[float, float]
# Value of the vertical axis, name, style and marker of a line; `None` for one without markers.
End = tuple[float, str, str, int | None]
Box = tuple[float, float, float, float]

# Mean width of a character of the figures' text, in pixels: SVG cannot be asked.
CHARACTER = 6.3
_SHAPES = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,-4.8L4.8,3.8h-9.6z",
    "M0,4.8L4.8,-3.8h-9.6z",
    "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
)
SERIES = len(_SHAPES)
# Length of the piece of a line that stands before its name.
_SAMPLE = 18.0
# A line is kept clear of names by points so far apart.
_CLEAR = 4.0
# Where a name may stand beside its point, the best first: its end that is near, which share of it lies to the left of
# that, and how far to the right and below the point.
_START, _MIDDLE, _END = ("start", 0.0), ("middle", 0.5), ("end", 1.0)
_BESIDE = (
    (_START, 8.0, 4.0),
    (_END, -8.0, 4.0),
    (_START, 8.0, 9.0),
    (_START, 7.0, 16.0),
    (_END, -7.0, -6.0),
    (_MIDDLE, 0.0, -9.0),
    (_MIDDLE, 0.0, 19.0),
)


def escaped(text: str) -> str:
    """Return text that is safe in HTML and SVG, attributes included: names come out of untrusted files."""
    return html.escape(one_line(text))


def shortened(text: str, characters: int) -> str:
    """Return the end of a text that is too long: the last parts of a module's path tell it from its siblings."""
    text = one_line(text)
    return text if len(text) <= characters else "…" + text[1 - characters :]


@dataclass(frozen=True)
class Drawing:
    """A finished plot.

    Attributes:
        width: In pixels, as it is meant to be seen.
        height: In pixels.
        label: What it shows, for those who cannot see it.
        body: SVG elements.
    """

    width: float
    height: float
    label: str
    body: str

    def inline(self) -> str:
        """Return it as an SVG element of a page."""
        return (
            f'<svg class="plot" viewBox="0 0 {self.width:g} {self.height:g}" style="max-width:{self.width:g}px"'
            f' role="img" aria-label="{escaped(self.label)}">{self.body}</svg>'
        )


def side_by_side(drawings: Sequence[Drawing], columns: int, title: str) -> str:
    """Return several plots as one SVG document that needs nothing else.

    Args:
        drawings: At least one.
        columns: How many stand in a row.
        title: Of the document.
    """
    gap, placed, y, width = 24.0, [], 12.0, 0.0
    for start in range(0, len(drawings), columns):
        row, x = drawings[start : start + columns], 12.0
        for each in row:
            placed.append(f'<g transform="translate({x:g} {y:g})">{each.body}</g>')
            x += each.width + gap
        width = max(width, x - gap + 12.0)
        y += max(each.height for each in row) + gap
    height = y - gap + 12.0
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}" role="img"><title>{escaped(title)}</title>'
        f'<style>{figure_style()}</style><rect width="100%" height="100%" fill="#ffffff"/>{"".join(placed)}</svg>\n'
    )


class Panel:
    """A plot while it is made.

    Args:
        title: What tells it from the plots beside it.
        x: Horizontal axis.
        y: Vertical axis.
        width: In pixels.
        height: In pixels.
        right: Room for labels to the right of the plot.
        stamp: Written into the corner: what must not be missed about all of its figures.
        rows: Whether the vertical axis names rows: the grid then follows the horizontal one.
    """

    def __init__(
        self,
        title: str,
        x: Axis,
        y: Axis,
        *,
        width: float = 400.0,
        height: float = 270.0,
        right: float = 16.0,
        stamp: str = "",
        rows: bool = False,
    ) -> None:
        self._title, self._x, self._y, self._stamp, self._rows = title, x, y, stamp, rows
        self._width, self._height = width, height
        self.left = 14.0 + 6.4 * max((len(text) for _, text in y.ticks), default=1)
        self.right = width - right
        self.top, self.bottom = 50.0, height - 42.0
        self._marks: list[str] = []

    def px(self, value: float) -> float:
        """Return where a value of the horizontal axis lies."""
        return self.left + (self.right - self.left) * self._x.at(value)

    def py(self, value: float) -> float:
        """Return where a value of the vertical axis lies."""
        return self.bottom - (self.bottom - self.top) * self._y.at(value)

    def line(self, points: Iterable[Point], style: str) -> None:
        """Join points given as values."""
        path = "L".join(f"{self.px(x):.1f},{self.py(y):.1f}" for x, y in points)
        self._marks.append(f'<path class="line {style}" d="M{path}"/>')

    def whisker(self, x: float, low: float, high: float, style: str, *, across: bool = False) -> None:
        """Draw an interval of `y` at `x`; with `across`, of the horizontal axis at height `x`."""
        if across:
            a, b, c = self.px(low), self.px(high), self.py(x)
            path = f"M{a:.1f},{c:.1f}H{b:.1f}M{a:.1f},{c - 3:.1f}v6M{b:.1f},{c - 3:.1f}v6"
        else:
            a, b, c = self.py(low), self.py(high), self.px(x)
            path = f"M{c:.1f},{a:.1f}V{b:.1f}M{c - 3:.1f},{a:.1f}h6M{c - 3:.1f},{b:.1f}h6"
        self._marks.append(f'<path class="whisker {style}" d="{path}"/>')

    def mark(
        self, x: float, y: float, series: int, title: str, *, hollow: bool = False, style: str = ""
    ) -> None:
        """Put the marker of a series on a point, with a text that shows when one points at it."""
        kind = f"{'hollow' if hollow else 'mark'} {style or f's{series % SERIES}'}"
        self._marker(self.px(x), self.py(y), series, kind, f"<title>{escaped(title)}</title>")

    def _marker(self, x: float, y: float, series: int, kind: str, title: str = "") -> None:
        shape = _SHAPES[series % SERIES]
        self._marks.append(
            f'<path class="{kind}" transform="translate({x:.1f} {y:.1f})" d="{shape}">{title}</path>'
        )

    def block(self, x: Point, y: Point, style: str, title: str) -> None:
        """Fill a rectangle between two values of each axis."""
        left, right, top, bottom = self.px(x[0]), self.px(x[1]), self.py(y[1]), self.py(y[0])
        self._marks.append(
            f'<rect class="{style}" x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0.4):.1f}"'
            f' height="{max(bottom - top, 0.0):.1f}"><title>{escaped(title)}</title></rect>'
        )

    def text(self, x: float, y: float, text: str, style: str = "muted", anchor: str = "start") -> None:
        """Write at a place in pixels."""
        self._marks.append(
            f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'
        )

    def ends(self, labels: Sequence[End]) -> None:
        """Write the names of lines at their right ends, moved apart where they would overlap.

        A piece of its line with its marker stands before each name, so that it is not told by its colour alone.
        """
        ordered = sorted(labels, key=lambda each: self.py(each[0]))
        places = apart([self.py(each[0]) + 4.0 for each in ordered], 14.0, self.bottom + 4.0)
        start = self.right + 8.0
        for place, (_, name, style, series) in zip(places, ordered, strict=True):
            self._marks.append(f'<path class="line {style}" d="M{start:.1f},{place - 4.0:.1f}h{_SAMPLE:g}"/>')
            if series is not None:
                self._marker(start + _SAMPLE / 2.0, place - 4.0, series, f"mark {style}")
            self.text(start + _SAMPLE + 5.0, place, name, f"own {style}")

    def annotate(
        self,
        labels: Sequence[tuple[float, float, str]],
        points: Sequence[Point],
        line: Sequence[Point] = (),
    ) -> None:
        """Write names beside points where there is room, each nearer to its point than to any other.

        A name for which there is none is left to its mark's title.

        Args:
            labels: Point, as values, and its name.
            points: What must not be written over.
            line: What joins points, and must not be written over either.
        """
        marks = [(self.px(x), self.py(y)) for x, y in points]
        taken = [(x - 5.0, y - 5.0, x + 5.0, y + 5.0) for x, y in marks]
        for (ax, ay), (bx, by) in pairwise((self.px(x), self.py(y)) for x, y in line):
            pieces = math.ceil(math.hypot(bx - ax, by - ay) / _CLEAR)
            for i in range(1, pieces):
                x, y = ax + (bx - ax) * i / pieces, ay + (by - ay) * i / pieces
                taken.append((x - 1.0, y - 1.0, x + 1.0, y + 1.0))
        for value, height, name in labels:
            x, y, width = self.px(value), self.py(height), CHARACTER * len(name)
            for (anchor, share), dx, dy in _BESIDE:
                near, base = x + dx, y + dy
                left = near - share * width
                box = (left, base - 10.0, left + width, base + 2.0)
                own = all(math.dist((near, base - 4.0), mark) >= math.hypot(dx, dy - 4.0) for mark in marks)
                across = box[0] >= self.left and box[2] <= self.right
                inside = across and box[1] >= self.top - 8.0 and box[3] <= self.bottom
                if own and inside and not any(_overlap(box, other) for other in taken):
                    self.text(near, base, name, "tick", anchor)
                    taken.append(box)
                    break

    def moments(self, named: Sequence[tuple[float, str]]) -> None:
        """Mark values of the horizontal axis by lines with names at their tops, each lower where they are close."""
        taken: list[Box] = []
        for value, name in sorted(named):
            x, width, top = self.px(value), CHARACTER * len(name), self.top - 4.0
            left = x + 3.0 if x + 3.0 + width <= self.right else x - 3.0 - width
            while any(_overlap((left, top, left + width, top + 12.0), other) for other in taken):
                top += 12.0
            taken.append((left, top, left + width, top + 12.0))
            self._marks.append(f'<path class="line quiet thin" d="M{x:.1f},{top:.1f}V{self.bottom:.1f}"/>')
            self.text(left, top + 9.0, name, "tick")

    def legend(self, items: Sequence[tuple[str, str]]) -> None:
        """Say what the colours of areas mean, under the title: name and style of each."""
        x = 0.0
        for name, style in items:
            self._marks.append(f'<rect class="{style}" x="{x:.1f}" y="24" width="10" height="10"/>')
            self.text(x + 14.0, 33.0, name, "tick")
            x += 30.0 + 5.9 * len(name)

    def drawing(self, label: str) -> Drawing:
        """Return the finished plot; `label` says what it shows."""
        room = self._width - 8.0 * len(self._stamp)
        title = shortened(self._title, int(room / 7.4))
        parts = [f'<text class="name" x="0" y="13">{escaped(title)}</text>']
        if self._stamp:
            parts.append(
                f'<text class="stamp" x="{self._width:g}" y="13" text-anchor="end">{escaped(self._stamp)}</text>'
            )
        if self._y.label:
            parts.append(f'<text class="muted" x="0" y="33">{escaped(self._y.label)}</text>')
        grid, axis = [], f"M{self.left:.1f},{self.bottom:.1f}H{self.right:.1f}"
        for value, text in self._y.ticks:
            y = self.py(value)
            if not self._rows:
                grid.append(f"M{self.left:.1f},{y:.1f}H{self.right:.1f}")
            parts.append(
                f'<text class="tick" x="{self.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">'
                f"{escaped(text)}</text>"
            )
        for value, text in self._x.ticks:
            x = self.px(value)
            axis += f"M{x:.1f},{self.bottom:.1f}v4"
            if self._rows:
                grid.append(f"M{x:.1f},{self.top:.1f}V{self.bottom:.1f}")
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{self.bottom + 17:.1f}" text-anchor="middle">{text}</text>'
            )
        parts.append(f'<path class="grid" d="{"".join(grid)}"/>')
        parts += self._marks
        parts.append(f'<path class="axis" fill="none" d="{axis}"/>')
        parts.append(
            f'<text class="muted" x="{(self.left + self.right) / 2:.1f}" y="{self._height - 5:.1f}"'
            f' text-anchor="middle">{escaped(self._x.label)}</text>'
        )
        return Drawing(self._width, self._height, label, "".join(parts))


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def apart(places: Sequence[float], gap: float, most: float) -> list[float]:
    """Return places in ascending order moved so that they are `gap` apart, none of them beyond `most`.

    Args:
        places: In ascending order.
        gap: Least distance.
        most: Largest place.
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    limit = most
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved
