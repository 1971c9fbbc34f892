"""The paper's own figures, recomputed from its own tables: which of them follow, and from which cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from perframe.analysis.effects import MAC_MISMATCH
from perframe.analysis.published import PublishedEpf, published_epf
from perframe.export.architecture import count, make_architecture


@dataclass(frozen=True)
class PaperFigure:
    """One printed figure.

    Attributes:
        statement: What is said of it.
        where: Where it is printed.
        printed: As printed, per cent.
        formula: What it is the value of.
        recomputed: That value, per cent.
        reproduces: Whether it is the printed one when rounded as printed.
        cells: Everything that was compared and does give the printed figure, where it is a saving of energy.
    """

    statement: str
    where: str
    printed: str
    formula: str
    recomputed: float
    reproduces: bool
    cells: tuple[str, ...]


def paper_figures() -> tuple[PaperFigure, ...]:
    """Recompute the savings that the paper and its slides state.

    Both headline pairs are E2GC with G = 8 in the place of FgGC with g = 32, on the P100. The batch size is not stated;
    it is 1 where the printed figure is reproduced.
    """
    abstract, slides = "abstract", "slides"
    return (
        _energy("mobilenet_v1", "10.8", f"{abstract}, {slides}"),
        _params("mobilenet_v1", "8.7", slides),
        _energy("resnext50", "4.73", abstract),
        _energy("resnext50", "4", slides),
        _params("resnext50", "3.5", slides),
    )


def _energy(family: str, printed: str, where: str) -> PaperFigure:
    e2gc, fggc = _headline_pair(family)
    return _figure(
        f"{family}: energy saved by E2GC at comparable MACs",
        where,
        printed,
        "1 - EPF(G=8) / EPF(g=32) on P100 at batch 1",
        _saving(e2gc, fggc),
        tuple(_giving(family, printed)),
    )


def _params(family: str, printed: str, where: str) -> PaperFigure:
    e2gc, fggc = _headline_pair(family)
    return _figure(
        f"{family}: parameters saved by E2GC at comparable MACs",
        where,
        printed,
        "1 - parameters(G=8) / parameters(g=32)",
        100.0 * (1.0 - e2gc.params_m / fggc.params_m),
        (),
    )


def _figure(
    statement: str, where: str, printed: str, formula: str, recomputed: float, cells: tuple[str, ...]
) -> PaperFigure:
    return PaperFigure(
        statement, where, printed, formula, recomputed, _as_printed(recomputed, printed) == printed, cells
    )


def _giving(family: str, printed: str) -> Iterator[str]:
    """Every pair of comparable MACs whose saving is the printed one when rounded as printed."""
    cells = [cell for cell in published_epf() if cell.family == family]
    for e2gc in cells:
        for fggc in cells:
            same = (e2gc.device, e2gc.batch) == (fggc.device, fggc.batch)
            if (
                same
                and (e2gc.variant, fggc.variant) == ("E2GC", "FgGC")
                and (mismatch := _mismatch(e2gc, fggc)) <= MAC_MISMATCH
                and _as_printed(_saving(e2gc, fggc), printed) == printed
            ):
                yield (
                    f"G={e2gc.number} for g={fggc.number} on {e2gc.device} at batch {e2gc.batch}"
                    f" (MACs {100.0 * mismatch:.1f} % apart)"
                )


def _mismatch(one: PublishedEpf, other: PublishedEpf) -> float:
    fewer, more = sorted(_macs(cell.family, cell.variant, cell.number) for cell in (one, other))
    return 1.0 - fewer / more


def _as_printed(value: float, printed: str) -> str:
    return f"{value:.{len(printed.partition('.')[2])}f}"


def _saving(e2gc: PublishedEpf, fggc: PublishedEpf) -> float:
    return 100.0 * (1.0 - e2gc.epf_j / fggc.epf_j)


@lru_cache(maxsize=64)
def _macs(family: str, variant: str, number: int) -> int:
    """Counted: the printed MACs of ResNeXt-50 have three digits."""
    return count(make_architecture(family, **{"group_size" if variant == "E2GC" else "groups": number}))[1]


def _headline_pair(family: str) -> tuple[PublishedEpf, PublishedEpf]:
    """The pair that the authors quote: G = 8 and g = 32, of about as many MACs."""
    return _cell(family, "E2GC", 8, "P100", 1), _cell(family, "FgGC", 32, "P100", 1)


def _cell(family: str, variant: str, number: int, device: str, batch: int) -> PublishedEpf:
    wanted = (family, variant, number, device, batch)
    return next(
        cell
        for cell in published_epf()
        if (cell.family, cell.variant, cell.number, cell.device, cell.batch) == wanted
    )
