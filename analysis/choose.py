"""Which network should ship: the Pareto front, the limits, and a recommendation that says how sure it is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from perframe.analysis.candidates import Candidate
from perframe.analysis.change import ASSUMED_SPREAD
from perframe.errors import InputError, UsageError
from perframe.profiler.stats import Estimate

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
        best_of_all: The best value of any network.
        by_of_all: The network that has it; `None` if the figure is known of none.
    """

    limit: str
    asked: float
    best: float | None
    by: str | None
    best_of_all: float | None
    by_of_all: str | None


@dataclass(frozen=True)
class Choice:
    """What should ship.

    Attributes:
        prefer: What it was chosen by.
        limited: Whether there were limits to keep.
        recommended: The network; `None` if none keeps the limits.
        tied: Networks that cannot be told apart from the best by the preferred figure, the best first.
        next_best: The best network that can be told apart; `None` if there is none.
        margin: How much worse that is than the best: relative, and in percentage points for accuracy. With its
            interval where there are intervals.
        feasible: Names of the networks that keep the limits.
        front: Names of the networks that no other beats in every figure.
        binding: Where none keeps the limits: which ones, and by how much.
        notes: What else there is to know.
    """

    prefer: Preference
    limited: bool
    recommended: Candidate | None
    tied: tuple[str, ...]
    next_best: str | None
    margin: Estimate | None
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
        return Choice(prefer, True, None, (), None, None, (), front, _binding(candidates, limits), notes)
    ranked = sorted(kept, key=lambda each: _figure(each, prefer))
    best = ranked[0]
    tied = [each for each in ranked if not _told_apart(best, each, prefer)]
    recommended = _among_equals(best, tied, prefer)
    rest = [each for each in ranked if each not in tied]
    return Choice(
        prefer=prefer,
        limited=limits != Limits(),
        recommended=recommended,
        tied=tuple(each.name for each in tied),
        next_best=rest[0].name if rest else None,
        margin=_margin(best, rest[0], prefer) if rest else None,
        feasible=tuple(each.name for each in ranked),
        front=front,
        binding=(),
        notes=(*notes, *_near(recommended, limits)),
    )


def _figure(candidate: Candidate, prefer: Preference) -> float:
    """What is to be small."""
    if prefer == "latency":
        return candidate.latency_s.value
    if prefer == "accuracy":
        return -candidate.top1_percent if candidate.top1_percent is not None else math.inf
    return candidate.epf_j.value if candidate.epf_j is not None else math.inf


def _estimate(candidate: Candidate, prefer: Preference) -> Estimate | None:
    return candidate.latency_s if prefer == "latency" else candidate.epf_j


def _told_apart(best: Candidate, other: Candidate, prefer: Preference) -> bool:
    if prefer == "accuracy":
        return _figure(other, prefer) - _figure(best, prefer) > _TOP1_PERCENT
    margin = _margin(best, other, prefer)
    return margin is None or (margin.value if margin.low is None else margin.low) > 0.0


def _margin(best: Candidate, other: Candidate, prefer: Preference) -> Estimate | None:
    """How much worse another is. Intervals are factors to either side, and so is that of a ratio."""
    if prefer == "accuracy":
        return Estimate(_figure(other, prefer) - _figure(best, prefer), None, None, 1)
    first, second = _estimate(best, prefer), _estimate(other, prefer)
    if first is None or second is None:
        return None
    ratio, n = second.value / first.value, min(first.n, second.n)
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(ratio - 1.0, None, None, n)
    factor = math.exp(math.hypot(math.log(first.high / first.low), math.log(second.high / second.low)) / 2.0)
    return Estimate(ratio - 1.0, ratio / factor - 1.0, ratio * factor - 1.0, n)


def _among_equals(best: Candidate, tied: Sequence[Candidate], prefer: Preference) -> Candidate:
    """Of what cannot be told apart because it is alike, not because little is known of it, the better otherwise."""
    if prefer == "accuracy":
        return min(tied, key=lambda each: _figure(each, "epf" if each.epf_j else "latency"))
    alike = [each for each in tied if _figure(each, prefer) <= (1.0 + _ALIKE) * _figure(best, prefer)]
    return max(alike, key=lambda each: (each.top1_percent or 0.0, -_figure(each, prefer)))


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
        best, by = _best(others, value_of, at_least)
        found.append(Binding(option, asked, best, by, *_best(candidates, value_of, at_least)))
    return tuple(found)


def _best(
    candidates: Sequence[Candidate], value_of: Callable[[Candidate], float | None], at_least: bool
) -> tuple[float, str] | tuple[None, None]:
    known = [(value, each.name) for each in candidates if (value := value_of(each)) is not None]
    return (max(known) if at_least else min(known)) if known else (None, None)


def _near(candidate: Candidate, limits: Limits) -> list[str]:
    """Say which limits a network keeps by its figure and not by its interval."""
    figures = {"--max-latency": (candidate.latency_s, limits.max_latency_s)}
    if candidate.epf_j is not None:
        figures["--max-epf"] = (candidate.epf_j, limits.max_epf_j)
    return [
        f"{candidate.name} may break {option}: the limit lies within its interval."
        for option, (estimate, limit) in figures.items()
        if limit is not None and estimate.high is not None and estimate.high > limit
    ]


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
