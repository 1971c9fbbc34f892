"""A sweep, before and after, as a person reads it."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from perframe.analysis.sweep import Sweep
from perframe.analysis.sweep_plan import SweepPlan
from perframe.errors import one_line
from perframe.report.units import duration, percent


def plan_table(plan: SweepPlan, least_s: float, longest_s: float) -> RenderableType:
    """Show what a sweep would measure, and how long that takes by `perframe.analysis.sweep.sweep_bounds_s`."""
    batches = ", ".join(map(str, plan.measurement.batches))
    return Group(
        Text(
            f"{len(plan.configurations)} networks x batch {batches}, in {plan.runs} runs of random order, with"
            f" {plan.engine} on {plan.device}: {plan.measurement.windows} windows each"
        ),
        *(Text(f"  {one_line(each.name)}") for each in plan.configurations),
        Text(
            f"At least {duration(least_s)}, {duration(longest_s)} with the longest warm-ups. Exports and builds come on"
            " top, and slow networks and sensors take longer."
        ),
    )


def sweep_table(done: Sweep, folder: Path) -> RenderableType:
    """Show how a sweep went."""
    lines = [
        Text(
            f"{done.measured} profiles measured in {duration(done.duration_s)}, {done.kept} kept from before."
        )
    ]
    if done.measured:
        lines.append(Text(where_it_went(done)))
    lines += [
        Text(f"not measured: {one_line(each.name)}, run {each.run}: {each.error.message}", style="red")
        for each in done.failures
    ]
    lines.append(Text(f"saved: {folder}"))
    return Group(*lines)


def where_it_went(done: Sweep) -> str:
    """Return what a sweep's time was spent on, in per cent of it. What took nothing that would show is left out."""
    shares = {
        "windows": done.spent.windows_s,
        "warm-up": done.spent.warm_up_s,
        "at rest": done.spent.rest_s,
        "layers": done.spent.layers_s,
        "exports and builds": done.builds_s,
        "other": done.other_s,
    }
    told = (
        f"{percent(seconds / done.duration_s)} {what}"
        for what, seconds in shares.items()
        if seconds / done.duration_s >= 0.0005
    )
    return f"Of {duration(done.duration_s)}: {', '.join(told)}."
