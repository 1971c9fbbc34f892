"""What a recorded power trace says, for the terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from perframe.errors import one_line
from perframe.profiler.calibration import Calibration
from perframe.profiler.trace import TraceReport
from perframe.report.tables import severity_line, show
from perframe.report.units import percent, quantity


def show_trace(report: TraceReport, calibration: Calibration | None) -> None:
    """Print the report of a trace, and the calibration found or applied."""
    table = Table.grid(padding=(0, 2))
    mean = quantity(report.mean_w.value, "W")
    if report.mean_w.low is not None and report.mean_w.high is not None:
        mean += f"   95 %: {quantity(report.mean_w.low, 'W')} to {quantity(report.mean_w.high, 'W')}"
    rows = {
        "trace": f"{report.file} ({report.format}, {report.power_column} over {report.time_column})",
        "card": report.card,
        "span": f"{report.from_s:.3f} to {report.to_s:.3f} s, {quantity(report.duration_s, 's')}",
        "samples": f"{report.samples}, {report.distinct_samples} distinct",
        "updates every": quantity(report.update_period_s, "s"),
        "mean power": mean,
        "energy": quantity(report.energy_j, "J", 4),
        "steady": "yes" if report.stationary else "no",
        "may be off the truth by": percent(report.absolute_uncertainty, 0),
        "trustworthy": "yes" if report.trustworthy else "NO",
    }
    if calibration is not None:
        rows["calibration"] = f"gain {calibration.gain:.4f}, offset {calibration.offset_w:+.2f} W"
    for key, value in rows.items():
        if value is not None:
            table.add_row(key, Text(one_line(value)))
    notes = [severity_line(each.severity, f"{each.message} {each.hint}") for each in report.warnings]
    show(Group(table, *notes))
