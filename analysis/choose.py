"""Which network should ship: the Pareto front, the limits, and a recommendation that says how sure it is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from perframe.analysis.candidates import Candidate
from perframe.analysis.change import ASSUMED_SPREAD
from perframe.errors import InputError, UsageError

Preference = Literal["epf", "accuracy", "latency"]

# Difference of two accuracies that no data set of 50,000 images tells apart: about two standard errors.
_TOP1_PERCENT = 0.4
# So much more energy or time is not given away for accuracy that was not asked for.
_ALIKE = 0.05


@dataclass(frozen=True)
class Limits:
    """What a network must keep to; `None` is no limit.

    Attributes:
        min_top1_percent: Least accuracy.
        max_latency_s: Most seconds per inference.
        max_epf_j: Most joules per frame.
        max_params: Most parameters.
    """

    min_top1_percent: float | None = None
    max_latency_s: float | None = None
    max_epf_j: float | None = None
    max_params: float | None = None


@dataclass(frozen=True)
class Binding:
    """A limit that no network keeps together with the other limits.

    Attributes:
        limit: Which one, as the command line has it.
        asked: Its value.
        best: The best value among the networks that keep the other limits.
        by: The network that has it; `None` if none keeps the others.
    """

    limit: str
    asked: float
    best: float | None
    by: str | None


@dataclass(frozen=True)
class Choice:
    """What should ship.

    Attributes:
        prefer: What it was chosen by.
        recommended: The network; `None` if none keeps the limits.
        why: In a sentence.
        tied: Networks that cannot be told apart from the best by the preferred figure, the best first.
        next_best: The best network that can be told apart; `None` if there is none.
        margin: How much worse that is, relative.
        feasible: Names of the networks that keep the limits.
        front: Names of the networks that no other beats in every figure.
        binding: Where none keeps the limits: which ones, and by how much.
        notes: What else there is to know.
    """

    prefer: Preference
    recommended: Candidate | None
    why: str
    tied: tuple[str, ...]
    next_best: str | None
    margin: float | None
    feasible: tuple[str, ...]
    front: tuple[str, ...]
    binding: tuple[Binding, ...]
    notes: tuple[str, ...]


def choose(candidates: Sequence[Candidate], limits: Limits, prefer: Preference = "epf") -> Choice:
    """Choose among networks measured at one batch size.

    The best by the preferred figure is found among those that keep the limits. Those that cannot be told apart from it
    are as good, and the most accurate of them is recommended (for `prefer` accuracy, the cheapest).

    Args:
        candidates: At least one.
        limits: What they must keep to.
        prefer: By which figure.

    Raises:
        UsageError: A limit or preference is about something that was not measured for any of them.
    """
    _require_known(candidates, limits, prefer)
    kept = [each for each in candidates if not _broken(each, limits)]
    front = tuple(each.name for each in _front(candidates))
    notes = _notes(candidates)
    if not kept:
        binding = _binding(candidates, limits)
        return Choice(prefer, None, _no_network(binding), (), None, None, (), front, binding, notes)
    ranked = sorted(kept, key=lambda each: _figure(each, prefer))
    best = ranked[0]
    tied = [each for each in ranked if not _told_apart(best, each, prefer)]
    recommended = _among_equals(best, tied, prefer)
    rest = [each for each in ranked if each not in tied]
    margin = None
    if rest:
        value, other = _figure(best, prefer), _figure(rest[0], prefer)
        margin = other / value - 1.0 if prefer != "accuracy" else (other - value) / abs(value)
    return Choice(
        prefer=prefer,
        recommended=recommended,
        why=_why(recommended, tied, rest, margin, prefer, limited=limits != Limits()),
        tied=tuple(each.name for each in tied),
        next_best=rest[0].name if rest else None,
        margin=margin,
        feasible=tuple(each.name for each in ranked),
        front=front,
        binding=(),
        notes=notes,
    )


def _figure(candidate: Candidate, prefer: Preference) -> float:
    """What is to be small."""
    if prefer == "latency":
        return candidate.latency_s.value
    if prefer == "accuracy":
        return -candidate.top1_percent if candidate.top1_percent is not None else math.inf
    return candidate.epf_j.value if candidate.epf_j is not None else math.inf


def _told_apart(best: Candidate, other: Candidate, prefer: Preference) -> bool:
    if prefer == "accuracy":
        return _figure(other, prefer) - _figure(best, prefer) > _TOP1_PERCENT
    first, second = (best.latency_s, other.latency_s) if prefer == "latency" else (best.epf_j, other.epf_j)
    if first is None or second is None:
        return True
    halves = [(e.high - e.low) / 2.0 for e in (first, second) if e.low is not None and e.high is not None]
    return abs(second.value - first.value) > math.hypot(*halves)


def _among_equals(best: Candidate, tied: Sequence[Candidate], prefer: Preference) -> Candidate:
    """Of what cannot be told apart because it is alike, not because little is known of it, the better otherwise."""
    if prefer == "accuracy":
        return min(tied, key=lambda each: _figure(each, "epf" if each.epf_j else "latency"))
    alike = [each for each in tied if _figure(each, prefer) <= (1.0 + _ALIKE) * _figure(best, prefer)]
    return max(alike, key=lambda each: (each.top1_percent or 0.0, -_figure(each, prefer)))


def _why(
    recommended: Candidate,
    tied: Sequence[Candidate],
    rest: Sequence[Candidate],
    margin: float | None,
    prefer: Preference,
    *,
    limited: bool,
) -> str:
    what = {"epf": "energy per frame", "accuracy": "top-1 accuracy", "latency": "latency"}[prefer]
    best = {"epf": "lowest", "accuracy": "highest", "latency": "lowest"}[prefer]
    among = " of those that keep the limits" if limited else ""
    text = f"{recommended.name} has the {best} {what}{among}"
    if len(tied) > 1:
        others = ", ".join(each.name for each in tied if each is not recommended)
        if recommended is not tied[0]:
            by = "the cheapest" if prefer == "accuracy" else "the most accurate"
            text = f"{recommended.name} is {by} of those with nearly the {best} {what}{among}"
        text += f"; it cannot be told apart from {others}"
    if rest and margin is not None:
        text += f"; {rest[0].name} is {abs(margin):.1%} worse"
    return text + "."


_LIMITS: dict[str, tuple[str, Callable[[Candidate], float | None], bool]] = {
    "min_top1_percent": ("--min-top1", lambda each: each.top1_percent, True),
    "max_latency_s": ("--max-latency", lambda each: each.latency_s.value, False),
    "max_epf_j": ("--max-epf", lambda each: each.epf_j.value if each.epf_j else None, False),
    "max_params": ("--max-params", lambda each: each.model.params, False),
}


def _broken(candidate: Candidate, limits: Limits) -> list[str]:
    """Names of the limits that it does not keep; what is not known keeps none."""
    broken = []
    for name, (_, value_of, at_least) in _LIMITS.items():
        limit, value = getattr(limits, name), value_of(candidate)
        if limit is not None and (value is None or (value < limit if at_least else value > limit)):
            broken.append(name)
    return broken


def _binding(candidates: Sequence[Candidate], limits: Limits) -> tuple[Binding, ...]:
    found = []
    for name, (option, value_of, at_least) in _LIMITS.items():
        asked = getattr(limits, name)
        if asked is None:
            continue
        others = [each for each in candidates if set(_broken(each, limits)) <= {name}]
        known = [(value, each.name) for each in others if (value := value_of(each)) is not None]
        best, by = (max(known) if at_least else min(known)) if known else (None, None)
        found.append(Binding(option, asked, best, by))
    return tuple(found)


def _no_network(binding: Sequence[Binding]) -> str:
    alone = [each for each in binding if each.best is not None]
    if not alone:
        return "No network keeps the limits, and none keeps all of them but one."
    return "No network keeps the limits: " + "; ".join(
        f"with the others kept, {each.limit} would have to be {each.best:.4g} ({each.by})" for each in alone
    )


def _front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other is at least as good as in everything and better in something."""
    points = {each.name: _point(each) for each in candidates}
    return [
        each
        for each in candidates
        if not any(
            other != points[each.name] and all(a <= b for a, b in zip(other, points[each.name], strict=True))
            for other in points.values()
        )
    ]


def _point(candidate: Candidate) -> tuple[float, ...]:
    return (
        _figure(candidate, "epf"),
        _figure(candidate, "latency"),
        _figure(candidate, "accuracy"),
        float(candidate.model.params or math.inf),
    )


def _require_known(candidates: Sequence[Candidate], limits: Limits, prefer: Preference) -> None:
    if not candidates:
        raise InputError("There is nothing to choose from.", "Measure with perframe sweep.")
    energy = prefer == "epf" or limits.max_epf_j is not None
    if energy and all(each.epf_j is None for each in candidates):
        raise UsageError(
            "No result has an energy per frame to choose by.",
            "Measure with a --sensor, or choose with --prefer latency.",
        )
    accuracy = prefer == "accuracy" or limits.min_top1_percent is not None
    if accuracy and all(each.top1_percent is None for each in candidates):
        raise UsageError(
            "The accuracy table knows none of the networks.", "Give --accuracy TABLE.csv with their names."
        )


def _notes(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    notes = []
    if any(each.energy_kind == "modelled" for each in candidates):
        notes.append("Energy is modelled: no sensor was read, and the choice by it is an illustration.")
    if max(each.runs for each in candidates) == 1:
        notes.append(
            f"Each network was measured once: that runs differ by {ASSUMED_SPREAD:.1%} is assumed, not measured."
        )
    if uneven := _quantised_unlike(candidates):
        notes.append(
            f"In int8 networks different layers compute in int8 ({', '.join(uneven)}): not only G and g differ."
        )
    if unknown := [each.name for each in candidates if each.top1_percent is None]:
        notes.append(f"No accuracy is known of {len(unknown)}: {', '.join(unknown[:4])}.")
    return tuple(notes)


def _quantised_unlike(candidates: Sequence[Candidate]) -> list[str]:
    """Names of the int8 networks whose quantised layers are not those of the first."""
    quantised = [each for each in candidates if each.model.quantised]
    return [
        each.name
        for each in quantised
        if each.model.family == quantised[0].model.family
        and each.model.quantised != quantised[0].model.quantised
    ]
