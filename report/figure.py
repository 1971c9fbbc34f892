"""A figure: plots, what to see in them, and the numbers they are drawn from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from perframe.profiler.stats import Estimate
from perframe.report.panel import Drawing, escaped, side_by_side
from perframe.report.units import percent, quantity

Number = float | int | None

_UNIT = re.compile(r"(\d) (%|°C|[GMkmµn]?(?:J|s|W|Hz|B|MAC/s)\b)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_RULE = re.compile(r"\b([GgB]) = (\d)")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What is written.
        value: What it is sorted by; `None` sorts by the text, or last where other cells have numbers.
        bar: Share of the cell that is filled, between 0 and 1.
        style: Class of the bar.
        tags: Marks before the text: what is written in each, and its class.
    """

    text: str
    value: Number = None
    bar: float | None = None
    style: str = "s0"
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DataTable:
    """Rows under headings.

    Attributes:
        caption: What the rows are.
        headings: Of the columns.
        rows: One cell per column.
        note: What is left out.
        stacks: Whether it holds sentences: the cells of a row then stand one below the other on a phone.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    stacks: bool = False


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        key: Its name on the command line.
        title: What it shows.
        caption: What to see in it.
        drawings: Its plots.
        columns: How many of them stand in a row where there is room.
        data: The numbers behind it.
    """

    key: str
    title: str
    caption: str
    drawings: tuple[Drawing, ...]
    columns: int
    data: DataTable

    def svg(self) -> str:
        """Return it as an SVG document of its own."""
        return side_by_side(self.drawings, self.columns, self.title)


def measured(figure: Estimate | float | None, unit: str, digits: int = 3) -> Cell:
    """Return the cell of a quantity."""
    value = figure.value if isinstance(figure, Estimate) else figure
    return Cell(quantity(value, unit, digits), value)


def share(value: float | None, digits: int = 1) -> Cell:
    """Return the cell of a ratio."""
    return Cell(percent(value, digits), value)


def number(value: Number, form: str = "") -> Cell:
    """Return the cell of a number without a unit."""
    return Cell("–" if value is None else format(value, form), value)


def table_html(table: DataTable, *, seen: bool = True) -> str:
    """Return a table as HTML. A script lets every column be sorted by its heading.

    Args:
        table: The table.
        seen: Whether its caption is seen; otherwise it is there for screen readers only.
    """
    hidden = "" if seen else ' class="unseen"'
    # Numbers stand to the right, one below the other; among sentences they do not.
    numeric = [
        not table.stacks and any(row[i].value is not None for row in table.rows)
        for i in range(len(table.headings))
    ]
    heads = "".join(
        f'<th scope="col"{" class=n" if right else ""}>{escaped(heading)}</th>'
        for heading, right in zip(table.headings, numeric, strict=True)
    )
    names = [f' data-h="{escaped(each)}"' if table.stacks else "" for each in table.headings]
    rows = "".join(_row(row, numeric, names) for row in table.rows)
    note = f'<p class="note">{escaped(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table class="sorts{" stacks" if table.stacks else ""}">'
        f"<caption{hidden}>{escaped(table.caption)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{note}"
    )


def _row(row: Sequence[Cell], numeric: Sequence[bool], names: Sequence[str]) -> str:
    cells = []
    for i, (cell, right, name) in enumerate(zip(row, numeric, names, strict=True)):
        tag, scope = ("td", "") if i else ("th", ' scope="row"')
        value = "" if cell.value is None else f' data-v="{cell.value:.6g}"'
        bar, kinds = "", ["n"] if right else []
        if cell.bar is not None:
            kinds.append("b")
            bar = (
                f'<i class="bar {cell.style}" style="width:{100.0 * min(max(cell.bar, 0.0), 1.0):.1f}%"></i>'
            )
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        tags = "".join(
            f'<span class="tag {escaped(style)}">{escaped(text)}</span> ' for text, style in cell.tags
        )
        cells.append(f"<{tag}{scope}{kind}{value}{name}>{bar}{tags}{prose(cell.text)}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def prose(text: str) -> str:
    """Return text as HTML in which no line ends between a number and its unit, in G = 8 or in an option's name."""
    kept = _RULE.sub("\\1\u00a0=\u00a0\\2", _UNIT.sub("\\1\u00a0\\2", escaped(text)))
    return _OPTION.sub('<code class="option">\\g<0></code>', kept)


def figure_html(figure: Figure, index: int) -> str:
    """Return a figure as HTML: its plots, its caption, and its data to unfold.

    Args:
        figure: The figure.
        index: Its number on the page.
    """
    plots = "".join(each.inline() for each in figure.drawings)
    return (
        f'<figure id="figure-{index}"><div class="plots c{figure.columns}">{plots}</div>'
        f"<figcaption><b>Figure {index}. {escaped(figure.title)}.</b> {prose(figure.caption)}</figcaption>"
        f"<details><summary>The numbers of figure {index}</summary>{table_html(figure.data, seen=False)}"
        f"</details></figure>"
    )
