"""One figure of a report by itself, for a paper."""

from collections.abc import Sequence
from pathlib import Path

from perframe.errors import BuildError, InputError, UnavailableError, UsageError
from perframe.files import atomic_path, write_text
from perframe.profiler.result import BatchResult, Profile
from perframe.report.collect import Collected
from perframe.report.figure import Figure
from perframe.report.figure_accuracy import against_accuracy
from perframe.report.figure_power import power_figure
from perframe.report.figure_shape import beside_published
from perframe.report.figures_groups import against_groups, by_name
from perframe.report.figures_layers import layers_figure, roofline_figure
from perframe.report.merit import MERITS, best_known

OF_NETWORKS = ("epf", "latency", "shape", "pareto")
OF_ONE = ("layers", "roofline", "power")
ENDINGS = (".svg", ".pdf", ".png")

_NEEDS = {
    "epf": "energy per frame of some network",
    "latency": "time per frame of some network",
    "shape": "two networks of the published grid at a published batch size (1, 4, 16)",
    "pareto": "a network that the accuracy table knows",
    "layers": "a profile with layers",
    "roofline": "a profile with layers whose MACs are known",
    "power": "a profile whose windows have an energy",
}


def single_figure(collected: Collected, key: str, network: str | None = None) -> Figure:
    """Return one figure.

    Args:
        collected: What was read.
        key: Which one, of `OF_NETWORKS` or `OF_ONE`.
        network: Name of the network, for those of `OF_ONE`; `None` takes the recommended one.

    Raises:
        UsageError: The results were measured under several sets of conditions.
        InputError: They do not hold what the figure shows, or no network of that name.
    """
    figure = _of_one(collected, key, network) if key in OF_ONE else _of_networks(collected, key)
    if figure is None:
        raise InputError(
            f"{', '.join(map(str, collected.given))}: the figure {key!r} needs {_NEEDS[key]}, and there is none.",
            "Name other results, or draw another figure.",
        )
    return figure


def _of_networks(collected: Collected, key: str) -> Figure | None:
    if len(collected.conditions) > 1:
        told = "; ".join(map(str, collected.conditions))
        raise UsageError(
            f"Results of {len(collected.conditions)} devices, runtimes or settings in one figure: {told}.",
            "Name the files of one of them.",
        )
    series = collected.series
    if key == "pareto":
        return against_accuracy(series, collected.table)
    if key == "shape":
        return beside_published(series, best_known(series)) if series else None
    return against_groups(series, MERITS[key]) or by_name(series, MERITS[key])


def _of_one(collected: Collected, key: str, network: str | None) -> Figure | None:
    names = [each.profile.model.name for each in collected.measured]
    wanted = network
    if wanted is None:
        wanted = collected.answers[0][0].picked.model.name if collected.answers else names[0]
    if wanted not in names:
        raise InputError(
            f"{wanted}: no such network among the results; there are {', '.join(names[:8])}.",
            "Give another --network.",
        )
    each = collected.measured[names.index(wanted)]
    profile, batch = each.profile, each.at(collected.batch)
    pairs: Sequence[tuple[Profile, BatchResult]] = [(profile, batch)]
    if key == "power":
        return power_figure([run for _, run in each.runs], batch.batch)
    return layers_figure(profile, batch) if key == "layers" else roofline_figure(pairs)


def write_figure(figure: Figure, path: Path, ppi: float = 300.0) -> None:
    """Write a figure as SVG, PDF or PNG, as the file's ending says.

    Args:
        figure: The figure.
        path: The file.
        ppi: Pixels per inch of a PNG.

    Raises:
        UsageError: The file has another ending.
        UnavailableError: PDF and PNG need a library that is not installed, or the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise UsageError(
            f"{path}: expected a file that ends in {', '.join(ENDINGS)}.",
            "Give -o with one of these endings.",
        )
    svg = figure.svg()
    if kind == ".svg":
        write_text(path, svg)
        return
    drawn = _drawn(svg, kind[1:], path, ppi)
    with atomic_path(path) as temporary:
        temporary.write_bytes(drawn)


def _drawn(svg: str, kind: str, path: Path, ppi: float) -> bytes:
    try:
        import typst
    except ImportError as error:
        raise UnavailableError(
            f"{path}: PDF and PNG are drawn by typst, which is not installed.",
            "pip install 'perframe[plots]', or give -o a name that ends in .svg.",
        ) from error
    # The figure is handed over as a value: nothing of it is ever read as typst's own language.
    page = (
        b'#set page(width: auto, height: auto, margin: 0pt)\n#image(bytes(sys.inputs.figure), format: "svg")'
    )
    try:
        drawn = typst.compile(
            page, format="pdf" if kind == "pdf" else "png", ppi=ppi, sys_inputs={"figure": svg}
        )
    except RuntimeError as error:
        raise BuildError(f"{path}: typst could not draw the figure: {error}.", "Write it as .svg.") from error
    return bytes(drawn)
