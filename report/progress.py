"""Progress of long work: on a terminal's stderr, and nowhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from perframe.progress import Progress, is_quiet, is_verbose, silent
from perframe.report.units import duration, quantity

if TYPE_CHECKING:
    from perframe.profiler.loop import Schedule


def schedule_line(schedule: "Schedule") -> str:
    """Return what is said before the windows: how long they are and how long it takes."""
    because = (
        ""
        if schedule.update_period_s is None
        else f" (the sensor updates every {quantity(schedule.update_period_s, 's')})"
    )
    return (
        f"batch {schedule.batch}: {schedule.windows} windows of {quantity(schedule.window_s, 's')}{because};"
        f" about {duration(schedule.remaining_s)} to go"
    )


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a function to tell what is being done and what fraction is done.

    Off a terminal (a pipe, a CI job) it shows nothing and imports nothing, nor where the log takes its place.
    """
    if sys.stderr is None or not sys.stderr.isatty() or is_quiet() or is_verbose():
        yield silent
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
    )
    # Few updates a second: the bar must not take time from what is being measured.
    with progress.Progress(
        *columns, console=Console(stderr=True), transient=True, refresh_per_second=2
    ) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, fraction: bar.update(task, description=what, completed=fraction)
