"""The answer that a report begins with: which network should ship, per network family, and how sure that is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.candidates import OWN, Candidate, candidates
from perframe.analysis.choose import Choice, Limits, Preference, choose
from perframe.analysis.designs import recognised
from perframe.analysis.results import Result
from perframe.report.merit import backbone_name


@dataclass(frozen=True)
class Answer:
    """What should ship of networks that may replace each other.

    Attributes:
        what: What they have in common, for people.
        batch: Frames per inference.
        candidates: The networks.
        choice: What `perframe choose` says of them, without limits.
    """

    what: str
    batch: int
    candidates: tuple[Candidate, ...]
    choice: Choice

    @property
    def picked(self) -> Candidate:
        """The network that is recommended; without limits there always is one."""
        assert self.choice.recommended is not None, "every network keeps no limits"
        return self.choice.recommended


def answers(
    results: Sequence[Result], table: AccuracyTable, batch: int | None = None
) -> tuple[tuple[Answer, ...], ...]:
    """Choose per network family and set of conditions: first at the wanted batch size, then at the others.

    Networks are chosen by energy where it is known of all of them, else by latency. Results of training are left out:
    nothing is deployed that way.

    Args:
        results: Everything that was measured.
        table: How accurate the networks are.
        batch: The batch size that matters most; `None` takes the smallest that all were measured at.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        if result.regime == "inference":
            found = recognised(result.model)
            conditions = frozenset(item for item in result.identity.items() if item[0] not in OWN)
            groups.setdefault((conditions, found and found[0]), []).append(result)
    several = len({conditions for conditions, _ in groups}) > 1
    chosen = [_answers(members, table, batch, several) for members in groups.values()]
    return tuple(sorted(chosen, key=lambda each: each[0].what))


def _answers(
    results: Sequence[Result], table: AccuracyTable, batch: int | None, several: bool
) -> tuple[Answer, ...]:
    batches = sorted({result.batch for result in results})
    first = candidates(results, table, batch if batch in batches else None)[0].batch
    found = recognised(results[0].model)
    what = backbone_name(found[0]) if found else "Networks of no known family"
    if found is None and len({result.model.name for result in results}) == 1:
        what = results[0].model.name
    if several:
        # Where there is more than one device, runtime or sensor, each has its own answer.
        identity = results[0].identity
        device = identity.get("sensor_gpu") or identity.get("device_name")
        what += f" on {device}, {identity.get('backend')}"
    return tuple(
        _answer(what, candidates(results, table, each), each)
        for each in (first, *(other for other in batches if other != first))
    )


def _answer(what: str, networks: Iterable[Candidate], batch: int) -> Answer:
    every = tuple(networks)
    prefer: Preference = "epf" if all(each.epf_j is not None for each in every) else "latency"
    return Answer(what, batch, every, choose(every, Limits(), prefer))
