"""What a report is made of, read once: the figures of every file, and the profiles as far as they are shown."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.findings import Findings, find
from perframe.analysis.results import Results, Skipped, profile_files, read_results
from perframe.analysis.series import Conditions, Series, series_of
from perframe.analysis.sweep_plan import PLAN_FILE, SweepPlan, read_plan
from perframe.errors import InputError, PerframeError
from perframe.profiler.result import BatchResult, Profile, read_profile
from perframe.report.answer import Answer, answers

# Layers and windows of more are not read: a report of thousands must not take minutes.
MOST_PROFILES = 300


@dataclass(frozen=True)
class Measured:
    """One network under one set of conditions, measured once or more.

    Attributes:
        runs: Its profiles, with the files they come from.
    """

    runs: tuple[tuple[Path, Profile], ...]

    @property
    def profile(self) -> Profile:
        """The first run."""
        return self.runs[0][1]

    def at(self, batch: int) -> BatchResult:
        """Return the first run at a batch size, or at its smallest where that was not measured."""
        ordered = sorted(self.profile.batches, key=lambda each: (each.batch != batch, each.batch))
        return ordered[0]


@dataclass(frozen=True)
class Collected:
    """Everything a report shows.

    Attributes:
        given: What the user named.
        results: Every batch size of every file, as far as it can be judged.
        series: The same, side by side.
        answers: What should ship, per family; first at the batch size that matters most, then at the others.
        findings: What the results say to the published claims; `None` where nothing can be judged.
        measured: The profiles that were read as a whole, by network.
        unread: How many files were not.
        plan: Of the sweep that wrote them; `None` if it was none.
        table: How accurate the networks are.
        batch: The batch size of what is shown of single networks.
    """

    given: tuple[Path, ...]
    results: Results
    series: tuple[Series, ...]
    answers: tuple[tuple[Answer, ...], ...]
    findings: Findings | None
    measured: tuple[Measured, ...]
    unread: int
    plan: SweepPlan | None
    table: AccuracyTable
    batch: int

    @property
    def conditions(self) -> tuple[Conditions, ...]:
        """Every set of conditions, in the order of its name."""
        return tuple(dict.fromkeys(each.conditions for each in self.series))

    def under(self, conditions: Conditions) -> tuple[Series, ...]:
        """Return the series of one set of conditions."""
        return tuple(each for each in self.series if each.conditions == conditions)


def collect(given: Sequence[Path], table: AccuracyTable, batch: int | None = None) -> Collected:
    """Read what a report shows.

    Args:
        given: Folders of profiles, or profiles.
        table: How accurate the networks are.
        batch: The batch size that matters most; `None` takes the smallest that all were measured at.

    Raises:
        InputError: Nothing is there, nothing of it is a profile, none was measured at that batch size, or the user's
            accuracies are of none of the networks.
    """
    for path in given:
        if not path.exists():
            raise InputError(f"{path}: expected a folder of profiles, found none.", "Check the path.")
    files = list(dict.fromkeys(file.resolve() for path in given for file in profile_files(path)))
    whole, skipped = _whole(files[:MOST_PROFILES])
    results = _results(given)
    if not whole:
        why = f" {skipped[0].path.name}: {skipped[0].reason}" if skipped else ""
        raise InputError(
            f"{', '.join(map(str, given))}: expected profiles, found none.{why}",
            "Measure with perframe sweep, or with perframe profile -o.",
        )
    batches = sorted({each.batch for _, profile in whole for each in profile.batches})
    if batch is not None and batch not in batches:
        raise InputError(
            f"No result at batch {batch}; there are {', '.join(map(str, batches))}.",
            "Give another -b, or measure it.",
        )
    table.unknown(each.model for each in results.results)
    answered = answers(results.results, table, batch)
    named = {each.path.resolve() for each in results.skipped}
    return Collected(
        given=tuple(given),
        results=replace(
            results, skipped=(*results.skipped, *(each for each in skipped if each.path not in named))
        ),
        series=series_of(results.results),
        answers=answered,
        findings=find(results) if results.results else None,
        measured=_by_network(whole),
        unread=max(len(files) - MOST_PROFILES, 0),
        plan=_plan(given),
        table=table,
        batch=batch or (answered[0][0].batch if answered else batches[0]),
    )


def _whole(files: Sequence[Path]) -> tuple[list[tuple[Path, Profile]], list[Skipped]]:
    whole, skipped = [], []
    for file in files:
        try:
            profile = read_profile(file)
        except PerframeError as error:
            skipped.append(Skipped(file, error.message.removeprefix(f"{file}: ")))
            continue
        if profile.batches:
            whole.append((file, profile))
        else:
            skipped.append(Skipped(file, "it holds no batch size: the run was cut off."))
    return whole, skipped


def _results(given: Sequence[Path]) -> Results:
    """Everything that can be judged; it may be nothing, as of layers that were imported without windows."""
    found = []
    for path in given:
        try:
            found.append(read_results(path))
        except InputError:
            continue
    # A file that was named twice counts once.
    results = {(each.path.resolve(), each.batch): each for one in found for each in one.results}
    skipped = itertools.chain.from_iterable(one.skipped for one in found)
    return Results(given[0], tuple(results.values()), tuple(skipped))


def _by_network(whole: Sequence[tuple[Path, Profile]]) -> tuple[Measured, ...]:
    grouped: dict[tuple[object, ...], list[tuple[Path, Profile]]] = {}
    for path, profile in whole:
        key = (profile.model.name, profile.model.sha256, frozenset(profile.identity.items()))
        grouped.setdefault(key, []).append((path, profile))
    every = (Measured(tuple(runs)) for runs in grouped.values())
    return tuple(sorted(every, key=lambda each: _in_order(each.profile)))


def _in_order(profile: Profile) -> tuple[str, str, int, str]:
    """By family and rule, and then by number: G = 16 after G = 8."""
    model = profile.model
    number = model.group_size if model.group_size is not None else model.groups
    return (model.family, model.variant, number or 0, model.name)


def _plan(given: Sequence[Path]) -> SweepPlan | None:
    for path in given:
        if (path / PLAN_FILE).is_file():
            try:
                return read_plan(path)
            except PerframeError:
                return None
    return None
