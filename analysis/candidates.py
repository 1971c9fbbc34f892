"""The networks that could ship, with what each costs at one batch size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.designs import recognised
from perframe.analysis.means import pooled_means
from perframe.analysis.results import Result
from perframe.engines.base import ModelInfo
from perframe.errors import InputError
from perframe.profiler.identity import differing
from perframe.profiler.stats import Estimate

OWN = frozenset({"precision", "quantised", "input_shape", "seed"})
"""Of the conditions those that are the network's own, or part of what is chosen."""


@dataclass(frozen=True)
class Candidate:
    """One network that could ship.

    Attributes:
        model: The network.
        batch: Frames per inference.
        runs: How often it was measured.
        epf_j: Joules per frame; `None` without a sensor.
        energy_kind: Whether they are measured.
        latency_s: Seconds per inference.
        top1_percent: Accuracy; `None` if the table does not know it.
    """

    model: ModelInfo
    batch: int
    runs: int
    epf_j: Estimate | None
    energy_kind: str
    latency_s: Estimate
    top1_percent: float | None

    @property
    def name(self) -> str:
        """Of the network, with its precision where it is not fp32."""
        precision = self.model.precision
        return self.model.name if precision in (None, "fp32") else f"{self.model.name} {precision}"


def candidates(results: Sequence[Result], table: AccuracyTable, batch: int | None) -> tuple[Candidate, ...]:
    """Return every network with what it costs at one batch size.

    Args:
        results: Of one device and sensor; those of the training regime are left out.
        table: How accurate they are.
        batch: Which batch size; `None` takes the smallest that all were measured at.

    Raises:
        InputError: There is no such batch size, or the results are of several devices, sensors or runtimes.
    """
    deployed = [result for result in results if result.regime == "inference"]
    batches = sorted({result.batch for result in deployed})
    if not batches or (batch is not None and batch not in batches):
        there = ", ".join(map(str, batches)) or "none"
        raise InputError(
            f"No result of an inference at batch {batch or 'any'}; there are {there}.",
            "Give another -b, or measure it.",
        )
    groups = _grouped([result for result in deployed if result.batch == _batch(deployed, batch)])
    _require_comparable([runs[0] for runs in groups.values()])
    alike: dict[tuple[object, ...], list[list[Result]]] = {}
    for runs in groups.values():
        # As `perframe.analysis.series` puts them together, so that a network has one interval wherever it is shown.
        known = recognised(runs[0].model)
        alike.setdefault((known and known[0], runs[0].model.precision), []).append(runs)
    return tuple(each for members in alike.values() for each in _candidates(members, table))


def _candidates(members: Sequence[Sequence[Result]], table: AccuracyTable) -> Iterator[Candidate]:
    epf_j, _ = pooled_means([[run.epf_j for run in runs] for runs in members])
    latency_s, _ = pooled_means([[run.latency_s for run in runs] for runs in members])
    for runs, energy, latency in zip(members, epf_j, latency_s, strict=True):
        assert latency is not None, "every window has a duration"
        yield Candidate(
            model=runs[0].model,
            batch=runs[0].batch,
            runs=len(runs),
            epf_j=None if energy is None else energy.estimate,
            energy_kind=runs[0].energy_kind,
            latency_s=latency.estimate,
            top1_percent=table.of(runs[0].model),
        )


def _batch(results: Sequence[Result], batch: int | None) -> int:
    if batch is not None:
        return batch
    measured: dict[tuple[str, str | None], set[int]] = {}
    for result in results:
        measured.setdefault((result.model.name, result.model.precision), set()).add(result.batch)
    common = set.intersection(*measured.values())
    return min(common or {result.batch for result in results})


def _grouped(results: Sequence[Result]) -> Mapping[tuple[str, str | None], list[Result]]:
    groups: dict[tuple[str, str | None], list[Result]] = {}
    for result in results:
        groups.setdefault((result.model.name, result.model.precision), []).append(result)
    return groups


def _require_comparable(results: Sequence[Result]) -> None:
    first = results[0]
    for other in results[1:]:
        unlike = sorted(key for key in differing(first.identity, other.identity) if key not in OWN)
        if unlike:
            raise InputError(
                f"{other.path}: measured under other conditions than {first.path.name}: {', '.join(unlike)}.",
                "Choose among results of one device, sensor and runtime: put the others into a folder of their own.",
            )
