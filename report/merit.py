"""What is looked at of every network, energy or time per frame, and what people call networks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from perframe.analysis.designs import Backbone
from perframe.analysis.series import Network, Series
from perframe.profiler.stats import Estimate
from perframe.report.figure import Cell, DataTable, measured, number
from perframe.report.units import quantity, span

FAMILY_NAMES = {"mobilenet_v1": "MobileNet-V1", "resnext50": "ResNeXt-50"}


@dataclass(frozen=True)
class Merit:
    """What is looked at of every network.

    Attributes:
        key: Name on the command line.
        name: What people call it.
        unit: Without prefix.
        of: Its value and interval, given the network and the batch size; `None` if they are not known.
    """

    key: str
    name: str
    unit: str
    of: Callable[[Network, int], Estimate | None]

    def known(self, series: Series) -> list[tuple[Network, Estimate]]:
        """Return the networks of a series of which it is known."""
        found = [(network, self.of(network, series.batch)) for network in series.networks]
        return [(network, estimate) for network, estimate in found if estimate is not None]

    def ends(self, series: Sequence[Series]) -> list[float]:
        """Return everything that an axis must hold: values and the ends of their intervals."""
        estimates = [estimate for each in series for _, estimate in self.known(each)]
        return [end for e in estimates for end in (e.value, e.low, e.high) if end is not None]

    def stamp(self, series: Sequence[Series]) -> str:
        """Return the word that every figure of modelled energy carries."""
        modelled = self.unit == "J" and any(each.conditions.energy_kind == "modelled" for each in series)
        return "modelled" if modelled else ""

    def label(self, series: Sequence[Series]) -> str:
        """Return the label of its axis."""
        return f"{self.name} ({stamp})" if (stamp := self.stamp(series)) else self.name

    def told(self, name: str, estimate: Estimate) -> str:
        """Return a value with its interval in words."""
        ends = interval(estimate, self.unit)
        return f"{name}: {quantity(estimate.value, self.unit)}{f' ({ends})' if ends else ''}"


def _latency(network: Network, batch: int) -> Estimate | None:
    if network.latency_s is None:
        return None
    each = network.latency_s.estimate
    low, high = (None if end is None else end / batch for end in (each.low, each.high))
    return Estimate(each.value / batch, low, high, each.n)


EPF = Merit(
    "epf", "Energy per frame", "J", lambda network, _: network.epf_j.estimate if network.epf_j else None
)
LATENCY = Merit("latency", "Time per frame", "s", _latency)
MERITS = {merit.key: merit for merit in (EPF, LATENCY)}


def best_known(series: Sequence[Series]) -> Merit:
    """Return energy, or time where no energy is known."""
    return EPF if any(EPF.known(each) for each in series) else LATENCY


def interval(estimate: Estimate | None, unit: str) -> str:
    """Return an interval as people write it; empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return span(estimate.low, estimate.high, unit)


def backbone_name(backbone: Backbone) -> str:
    """Return what people call a backbone."""
    parts = [FAMILY_NAMES[backbone.family]]
    if backbone.width != 1.0:
        parts.append(f"width {backbone.width:g}")
    if backbone.input_size != (224, 224):
        parts.append(f"{backbone.input_size[0]} x {backbone.input_size[1]}")
    if backbone.classes != 1000:
        parts.append(f"{backbone.classes} classes")
    return ", ".join(parts)


def rule_name(network: Network) -> str:
    """Return the rule that a network's groups follow: `G = 8`."""
    return network.label.replace("=", " = ")


def by_backbone(series: Sequence[Series]) -> Iterator[tuple[Backbone, list[Series]]]:
    """Give the backbones with their series by batch size; networks of no known family are left out."""
    grouped: dict[Backbone, list[Series]] = {}
    for each in sorted(series, key=lambda one: one.batch):
        if each.backbone is not None:
            grouped.setdefault(each.backbone, []).append(each)
    yield from sorted(grouped.items(), key=lambda item: backbone_name(item[0]))


def points_of(series: Series, merit: Merit, rule: str) -> list[tuple[int, Network, Estimate]]:
    """Return the networks of one rule, `E2GC` or `FgGC`, in the order of their G or g."""
    found = []
    for network, estimate in merit.known(series):
        n = network.model.group_size if rule == "E2GC" else network.model.groups
        if n is not None:
            found.append((n, network, estimate))
    return sorted(found, key=lambda point: point[0])


def everything_measured(series: Sequence[Series]) -> DataTable:
    """Return everything that was measured of every network, whole."""
    rows = []
    ordered = [each for _, members in by_backbone(series) for each in members]
    for each in (*ordered, *(other for other in series if other.backbone is None)):
        for network in each.networks:
            name = network.model.name
            if each.backbone is not None:
                name = f"{backbone_name(each.backbone)}, {rule_name(network)}"
            epf, latency = EPF.of(network, each.batch), LATENCY.of(network, each.batch)
            rows.append(
                (
                    Cell(name),
                    number(each.batch),
                    measured(epf, "J"),
                    _ends(epf, "J"),
                    measured(latency, "s"),
                    _ends(latency, "s"),
                    number(None if latency is None else 1.0 / latency.value, ".1f"),
                    measured(network.model.macs, ""),
                    measured(network.model.params, ""),
                    number(network.latency_s.runs if network.latency_s else None),
                )
            )
    headings = (
        "network",
        "batch",
        EPF.label(series),
        "95 %",
        LATENCY.name,
        "95 %",
        "frames/s",
        "MACs",
        "params",
        "runs",
    )
    return DataTable("Everything measured, whole networks", headings, tuple(rows))


def _ends(estimate: Estimate | None, unit: str) -> Cell:
    return Cell(interval(estimate, unit) or "–", estimate.low if estimate else None)
