"""What trtexec writes about a run: per-layer times, per-query times, and what was told about the run itself.

Source of the formats: TensorRT's samples/common/sampleReporting.cpp, 8.x to 11.1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perframe.arrays import Array
from perframe.engines.tensorrt_json import read_json, text_of
from perframe.errors import InputError

WARM_UP_S = 0.2
"""trtexec's own default, --warmUp=200."""

_MS = 1e-3
# Thirty years: whatever is longer is no time, and too large for arithmetic.
_MOST_MS = 1e12
# Until 8.4 the transfers were called in and out.
_QUERY_FIELDS = (
    ("startH2dMs", "startInMs"),
    ("startComputeMs",),
    ("endD2hMs", "endOutMs"),
    ("computeMs",),
    ("latencyMs",),
)


@dataclass(frozen=True)
class LayerTime:
    """How long one layer took.

    Attributes:
        name: TensorRT's name. Several layers can have the same.
        latency_s: Median seconds per inference; the mean where a file has no medians.
    """

    name: str
    latency_s: float


@dataclass(frozen=True)
class LayerProfile:
    """What `--exportProfile` wrote.

    Attributes:
        layers: In the engine's order.
        iterations: Inferences it rests on; `None` if it is not told.
        medians: Whether all times are medians rather than means.
    """

    layers: tuple[LayerTime, ...]
    iterations: int | None
    medians: bool


@dataclass(frozen=True, eq=False)
class QueryTimes:
    """What `--exportTimes` wrote: one value per query that counts, in order of time.

    Attributes:
        start_s: Begin of the transfer to the device, or of the computation where there is none.
        end_s: End of the transfer back.
        compute_s: Seconds of computation.
        latency_s: Seconds of transfers and computation.
        warm_up: Queries before the first that counts, as far as the file has them.
        warm_up_s: When the first that counts began computing, since trtexec's start.
    """

    start_s: Array
    end_s: Array
    compute_s: Array
    latency_s: Array
    warm_up: int
    warm_up_s: float

    @property
    def span_s(self) -> float:
        """From the first query's start to the last one's end."""
        return float(self.end_s.max() - self.start_s[0])

    @property
    def busy_share(self) -> float:
        """Seconds of computation over those that passed; above 1 where queries ran beside each other."""
        return math.fsum(self.compute_s) / self.span_s


def read_layer_profile(path: Path) -> LayerProfile:
    """Read what `trtexec --exportProfile` wrote, gzipped or not.

    Raises:
        InputError: The file is missing, cut off or something else; it counts no inference; or a time is no number.
        UnavailableError: There is no permission to read it.
    """
    what = "layer profile (trtexec --exportProfile)"
    entries = _entries(read_json(path, what), path, what)
    counts = [entry["count"] for entry in entries if "count" in entry and "name" not in entry]
    iterations = counts[0] if counts and isinstance(counts[0], int) else None
    if iterations is not None and iterations < 1:
        raise InputError(
            f"{path}: expected a profile of at least one inference, found a count of {iterations}.",
            "Let trtexec run for longer: --duration=10, without --buildOnly or --skipInference.",
        )
    named = [entry for entry in entries if "name" in entry]
    layers = tuple(_layer_time(entry, iterations, path) for entry in named)
    if not layers or math.fsum(layer.latency_s for layer in layers) <= 0.0:
        found = "none of them takes any" if layers else "no layer"
        raise InputError(
            f"{path}: expected layers that take time, found {found}.", f"Was this file made with a {what}?"
        )
    return LayerProfile(layers, iterations, all("medianMs" in entry for entry in named))


def read_times(path: Path, warm_up_s: float = WARM_UP_S) -> QueryTimes:
    """Read what `trtexec --exportTimes` wrote, gzipped or not.

    8.x leaves the queries of the warm-up in the file, later versions do not; here as there they are those that
    begin to compute before the warm-up is over.

    Args:
        path: The file.
        warm_up_s: How long trtexec warmed up.

    Raises:
        InputError: The file is missing, cut off or something else; a time is no number or negative; or no query
            begins after the warm-up.
        UnavailableError: There is no permission to read it.
    """
    what = "file of query times (trtexec --exportTimes)"
    entries = _entries(read_json(path, what), path, what)
    rows = [
        [_milliseconds(entry, names, f"{path}: query {i}") for names in _QUERY_FIELDS]
        for i, entry in enumerate(entries)
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, len(_QUERY_FIELDS)) * _MS
    table = table[np.argsort(table[:, 1], kind="stable")]
    kept = table[table[:, 1] >= warm_up_s]
    backward = len(kept) and (kept[:, 2] < kept[:, 0]).any()
    if not len(kept) or backward or kept[:, 2].max() <= kept[0, 0] or kept[:, 4].min() <= 0.0:
        raise InputError(
            f"{path}: expected queries that take time after a warm-up of {warm_up_s:g} s, found"
            f" {len(kept)} of {len(table)}.",
            "Let trtexec run for longer (--duration=10), or give its own --warmUp as --warm-up-s.",
        )
    start_s, compute_start_s, end_s, compute_s, latency_s = kept.T
    return QueryTimes(
        start_s=start_s,
        end_s=end_s,
        compute_s=compute_s,
        latency_s=latency_s,
        warm_up=len(table) - len(kept),
        warm_up_s=float(compute_start_s[0]),
    )


def read_run_facts(paths: Sequence[Path]) -> dict[str, str | float]:
    """Read what is told about a run in JSON files of its log, as TensorRT's Engine Explorer writes them.

    Args:
        paths: Files of sections (`{"device_information": {"Selected Device": ...}, ...}`) or of devices
            (`[{"Name": ...}]`).

    Returns:
        Texts and numbers by their name in the files, without their section; of two of a name, the first.

    Raises:
        InputError: A file is missing, cut off or something else.
    """
    facts: dict[str, str | float] = {}
    for path in paths:
        document = read_json(path, "file of metadata")
        # Of several devices the first counts, as it does for trtexec.
        whole = document[0] if isinstance(document, list) and document else document
        if not isinstance(whole, Mapping):
            raise InputError(
                f"{path}: expected an object of metadata, found {_shown(document)}.", "Leave it out."
            )
        for section in (whole, *(each for each in whole.values() if isinstance(each, Mapping))):
            for key, value in section.items():
                fact = float(value) if _is_number(value) and abs(value) < _MOST_MS else text_of(value)
                if fact is not None:
                    facts.setdefault(str(text_of(key)), fact)
    return facts


def _entries(document: object, path: Path, what: str) -> list[Mapping[str, object]]:
    if not isinstance(document, list) or not all(isinstance(entry, Mapping) for entry in document):
        raise InputError(
            f"{path}: expected a {what}, found {_shown(document)}.", "Check which file is which."
        )
    if not document:
        raise InputError(f"{path}: expected a {what}, found an empty list.", "Was trtexec interrupted?")
    return document


def _layer_time(entry: Mapping[str, object], iterations: int | None, path: Path) -> LayerTime:
    name = text_of(entry["name"])
    if name is None:
        raise InputError(
            f"{path}: expected a layer's name, found {_shown(entry['name'])}.", "Was the file edited?"
        )
    where = f"{path}: layer {name!r}"
    if iterations is None or "medianMs" in entry or "averageMs" in entry:
        return LayerTime(name, _milliseconds(entry, ("medianMs", "averageMs"), where) * _MS)
    return LayerTime(name, _milliseconds(entry, ("timeMs",), where) / iterations * _MS)


def _milliseconds(entry: Mapping[str, object], names: Sequence[str], where: str) -> float:
    name = next((each for each in names if each in entry), names[0])
    value = entry.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value < _MOST_MS:
        raise InputError(
            f"{where}: expected {name} to be milliseconds, found {_shown(value)}.", "Run trtexec again."
        )
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    names = {dict: "an object", list: "a list", type(None): "nothing"}
    return names.get(type(value)) or repr(value)[:40]
