"""Tables for the terminal."""

from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from perframe.engines.accuracy import Accuracy
from perframe.engines.base import ModelInfo
from perframe.engines.convert import Conversion
from perframe.engines.parity import ParityReport
from perframe.errors import one_line
from perframe.export.cost import LayerCost
from perframe.profiler.result import BatchResult, Energy, Profile
from perframe.profiler.stats import Estimate
from perframe.profiler.summary import ModuleTotal, by_module
from perframe.progress import is_quiet
from perframe.report.measured import builds, device_times, measured_layers
from perframe.report.style import plain_table, with_interval
from perframe.report.units import percent, quantity, shape_text

# Wide enough for every column where there is no terminal to ask (a file, a CI log).
_PLAIN_WIDTH = 120
_BAR_CELLS = 10
_TOLD = {True: "yes", False: "no", None: "–"}


def show(renderable: RenderableType) -> None:
    """Print to stdout, in colour on a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    console.print(renderable)


def profile_tables(profile: Profile, top: int) -> RenderableType:
    """Show a profile: what was measured, what a frame costs per batch size, and where that is spent.

    Args:
        profile: The profile.
        top: Modules to show per batch size; 0 shows all.
    """
    engine = profile.engine
    threads = "" if engine.threads is None else f", {engine.threads} threads"
    device = profile.identity.get("device_name") or engine.device
    parts: list[RenderableType] = [
        _model_line(profile.model),
        Text(f"{engine.backend} {engine.version or ''}".rstrip())
        + Text(f", {engine.provider} provider, on {one_line(str(device))}{threads}"),
        Text(),
        _overview(profile.batches),
    ]
    if any(batch.paced for batch in profile.batches):
        parts.append(_paced(profile.batches))
    parts += [*device_times(profile.batches), *builds(profile.batches)]
    for batch in profile.batches:
        if batch.layers:
            parts += [_modules(batch, top), *measured_layers(batch, top)]
    parts += [
        severity_line("invalid", f"batch {each.batch}: {each.message} {each.hint}") for each in profile.failed
    ]
    if not is_quiet():
        parts += _notes(profile.batches)
    return Group(*parts)


def inspection(
    model: ModelInfo, costs: Sequence[LayerCost], notes: Sequence[str], *, every: bool
) -> RenderableType:
    """Show what a network is and what each layer costs.

    Args:
        model: The network.
        costs: Its layers.
        notes: What was found while reading it.
        every: Also layers without MACs.
    """
    table = plain_table("Cost per frame, by layer")
    table.add_column("module", no_wrap=True)
    table.add_column("op", no_wrap=True)
    for name in ("output", "g", "G", "MACs", "params", "activations", "intensity"):
        table.add_column(name, justify="right")
    for cost in costs:
        if every or cost.macs:
            table.add_row(
                _foreign(cost.module or cost.name),
                _foreign(cost.op),
                shape_text(cost.output_shape[1:]) if cost.output_shape else "–",
                _number(cost.groups),
                _number(cost.group_size),
                quantity(cost.macs, ""),
                quantity(cost.params, ""),
                quantity(cost.activations, ""),
                "–" if cost.intensity is None else f"{cost.intensity:.1f}",
            )
    return Group(_model_line(model), *_remarks(notes), Text(), table)


def conversion(done: Conversion) -> RenderableType:
    """Show what became of a checkpoint, or of an fp32 ONNX file."""
    size = quantity(done.model.size_bytes, "B")
    parts: list[RenderableType] = [
        Text(f"{done.model.path}: {done.precision}, opset {done.model.opset}, {size}"),
        *_remarks(done.notes),
    ]
    parts.append(Text("parity not checked", style="yellow") if done.parity is None else _parity(done.parity))
    if done.accuracy is not None:
        parts.append(_accuracy(done.accuracy, done.precision))
    return Group(*parts)


def _parity(report: ParityReport) -> Table:
    layers = report.worst_layer is not None
    allowed = "" if layers else f" (largest relative error allowed: {report.tolerance:.0e})"
    table = plain_table(f"Parity with fp32{allowed}")
    for name in ("batch", "max |error|", "relative", "cosine", "top-1 agreement"):
        table.add_column(name, justify="right")
    for each in report.differences:
        table.add_row(
            str(each.batch),
            f"{each.max_abs:.2e}",
            f"{each.max_rel:.2e}",
            f"{each.cosine:.9f}",
            percent(each.top1_agreement),
        )
    inputs = "calibration images" if report.seed is None else f"random inputs, seed {report.seed}"
    table.caption = f"{report.method}, on the CPU; {inputs}"
    if layers:
        table.caption += (
            f"\nlargest error a layer adds: {report.worst_layer_error:.1e} in {one_line(str(report.worst_layer))};"
            f" allowed {report.tolerance:.0e}"
        )
    return table


def _accuracy(accuracy: Accuracy, precision: str) -> Table:
    table = plain_table(f"Top-1 on {accuracy.exported.n} images of {one_line(accuracy.source)}")
    for name in ("", "share", "95 %", "images"):
        table.add_column(name, justify="right" if name else "left")
    for name, share in (
        ("fp32, as it was", accuracy.reference),
        (f"{precision}, exported", accuracy.exported),
        ("same answer", accuracy.agreement),
    ):
        interval = f"{percent(share.low)} to {percent(share.high)}"
        table.add_row(name, percent(share.value), interval, str(share.count))
    return table


def _model_line(model: ModelInfo) -> Text:
    return Text.assemble(
        (one_line(model.name), "bold"),
        f"   {_variant(model)}{quantity(model.params, '', 4)} parameters, {quantity(model.macs, '', 4)} MACs, ",
        f"{model.precision or 'unknown precision'}, input {shape_text(model.input_shape) or 'unknown'}",
    )


def _variant(model: ModelInfo) -> str:
    if model.group_size is not None and model.groups is not None:
        return f"E2GC with G = {model.group_size} and FgGC with g = {model.groups} coincide; "
    if model.group_size is not None:
        return f"E2GC, constant group size G = {model.group_size}; "
    return f"FgGC, constant number of groups g = {model.groups}; " if model.groups is not None else ""


def _overview(batches: Sequence[BatchResult]) -> Table:
    kind = batches[0].energy.kind if batches else "absent"
    table = plain_table("What a frame costs")
    names = ["batch", "p50", "p90", "p99", "mean ± 95 %", "frames/s"]
    energies: list[Callable[[Energy], str]] = []
    if kind != "absent":
        names += [f"EPF ({kind})", f"power ({kind})"]
        energies = [
            lambda e: _known_to(e.epf_j, e.relative_uncertainty, "J"),
            lambda e: with_interval(e.power_w, "W"),
        ]
    if any(batch.energy.epf_above_idle_j for batch in batches):
        names.append(f"EPF above idle ({kind})")
        energies.append(lambda e: with_interval(e.epf_above_idle_j, "J"))
    for name in names:
        table.add_column(name, justify="right")
    for batch in batches:
        cells = ["–"] * 5
        if latency := batch.latency:
            cells = [quantity(s, "s") for s in (latency.p50_s, latency.p90_s, latency.p99_s)]
            cells += [with_interval(latency.mean, "s"), f"{latency.frames_per_s:.1f}"]
        table.add_row(str(batch.batch), *cells, *(cell(batch.energy) for cell in energies))
    table.caption = _off_the_truth([batch.energy.absolute_uncertainty for batch in batches])
    return table


def _paced(batches: Sequence[BatchResult]) -> Table:
    fps = next(batch.paced.fps for batch in batches if batch.paced)
    table = plain_table(f"At a camera's pace: {fps:g} inferences per second, the gaps included")
    for name in ("batch", "p50", "p99", "late", "EPF", "EPF by closed form", "power"):
        table.add_column(name, justify="right")
    for batch in batches:
        if paced := batch.paced:
            table.add_row(
                str(batch.batch),
                quantity(paced.p50_s, "s"),
                quantity(paced.p99_s, "s"),
                percent(paced.missed_share),
                f"{_known_to(paced.epf_j, paced.relative_uncertainty, 'J')} ({batch.energy.kind})",
                quantity(paced.closed_form_epf_j, "J"),
                with_interval(paced.power_w, "W"),
            )
    table.caption = (
        "closed form: energy above idle of a saturated frame, plus idle power for the time between frames"
    )
    if off := _off_the_truth([batch.paced.absolute_uncertainty for batch in batches if batch.paced]):
        table.caption += f"\n{off}"
    return table


def _modules(batch: BatchResult, top: int) -> Table:
    totals = sorted(by_module(batch.layers), key=lambda total: -total.latency_s)
    shown = totals[:top] if top else totals
    has_energy = batch.energy.kind != "absent"
    goes = f"the time and the energy ({batch.energy.kind}) go" if has_energy else "the time goes"
    table = plain_table(f"Batch {batch.batch}: where {goes}, by module")
    has_kernels = any(total.tensor_cores is not None for total in totals)
    legend = {
        "overhead: part of the time, spent on layout changes and copies that the runtime added": any(
            total.overhead_s for total in totals
        ),
        "TC: whether the kernel is one for tensor cores, by its name": has_kernels,
    }
    table.caption = "\n".join(line for line, needed in legend.items() if needed) or None
    table.add_column("module", no_wrap=True)
    for name in ("time", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("overhead", "MACs", "g", "G", "intensity", *(["mJ/frame"] if has_energy else [])):
        table.add_column(name, justify="right", no_wrap=True)
    if has_kernels:
        table.add_column("TC", no_wrap=True)
    largest = totals[0].share
    for total in shown:
        cells = _module_cells(total, largest, has_energy)
        table.add_row(*cells, *([_TOLD[total.tensor_cores]] if has_kernels else []))
    if rest := totals[len(shown) :]:
        joules = [t.energy_j for t in rest]
        known = [each for each in joules if each is not None]
        tail = ["–" if len(known) < len(joules) else f"{sum(known) * 1e3:.3g}"] if has_energy else []
        table.add_row(
            Text(f"{len(rest)} more", style="dim"),
            quantity(sum(t.latency_s for t in rest), "s"),
            percent(sum(t.share for t in rest)),
            "",
            quantity(sum(t.overhead_s for t in rest) or None, "s"),
            quantity(sum(t.macs or 0 for t in rest), ""),
            *("", "", ""),
            *tail,
        )
    return table


def _module_cells(total: ModuleTotal, largest: float, energy: bool) -> list[str | Text]:
    name = "(not attributed)" if total.module is None else total.module or "(network)"
    bar = "█" * max(round(_BAR_CELLS * total.share / largest), 0) if largest else ""
    cells: list[str | Text] = [
        _foreign(name),
        quantity(total.latency_s, "s"),
        percent(total.share),
        Text(bar, style="cyan"),
        quantity(total.overhead_s, "s") if total.overhead_s else "–",
        quantity(total.macs, "") if total.macs else "–",
        _number(total.groups),
        _number(total.group_size),
        "–" if total.intensity is None else f"{total.intensity:.1f}",
    ]
    return [*cells, "–" if total.energy_j is None else f"{total.energy_j * 1e3:.3g}"] if energy else cells


def _remarks(notes: Sequence[str]) -> list[Text]:
    return [] if is_quiet() else [Text(one_line(note), style="dim") for note in notes]


def _notes(batches: Sequence[BatchResult]) -> list[Text]:
    """Each finding once, with the batch sizes it concerns."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for batch in batches:
        for quality in batch.quality:
            sizes = found.setdefault((quality.severity, quality.message, quality.hint), [])
            if batch.batch not in sizes:
                sizes.append(batch.batch)
    return [
        severity_line(
            severity,
            f"{'' if len(sizes) == len(batches) else f'batch {_listed(sizes)}: '}{message} {hint}",
        )
        for (severity, message, hint), sizes in found.items()
    ]


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))


def severity_line(severity: str, text: str) -> Text:
    """Show a finding in the colour of its severity."""
    styles = {"info": "dim", "warning": "yellow", "invalid": "bold red"}
    return Text.assemble((f"{severity}: ", styles[severity]), one_line(text))


def _off_the_truth(uncertainties: Sequence[float | None]) -> str | None:
    """What the ± of a table does not cover."""
    known = [each for each in uncertainties if each is not None]
    if not known:
        return None
    return f"± holds between runs on this device; the sensor may be off the truth by {max(known):.0%}"


def _known_to(estimate: Estimate | None, relative: float | None, unit: str) -> str:
    """A figure with all that is uncertain about it, what a sensor misses at the windows' ends included."""
    if estimate is None or relative is None:
        return with_interval(estimate, unit)
    return f"{quantity(estimate.value, unit)} ± {percent(relative)}"


def _foreign(name: str) -> Text:
    """A name out of a file: neither markup nor terminal escapes in it are obeyed."""
    return Text(one_line(name))


def _number(value: int | None) -> str:
    return "–" if value is None else str(value)
