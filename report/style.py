"""How tables and figures look, wherever they stand."""

from rich import box
from rich.table import Table

from perframe.profiler.stats import Estimate
from perframe.report.units import percent, quantity


def plain_table(title: str) -> Table:
    """Return an empty table in the one style there is."""
    return Table(
        title=title, title_justify="left", title_style="bold", caption_justify="left", box=box.SIMPLE_HEAD
    )


def with_interval(estimate: Estimate | None, unit: str) -> str:
    """Return a figure with its interval, relative to it."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None or estimate.value == 0:
        return quantity(estimate.value, unit)
    half = (estimate.high - estimate.low) / 2.0
    return f"{quantity(estimate.value, unit)} ± {percent(half / abs(estimate.value))}"
