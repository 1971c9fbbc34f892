"""What one network costs in training and deployed, side by side: one batch size, one device, one sensor."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from perframe.analysis.effects import interval
from perframe.analysis.series import Network, Series
from perframe.profiler.result import EnergyKind
from perframe.profiler.stats import Estimate

# Training runs in another runtime than a deployed engine; everything else that both know of must agree.
_OF_THE_RUNTIME = frozenset(
    {
        "regime",
        "backend",
        "backend_version",
        "provider",
        "threads",
        "precision",
        "quantised",
        "seed",
        "transfers",
    }
)


@dataclass(frozen=True)
class NetworkInBoth:
    """One network in both regimes.

    Attributes:
        name: Which network.
        training_j: Joules per frame, forward and backward.
        deployed_j: Joules per frame of inference.
        ratio: The former over the latter.
    """

    name: str
    training_j: Estimate
    deployed_j: Estimate
    ratio: Estimate


@dataclass(frozen=True)
class SideBySide:
    """Networks in both regimes under the same conditions.

    Attributes:
        training: What was measured in training.
        deployed: What was measured in inference.
        sensor: Where the joules of both come from.
        energy_kind: Whether they are measured.
        networks: In the order of their MACs.
    """

    training: str
    deployed: str
    sensor: str | None
    energy_kind: EnergyKind
    networks: tuple[NetworkInBoth, ...]


def side_by_side(series: Iterable[Series]) -> tuple[SideBySide, ...]:
    """Set what networks cost in training beside what they cost deployed.

    Args:
        series: Of networks whose energy is known.
    """
    found = []
    for training, deployed in both_regimes(series):
        networks = tuple(_in_both(training, deployed))
        if networks:
            on = training.conditions
            found.append(SideBySide(training.where, deployed.where, on.sensor, on.energy_kind, networks))
    return tuple(found)


def both_regimes(series: Iterable[Series]) -> Iterator[tuple[Series, Series]]:
    """Give every two series, of training and of inference, that share batch size, device and sensor."""
    of_regime: dict[str, list[Series]] = {}
    for one in series:
        of_regime.setdefault(one.conditions.regime, []).append(one)
    for training, inference in product(of_regime.get("training", ()), of_regime.get("inference", ())):
        alike = (training.backbone, training.batch) == (inference.backbone, inference.batch)
        if alike and _on_one_sensor(training, inference):
            yield training, inference


def _on_one_sensor(one: Series, other: Series) -> bool:
    here, there = dict(one.conditions.identity), dict(other.conditions.identity)
    shared = (here.keys() & there.keys()) - _OF_THE_RUNTIME
    return bool(shared) and all(here[name] == there[name] for name in shared)


def _in_both(training: Series, deployed: Series) -> Iterator[NetworkInBoth]:
    columns = {_who(training, network): column for column, network in enumerate(training.networks)}
    for column, network in enumerate(deployed.networks):
        other = columns.get(_who(deployed, network))
        if other is None:
            continue
        epf_j, training_j = network.epf_j, training.networks[other].epf_j
        assert epf_j is not None and training_j is not None, "only networks of known energy are in the series"
        ratio = interval(
            training.epf_j[:, other] / deployed.epf_j[:, column], min(epf_j.runs, training_j.runs)
        )
        yield NetworkInBoth(network.model.name, training_j.estimate, epf_j.estimate, ratio)


def _who(series: Series, network: Network) -> tuple[str | None, ...]:
    """Weights make no difference to the cost of a known architecture; nothing else is known of others."""
    return (network.label,) if series.backbone else (network.model.name, network.model.sha256)
