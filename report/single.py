"""One figure of a report by itself, for a paper."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from perframe.analysis.series import Conditions
from perframe.errors import BuildError, InputError, UnavailableError, UsageError
from perframe.files import atomic_path, write_text
from perframe.report.collect import Collected, Measured
from perframe.report.conditions import told_conditions
from perframe.report.figure import Figure
from perframe.report.figure_accuracy import against_accuracy
from perframe.report.figure_shape import beside_published
from perframe.report.figures_groups import against_groups, by_name
from perframe.report.merit import MERITS, best_known
from perframe.report.section_networks import layers_of, power_of, rooflines_of

OF_NETWORKS = ("epf", "latency", "shape", "pareto")
OF_ONE = ("layers", "roofline", "power")
ENDINGS = (".svg", ".pdf", ".png")
_NAMES = 8

_NEEDS = {
    "epf": "the energy per frame of two networks that follow one rule, E2GC or FgGC, or of two that follow none",
    "latency": "the time per frame of two networks that follow one rule, E2GC or FgGC, or of two that follow none",
    "shape": "two networks of the published grid at a published batch size (1, 4, 16)",
    "pareto": "two networks that the accuracy table knows",
    "layers": "a profile with layers",
    "roofline": "a profile with layers whose MACs are known",
    "power": "a profile whose windows have an energy",
}


def single_figure(collected: Collected, key: str, network: str | None = None) -> Figure:
    """Return one figure.

    Args:
        collected: What was read.
        key: Which one, of `OF_NETWORKS` or `OF_ONE`.
        network: Name of the network, for those of `OF_ONE`; `None` takes the one recommended first.

    Raises:
        UsageError: The results were measured under several sets of conditions, or several networks could be meant.
        InputError: They do not hold what the figure shows, or no network of that name.
    """
    figure = _of_one(collected, key, network) if key in OF_ONE else _of_networks(collected, key)
    if figure is None:
        raise InputError(
            f"{', '.join(map(str, collected.given))}: the figure {key!r} needs {_NEEDS[key]}.",
            "Name results that hold it, or draw another figure.",
        )
    return figure


def _of_networks(collected: Collected, key: str) -> Figure | None:
    _require_one(collected.conditions)
    series = collected.series
    if key == "pareto":
        return against_accuracy(series, collected.table)
    if key == "shape":
        return beside_published(series, best_known(series)) if series else None
    return against_groups(series, MERITS[key]) or by_name(series, MERITS[key])


def _of_one(collected: Collected, key: str, network: str | None) -> Figure | None:
    each = _recommended(collected) if network is None else _named(collected, network)
    if key == "power":
        return power_of(each, collected)
    return layers_of(each, collected) if key == "layers" else rooflines_of([each], collected)[0]


def _recommended(collected: Collected) -> Measured:
    # The same network on two devices is recommended twice; which is meant, only the user knows.
    _require_one(list(dict.fromkeys(several[0].conditions for several in collected.answers)))
    found = collected.recommended or collected.measured
    names = dict.fromkeys(each.profile.model.name for each in found)
    if len(names) > 1 and not collected.recommended:
        raise UsageError(
            f"{len(names)} networks, none of which is recommended: that takes inferences that can be judged.",
            f"Name one with --network: {_listed(names)}.",
        )
    return found[0]


def _named(collected: Collected, network: str) -> Measured:
    found = [each for each in collected.measured if each.profile.model.name == network]
    if not found:
        names = dict.fromkeys(each.profile.model.name for each in collected.measured)
        raise InputError(
            f"{network}: no such network among the results; there are {_listed(names)}.",
            "Give another --network.",
        )
    if len(found) > 1:
        choices = "; ".join(f"{each.runs[0][0]} ({collected.where(each.conditions)})" for each in found)
        raise UsageError(
            f"{network}: {len(found)} networks have this name: {choices}.",
            "Name the file of one of them instead of the folder.",
        )
    return found[0]


def _require_one(conditions: Sequence[Conditions]) -> None:
    if len(conditions) > 1:
        told = "; ".join(told_conditions(conditions).values())
        raise UsageError(
            f"Results of {len(conditions)} devices, runtimes or settings in one figure: {told}.",
            "Name the files of one of them.",
        )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _NAMES} more" if len(every) > _NAMES else ""
    return ", ".join(every[:_NAMES]) + more


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
