"""What a report is made of, read once: the figures of every file, and the profiles as far as they are shown."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from perframe.analysis.accuracy_table import AccuracyTable
from perframe.analysis.findings import Findings, find
from perframe.analysis.results import Result, Results, Skipped, profile_files, read_results
from perframe.analysis.series import Conditions, Series, conditions_of, series_of
from perframe.analysis.sweep_plan import PLAN_FILE, SweepPlan, read_plan
from perframe.errors import InputError, PerframeError
from perframe.profiler.result import BatchResult, Profile, read_profile
from perframe.report.answer import Answer, answers
from perframe.report.conditions import told_conditions

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

    @property
    def conditions(self) -> Conditions:
        """What it was measured under."""
        one = self.profile
        return conditions_of(one.model, one.regime, one.identity, one.batches[0].energy.kind)

    @property
    def run(self) -> str:
        """Which of its runs is shown where one stands for all; empty where there is one."""
        return f"run 1 of {len(self.runs)}" if len(self.runs) > 1 else ""

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
        plans: Of the sweeps that wrote them, by their folders.
        table: How accurate the networks are.
        unknown: Entries of the user's accuracies that are none of the networks.
        batch: The batch size of what is shown of single networks.
    """

    given: tuple[Path, ...]
    results: Results
    series: tuple[Series, ...]
    answers: tuple[tuple[Answer, ...], ...]
    findings: Findings | None
    measured: tuple[Measured, ...]
    unread: int
    plans: Mapping[Path, SweepPlan]
    table: AccuracyTable
    unknown: tuple[str, ...]
    batch: int

    @property
    def conditions(self) -> tuple[Conditions, ...]:
        """Every set of conditions, in the order of its name."""
        return tuple(dict.fromkeys(each.conditions for each in self.series))

    def under(self, conditions: Conditions) -> tuple[Series, ...]:
        """Return the series of one set of conditions."""
        return tuple(each for each in self.series if each.conditions == conditions)

    @property
    def recommended(self) -> tuple[Measured, ...]:
        """The networks that the answers recommend, in their order, as far as they were read as a whole."""
        every = [several[0].files for several in self.answers]
        return tuple(
            each for files in every for each in self.measured if any(file in files for file, _ in each.runs)
        )

    @cached_property
    def _told(self) -> Mapping[Conditions, str]:
        return told_conditions((*self.conditions, *(each.conditions for each in self.measured)))

    def where(self, conditions: Conditions) -> str:
        """Return what to call a set of conditions; empty where there is one only, which needs no name."""
        return self._told[conditions] if len(self._told) > 1 else ""

    def shown(self, text: str) -> str:
        """Return text in which what was given goes by its name: a report is passed around, folders here are not."""
        for each in self.given:
            if each.is_absolute() and each.name:
                text = text.replace(str(each), each.name)
        return text


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
    files = _files(given)
    whole, skipped = _whole(files[:MOST_PROFILES])
    if not whole:
        if len(given) == 1 and given[0].is_file():
            # Of a file that was named there is more to say than that it is left out.
            read_profile(given[0])
        why = f" {skipped[0].path.name}: {skipped[0].reason}" if skipped else ""
        raise InputError(
            f"{', '.join(map(str, given))}: expected profiles, found none.{why}",
            "Measure with perframe sweep, or with perframe profile -o.",
        )
    results = _results(given)
    batches = sorted({each.batch for _, profile in whole for each in profile.batches})
    if batch is not None and batch not in batches:
        raise InputError(
            f"No result at batch {batch}; there are {', '.join(map(str, batches))}.",
            "Give another -b, or measure it.",
        )
    models = itertools.chain(
        (each.model for each in results.results), (profile.model for _, profile in whole)
    )
    answered = answers(results.results, table, batch)
    named = {each.path.resolve() for each in results.skipped}
    return Collected(
        given=tuple(given),
        results=replace(
            results,
            skipped=(*results.skipped, *(each for each in skipped if each.path.resolve() not in named)),
        ),
        series=series_of(results.results),
        answers=answered,
        findings=find(results) if results.results else None,
        measured=_by_network(whole),
        unread=max(len(files) - MOST_PROFILES, 0),
        plans=_plans(given, files),
        table=table,
        unknown=tuple(table.unknown(models)),
        batch=batch or (answered[0][0].batch if answered else batches[0]),
    )


def _files(given: Iterable[Path]) -> list[Path]:
    """Every file that may be a profile, once, by the first of its names."""
    found: dict[Path, Path] = {}
    for path in given:
        for file in profile_files(path):
            found.setdefault(file.resolve(), file)
    return list(found.values())


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
    results: dict[tuple[Path, int], Result] = {}
    skipped: dict[tuple[Path, str], Skipped] = {}
    for path in given:
        try:
            found = read_results(path)
        except InputError:
            continue
        # A file that was named twice counts once.
        for each in found.results:
            results.setdefault((each.path.resolve(), each.batch), each)
        for left in found.skipped:
            skipped.setdefault((left.path.resolve(), left.reason), left)
    return Results(given[0], tuple(results.values()), tuple(skipped.values()))


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


def _plans(given: Sequence[Path], files: Iterable[Path]) -> dict[Path, SweepPlan]:
    """The plans of the sweeps that were given whole: a sweep writes into folders of its runs, beside its plan."""
    found: dict[Path, SweepPlan] = {}
    for folder in dict.fromkeys(file.parent.parent for file in files):
        inside = any(each == folder or each in folder.parents for each in given)
        if inside and (folder / PLAN_FILE).is_file():
            try:
                found[folder] = read_plan(folder)
            except PerframeError:
                # Its results are reproduced one by one.
                continue
    return found
