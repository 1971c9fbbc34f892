"""What stands beside a profile's main tables: device times, builds, and layers that were measured for themselves."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from perframe.errors import one_line
from perframe.profiler.result import BatchResult, Closure
from perframe.report.style import plain_table, with_interval
from perframe.report.units import percent, quantity


def device_times(batches: Sequence[BatchResult]) -> list[RenderableType]:
    """Show what the device says about its own time, if it does."""
    told = [(batch.batch, batch.device_time) for batch in batches if batch.device_time is not None]
    if not told:
        return []
    table = plain_table("By the device's own events")
    for name in ("batch", "compute p50", "p90", "p99", "enqueue p50", "upload", "download", "CUDA graph"):
        table.add_column(name, justify="right")
    for batch, time in told:
        table.add_row(
            str(batch),
            *(quantity(s, "s") for s in (time.compute_p50_s, time.compute_p90_s, time.compute_p99_s)),
            quantity(time.enqueue_p50_s, "s"),
            quantity(time.upload_p50_s, "s"),
            quantity(time.download_p50_s, "s"),
            "yes" if time.graph else one_line(f"no: {time.no_graph}"),
        )
    first = told[0][1]
    table.caption = (
        f"{one_line(first.device)}; transfers {'in every inference' if first.transfers else 'left out'}"
    )
    return [table]


def builds(batches: Sequence[BatchResult]) -> list[RenderableType]:
    """Show the builds of an engine that were measured, where there were several."""
    if not any(batch.builds for batch in batches):
        return []
    table = plain_table("Builds of the engine")
    for name in ("batch", "build", "built in", "latency", "EPF"):
        table.add_column(name, justify="right")
    for batch in batches:
        for index, build in enumerate(batch.builds, 1):
            cells = (quantity(build.build_s, "s"), quantity(build.latency_s, "s"), quantity(build.epf_j, "J"))
            table.add_row(str(batch.batch), str(index), *cells)
    table.caption = "means are over builds, and their interval holds what differs between them"
    return [table]


def measured_layers(batch: BatchResult, top: int) -> list[RenderableType]:
    """Show layers that were measured for themselves, the dearest first, and how far they add up to the network."""
    rows = [layer for layer in batch.layers if layer.measured]
    if not rows:
        return []
    methods = list(dict.fromkeys(each.method for layer in rows for each in layer.measured))
    table = plain_table(f"Batch {batch.batch}: layers measured for themselves ({batch.energy.kind} energy)")
    table.add_column("layer", overflow="fold")
    table.add_column("profiled", justify="right")
    for method in methods:
        table.add_column(f"{method}: time", justify="right")
        table.add_column("energy per frame", justify="right")
    rows.sort(key=lambda layer: -(layer.energy_j or 0.0))
    for layer in rows[:top] if top else rows:
        by_method = {each.method: each for each in layer.measured}
        cells: list[str] = []
        for method in methods:
            found = by_method.get(method)
            cells += [
                with_interval(found.latency_s if found else None, "s"),
                with_interval(found.energy_j if found else None, "J"),
            ]
        table.add_row(Text(one_line(layer.name)), quantity(layer.latency_s, "s"), *cells)
    sums = [_sum(closure) for closure in batch.closures if not closure.by_construction]
    return [table, *(Text(f"  {line}", style="dim") for line in sums)]


def _sum(closure: Closure) -> str:
    parts = [
        f"{what} {percent(1.0 + residual.value)} of the network's"
        for what, residual in (("time", closure.latency_residual), ("energy", closure.energy_residual))
        if residual is not None
    ]
    told = ", ".join(parts) or "nothing that could be added up"
    return f"{closure.method}: layers with {percent(closure.covered)} of the time add up to {told}"
