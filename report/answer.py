"""The answer that a report begins with: which network should ship, per network family, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.candidates import OWN, Candidate, candidates
from perframe.analysis.choose import Choice, Limits, Preference, choose
from perframe.analysis.designs import Backbone, recognised
from perframe.analysis.results import Result
from perframe.analysis.series import Conditions, conditions_of
from perframe.report.conditions import told_conditions
from perframe.report.merit import backbone_name


@dataclass(frozen=True)
class Answer:
    """What should ship of networks that may replace each other.

    Attributes:
        what: What they have in common, for people.
        conditions: What they were measured under, less what may differ among them, such as the precision.
        batch: Frames per inference.
        candidates: The networks.
        choice: What `perframe choose` says of them, without limits.
        results: What was measured of them.
    """

    what: str
    conditions: Conditions
    batch: int
    candidates: tuple[Candidate, ...]
    choice: Choice
    results: tuple[Result, ...]

    @property
    def picked(self) -> Candidate:
        """The network that is recommended; without limits there always is one."""
        assert self.choice.recommended is not None, "every network keeps no limits"
        return self.choice.recommended

    @property
    def files(self) -> frozenset[Path]:
        """The results of the network that is recommended."""
        wanted = (self.picked.model.name, self.picked.model.precision)
        return frozenset(
            each.path for each in self.results if (each.model.name, each.model.precision) == wanted
        )


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
    groups: dict[tuple[Conditions, Backbone | None], list[Result]] = {}
    for result in results:
        if result.regime == "inference":
            found = recognised(result.model)
            groups.setdefault((_shared(result), found and found[0]), []).append(result)
    told = told_conditions(conditions for conditions, _ in groups)
    chosen = []
    for (conditions, backbone), members in groups.items():
        # Where there is more than one device, runtime or sensor, each has its own answer.
        where = f" on {told[conditions]}" if len(told) > 1 else ""
        chosen.append(_answers(_name(backbone, members) + where, conditions, members, table, batch))
    return tuple(sorted(chosen, key=lambda each: each[0].what))


def _shared(result: Result) -> Conditions:
    """What a network that may replace this one is measured under too."""
    conditions = conditions_of(result.model, result.regime, result.identity, result.energy_kind)
    shared = frozenset((key, value) for key, value in conditions.identity if key not in OWN)
    return replace(conditions, precision=None, identity=shared)


def _name(backbone: Backbone | None, results: Sequence[Result]) -> str:
    if backbone is not None:
        return backbone_name(backbone)
    names = {result.model.name for result in results}
    return names.pop() if len(names) == 1 else "Networks of no known family"


def _answers(
    what: str, conditions: Conditions, results: Sequence[Result], table: AccuracyTable, batch: int | None
) -> tuple[Answer, ...]:
    batches = sorted({result.batch for result in results})
    first = candidates(results, table, batch if batch in batches else None)[0].batch
    found = []
    for each in (first, *(other for other in batches if other != first)):
        networks = candidates(results, table, each)
        prefer: Preference = "epf" if all(network.epf_j is not None for network in networks) else "latency"
        choice = choose(networks, Limits(), prefer)
        members = tuple(result for result in results if result.batch == each)
        found.append(Answer(what, conditions, each, networks, choice, members))
    return tuple(found)
