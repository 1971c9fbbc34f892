"""Results that may be set side by side: the networks measured at one batch size under the same conditions.

Every figure of a network is the mean over its runs, see `perframe.analysis.means`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from perframe.analysis.designs import Backbone, Design, design, recognised
from perframe.analysis.means import Mean, pooled_means
from perframe.analysis.results import Result
from perframe.arrays import Array
from perframe.engines.base import ModelInfo
from perframe.profiler.result import EnergyKind

Figure = Literal["epf_j", "latency_s"]

_DRAWS = 400


@dataclass(frozen=True)
class Network:
    """One network of a series.

    Attributes:
        model: What it is.
        epf_j: Joules per frame; `None` if they are not known.
        latency_s: Seconds per inference of the batch; `None` for published networks.
    """

    model: ModelInfo
    epf_j: Mean | None
    latency_s: Mean | None

    @property
    def label(self) -> str:
        """The rule its groups follow: `G=8` or `g=32`."""
        if self.model.group_size is not None:
            return f"G={self.model.group_size}"
        return f"g={self.model.groups}" if self.model.groups is not None else self.model.name

    @property
    def is_e2gc(self) -> bool:
        """Whether its group size is constant."""
        return self.model.group_size is not None

    @property
    def is_fggc(self) -> bool:
        """Whether its number of groups is constant."""
        return self.model.groups is not None


@dataclass(frozen=True)
class Conditions:
    """What the networks of a series were measured under.

    Attributes:
        device: What people call it.
        backend: The runtime; `None` for published figures.
        precision: Data type of the weights.
        regime: `inference` or `training`.
        sensor: Where joules come from.
        energy_kind: Whether they are measured.
        identity: Everything that must agree, by name.
    """

    device: str
    backend: str | None
    precision: str | None
    regime: str
    sensor: str | None
    energy_kind: EnergyKind
    identity: frozenset[tuple[str, str | float | None]] = field(repr=False)

    def __str__(self) -> str:
        parts = (
            self.device,
            self.backend,
            self.precision,
            None if self.regime == "inference" else self.regime,
        )
        return ", ".join(part for part in parts if part is not None)


@dataclass(frozen=True, eq=False)
class Series:
    """Networks that were measured at one batch size under the same conditions.

    Attributes:
        conditions: Under which.
        batch: Frames per inference.
        backbone: What they have in common; `None` where they are not of one kind.
        networks: In the order of their MACs.
        run_spread: Relative standard deviation between runs of one network, of its EPF where there is any.
        spread_source: Whether it was measured or assumed; `None` for published figures.
    """

    conditions: Conditions
    batch: int
    backbone: Backbone | None
    networks: tuple[Network, ...]
    run_spread: float | None = None
    spread_source: Literal["measured", "assumed"] | None = None

    @property
    def where(self) -> str:
        """What people call it."""
        family = f"{self.backbone.family}, " if self.backbone else ""
        width = f"width {self.backbone.width:g}, " if self.backbone and self.backbone.width != 1.0 else ""
        return f"{family}{width}batch {self.batch} on {self.conditions}"

    @cached_property
    def epf_j(self) -> Array:
        """Joules per frame: the means in the first row, then what they might as well be; one column per network.

        The rows are drawn from Student's t of every mean. Without errors there is the first row only. Requires that
        the energy of all networks is known.
        """
        means = self.means("epf_j")
        values = np.array([[mean.value for mean in means]])
        if any(mean.relative_error is None for mean in means):
            return values
        # The same in every run of the program, and another one for every series.
        random = np.random.default_rng(abs(hash(tuple(mean.value for mean in means))))
        shape = (_DRAWS, len(means))
        errors = np.array([mean.relative_error for mean in means])
        draws = random.standard_t(np.array([mean.degrees for mean in means]), shape) * errors
        # However far off, energy is positive.
        return np.vstack((values, values * np.maximum(1.0 + draws, 1e-3)))

    @cached_property
    def designs(self) -> tuple[Design, ...]:
        """The networks' layers. Requires a backbone."""
        known = [recognised(network.model) for network in self.networks]
        return tuple(design(found[0], found[1].layer_groups) for found in known if found is not None)

    def means(self, figure: Figure) -> list[Mean]:
        """Return one figure of every network. Requires that it is known of all."""
        found = [getattr(network, figure) for network in self.networks]
        return [mean for mean in found if mean is not None]

    def with_energy(self) -> "Series":
        """Return the series of the networks whose energy is known."""
        known = tuple(network for network in self.networks if network.epf_j is not None)
        return self if len(known) == len(self.networks) else replace(self, networks=known)


def series_of(results: Iterable[Result]) -> tuple[Series, ...]:
    """Group results into series, each of one backbone.

    Results of networks that are not of the two families stand in series of their own, without a backbone.
    """
    grouped: dict[tuple[Conditions, int, Backbone | None], list[Result]] = {}
    for result in results:
        found = recognised(result.model)
        conditions = conditions_of(result.model, result.regime, result.identity, result.energy_kind)
        key = (conditions, result.batch, found[0] if found else None)
        grouped.setdefault(key, []).append(result)
    made = [_series(*key, members) for key, members in grouped.items()]
    return tuple(sorted(made, key=lambda each: each.where))


def across_families(series: Iterable[Series]) -> tuple[Series, ...]:
    """Join series that differ only in the backbone; how far runs differ is the largest of them."""
    grouped: dict[tuple[Conditions, int], list[Series]] = {}
    for each in series:
        grouped.setdefault((each.conditions, each.batch), []).append(each)
    return tuple(
        Series(
            conditions,
            batch,
            None,
            tuple(sorted((network for one in members for network in one.networks), key=by_macs)),
            *known_spread(members),
        )
        for (conditions, batch), members in grouped.items()
    )


def known_spread(series: Iterable[Series]) -> tuple[float | None, Literal["measured", "assumed"] | None]:
    """Return the largest spread between runs in several series, and whether any of them was assumed."""
    known = [(one.run_spread, one.spread_source) for one in series if one.run_spread is not None]
    if not known:
        return None, None
    sources = {source for _, source in known}
    return max(spread for spread, _ in known), "assumed" if "assumed" in sources else "measured"


def conditions_of(
    model: ModelInfo, regime: str, identity: Mapping[str, str | float | None], energy_kind: EnergyKind
) -> Conditions:
    """Return what a network was measured under, from its result."""
    device = identity.get("sensor_gpu") or identity.get("gpu") or identity.get("device_name")
    backend, sensor = identity.get("backend"), identity.get("sensor")
    return Conditions(
        device=str(device or identity.get("device")),
        backend=None if backend is None else str(backend),
        precision=model.precision,
        regime=regime,
        sensor=None if sensor is None else str(sensor),
        energy_kind=energy_kind,
        identity=frozenset(identity.items()),
    )


def by_macs(network: Network) -> tuple[int, str]:
    """Return what networks of a series are sorted by."""
    return (network.model.macs or 0, network.model.name)


def _series(conditions: Conditions, batch: int, backbone: Backbone | None, results: list[Result]) -> Series:
    runs: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        model = result.model
        # Weights make no difference to the cost of one architecture.
        name = (model.group_size, model.groups) if backbone else (model.name, model.sha256)
        runs.setdefault(name, []).append(result)
    members = list(runs.values())
    epf_j, epf_spread = pooled_means([[each.epf_j for each in own] for own in members])
    latency_s, latency_spread = pooled_means([[each.latency_s for each in own] for own in members])
    networks = [
        Network(own[0].model, energy, latency)
        for own, energy, latency in zip(members, epf_j, latency_s, strict=True)
    ]
    spread = latency_spread if all(energy is None for energy in epf_j) else epf_spread
    return Series(
        conditions=conditions,
        batch=batch,
        backbone=backbone,
        networks=tuple(sorted(networks, key=by_macs)),
        run_spread=spread.deviation,
        spread_source="measured" if spread.degrees else "assumed",
    )
