"""A sweep, before and after, as a person reads it."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from perframe.analysis.sweep import Sweep
from perframe.analysis.sweep_plan import SweepPlan
from perframe.errors import one_line
from perframe.report.units import duration, percent


def plan_table(plan: SweepPlan) -> RenderableType:
    """Show what a sweep would measure."""
    batches = ", ".join(map(str, plan.measurement.batches))
    return Group(
        Text(
            f"{len(plan.configurations)} networks x batch {batches}, in {plan.runs} runs of random order, with"
            f" {plan.engine} on {plan.device}: {plan.measurement.windows} windows each"
        ),
        *(Text(f"  {one_line(each.name)}") for each in plan.configurations),
        Text(f"At least {duration(plan.least_s())}; slow networks and sensors take longer."),
    )


def sweep_table(done: Sweep, folder: Path) -> RenderableType:
    """Show how a sweep went."""
    lines = [
        Text(
            f"{done.measured} profiles measured in {duration(done.duration_s)}, {done.kept} kept from before."
        )
    ]
    if done.measured:
        lines.append(Text(f"{percent(done.overhead_s / done.duration_s)} of the time was the sweep's own."))
    lines += [
        Text(f"not measured: {one_line(each.name)}, run {each.run}: {each.error.message}", style="red")
        for each in done.failures
    ]
    lines.append(Text(f"saved: {folder}"))
    return Group(*lines)
