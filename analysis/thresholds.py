"""Thresholds from the command line and from a TOML file.

In the file, each threshold is a table of its own:

    [[threshold]]
    metric = "epf"
    max-increase = "2%"
    batch = [1, 4]       # left out: every batch size

    [[threshold]]
    metric = "latency-p99"
    max = "5ms"
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from perframe.analysis.metrics import METRICS, metric_named
from perframe.analysis.quantities import parse_quantity
from perframe.analysis.toml_file import read_toml
from perframe.analysis.verdict import Threshold
from perframe.errors import InputError, UsageError

_TABLE = "threshold"
_KEYS = frozenset({"metric", "max-increase", "max", "batch"})


def thresholds_from(
    metrics: Sequence[str],
    max_increase: str | None,
    maxima: Mapping[str, str | None],
    batches: Sequence[int],
    file: Path | None,
) -> tuple[Threshold, ...]:
    """Return all thresholds that a command line asks for.

    Args:
        metrics: What `max_increase` holds for; empty is "epf".
        max_increase: Such as "2%"; `None` for no relative threshold.
        maxima: Absolute limits such as "300mJ", by metric; `None` for no limit.
        batches: Batch sizes they hold for; empty for all that were measured.
        file: More of them, in TOML, which may name their own batch sizes.

    Raises:
        UsageError: There is none, so that nothing could ever fail; or one is not written as one.
        InputError: The file is not usable.
    """
    if metrics and max_increase is None:
        raise UsageError(
            f"--metric {metrics[0]}: it has no limit.", "Give --max-increase 2%, or an absolute --max."
        )
    found = [
        _threshold(name, max_increase, None, tuple(batches), "--max-increase")
        for name in (metrics or ("epf",))
        if max_increase is not None
    ]
    found += [
        _threshold(name, None, maximum, tuple(batches), f"--max-{name}")
        for name, maximum in maxima.items()
        if maximum is not None
    ]
    if file is not None:
        found += [replace(each, batches=each.batches or tuple(batches)) for each in read_thresholds(file)]
    if not found:
        raise UsageError(
            "Nothing to judge by: no threshold was given.",
            "Give --max-increase 2%, an absolute limit such as --max-epf 300mJ, or --thresholds FILE.toml.",
        )
    return tuple(dict.fromkeys(found))


def read_thresholds(path: Path) -> tuple[Threshold, ...]:
    """Read thresholds from a TOML file.

    Raises:
        InputError: It is missing or no TOML, it holds none, or one of them is not written as one.
    """
    document = read_toml(path, "file of thresholds")
    tables = document.get(_TABLE)
    if set(document) != {_TABLE} or not isinstance(tables, list) or not tables:
        raise InputError(
            f"{path}: expected [[{_TABLE}]] tables only, found {', '.join(document) or 'nothing'}.",
            f'Write [[{_TABLE}]], then metric = "epf" and max-increase = "2%".',
        )
    try:
        return tuple(_from_table(table, f"threshold {i}") for i, table in enumerate(tables, 1))
    except UsageError as error:
        raise InputError(f"{path}: {error.message}", error.hint) from error


def _from_table(table: object, where: str) -> Threshold:
    if not isinstance(table, dict) or (unknown := sorted(table.keys() - _KEYS)):
        raise UsageError(
            f"{where}: {', '.join(unknown) if isinstance(table, dict) else 'no table'} is not known.",
            f"Known: {', '.join(sorted(_KEYS))}.",
        )
    metric, increase, maximum = (table.get(key) for key in ("metric", "max-increase", "max"))
    for key, value in (("metric", metric), ("max-increase", increase), ("max", maximum)):
        if value is not None and not isinstance(value, str):
            raise UsageError(
                f"{where}: {key}: expected text, found {value!r}.", 'Write it as "2%" or "300mJ".'
            )
    batch = table.get("batch", [])
    batches = batch if isinstance(batch, list) else [batch]
    if not all(type(each) is int and each > 0 for each in batches):
        raise UsageError(f"{where}: batch: expected batch sizes, found {batch!r}.", "Write batch = [1, 4].")
    if metric is None:
        raise UsageError(f"{where}: it names no metric.", f"Choose one of: {', '.join(METRICS)}.")
    return _threshold(metric, increase, maximum, tuple(batches), where)


def _threshold(
    name: str, increase: str | None, maximum: str | None, batches: tuple[int, ...], where: str
) -> Threshold:
    metric = metric_named(name)
    if (increase is None) == (maximum is None):
        raise UsageError(
            f"{where}: expected one of max-increase and max.",
            'Give one of max-increase = "2%" and max = "300mJ".',
        )
    if increase is not None:
        change = parse_quantity(increase, "%", where)
        if change <= -1.0:
            raise UsageError(f"{where}: {increase} leaves nothing.", "Give a change above -100%.")
        return Threshold(name, max_increase=change, batches=batches)
    limit = parse_quantity(maximum or "", metric.unit, where)
    if limit <= 0.0:
        raise UsageError(f"{where}: {maximum}: a limit is above zero.", "Give a positive limit.")
    return Threshold(name, maximum=limit, batches=batches)
