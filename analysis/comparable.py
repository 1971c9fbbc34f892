"""Whether results may be compared: what must agree between them, and what must not be wrong with them.

What must agree is each profile's `identity` (device, settings, runtime, provider, threads, precision, input
shape, seed, regime, sensor and what it says of itself) and, per batch size, the input values. What two
commits change must not: the model's weights, its hash, the built engine and how long the build took. The
number and length of windows may differ too, since only means are compared.
"""

from collections.abc import Iterable, Iterator, Sequence

from perframe.analysis.metrics import Metric
from perframe.analysis.verdict import Difference, Moved
from perframe.errors import UsageError
from perframe.profiler.identity import differing
from perframe.profiler.result import BatchResult, Profile, Quality
from perframe.profiler.summary import by_module

INPUTS = "inputs_sha256"
MODEL = "model_sha256"
FPS = "fps"
ENERGY_KIND = "energy_kind"

_MOST_MOVED = 3


def batch_of(profile: Profile, batch: int) -> BatchResult | None:
    """Return what was measured at a batch size; `None` if it was not."""
    return next((each for each in profile.batches if each.batch == batch), None)


def differences(
    baseline: Sequence[Profile], current: Sequence[Profile], batch: int, metric: Metric
) -> tuple[Difference, ...]:
    """Return every key in which profiles differ that must agree, each once, in the order of the keys.

    Args:
        baseline: Runs of what is compared against; may be empty.
        current: Runs of what is judged.
        batch: The batch size, at which all of them were measured.
        metric: What shall be compared.
    """
    found: dict[str, Difference] = {}
    reference = (*baseline, *current)[0]
    for profile in (*baseline, *current):
        for difference in _between(reference, profile, batch, metric):
            found.setdefault(difference.key, difference)
    for side in (baseline, current):
        # The runs of one side are repetitions: how far different networks differ is no spread between runs.
        for profile in side[1:]:
            if profile.model.sha256 != side[0].model.sha256:
                found.setdefault(MODEL, Difference(MODEL, side[0].model.sha256, profile.model.sha256))
    return tuple(found.values())


def _between(one: Profile, other: Profile, batch: int, metric: Metric) -> Iterator[Difference]:
    for key in differing(one.identity, other.identity):
        yield Difference(key, one.identity.get(key), other.identity.get(key))
    first, second = batch_of(one, batch), batch_of(other, batch)
    if first is None or second is None:
        return
    if first.inputs_sha256 != second.inputs_sha256:
        yield Difference(INPUTS, first.inputs_sha256, second.inputs_sha256)
    paces = [each.paced.fps if each.paced is not None else None for each in (first, second)]
    if metric.paced and paces[0] != paces[1]:
        yield Difference(FPS, *paces)


def is_copy(one: Profile, other: Profile) -> bool:
    """Return whether two profiles hold the same measurement, at one batch size at least.

    No two measurements agree to the last digit, so equal windows are one, whatever else the files say. Those of the
    fake engine do agree, since it takes a repeatable time: of it, only what is equal throughout is a copy.
    """
    if one == other:
        return True
    if one.engine.backend == "fake":
        return False
    windows = {each.batch: each.energy.windows for each in one.batches if each.energy.windows}
    return any(windows.get(each.batch) == each.energy.windows for each in other.batches)


def refuse_unknown(ignore: Iterable[str], known: Iterable[str]) -> None:
    """Refuse to ignore a key that nothing can differ in: it is a slip, and whoever made it expects something of it.

    Args:
        ignore: The keys that may differ.
        known: Those that are compared.

    Raises:
        UsageError: One is not among them.
    """
    names = tuple(dict.fromkeys(known))
    for key in ignore:
        if key not in names:
            raise UsageError(
                f"--ignore {key}: nothing of that name is compared here.", f"Known: {', '.join(names)}."
            )


def invalid_findings(results: Sequence[BatchResult]) -> tuple[Quality, ...]:
    """Return what makes measurements invalid, each finding once."""
    found = (quality for result in results for quality in result.quality if quality.severity == "invalid")
    return tuple(dict.fromkeys(found))


def most_moved(
    baseline: Sequence[BatchResult], current: Sequence[BatchResult], metric: Metric
) -> tuple[Moved, ...]:
    """Return the modules whose cost rose most, the worst first; none where a side was measured without layers.

    Args:
        baseline: Runs of what is compared against.
        current: Runs of what is judged.
        metric: What rose: modules are compared in joules for an energy, where they have them, else in time.
    """
    joules = metric.is_energy and all(
        layer.energy_j is not None for result in (*baseline, *current) for layer in result.layers
    )
    before, after = (_by_module(side, joules) for side in (baseline, current))
    if not before or not after:
        return ()
    unit = "J" if joules else "s"
    moved = [
        Moved(name, unit, before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after))
    ]
    risen = sorted((each for each in moved if each.rise > 0.0), key=lambda each: -each.rise)
    return tuple(risen[:_MOST_MOVED])


def _by_module(results: Sequence[BatchResult], joules: bool) -> dict[str | None, float]:
    totals: dict[str | None, float] = {}
    measured = [result for result in results if result.layers]
    for result in measured:
        for total in by_module(result.layers):
            cost = total.energy_j if joules else total.latency_s
            totals[total.module] = totals.get(total.module, 0.0) + (cost or 0.0) / len(measured)
    return totals
