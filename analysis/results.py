"""A folder of profiles, as far as judgements need them: thousands are read in the time that one model takes to load.

A profile is mostly layers and power readings, which no judgement over many profiles looks at. They are cut out of the
text before it is parsed, and what is left is taken over without building a `Profile`; that is ten times faster. Where
anything is not as expected, the strict reader of `perframe.profiler.result` gets the file, and says what is wrong with
it.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np

from perframe.arrays import Array
from perframe.engines.base import ModelInfo, Regime
from perframe.errors import InputError, PerframeError
from perframe.profiler.result import SCHEMA, EnergyKind, read_profile

# What comes before and after it, as `profile_to_json` writes it. No string of JSON holds a raw line break.
_LAYERS = ('\n   "layers": [\n', '\n   ],\n   "layers_sum_s"')
_TRACE = ('\n    "trace": {\n', '\n    },\n    "idle_spans_s"')


@dataclass(frozen=True, eq=False)
class Result:
    """One batch size of one profile, from its raw windows.

    Attributes:
        path: The file.
        model: The network.
        identity: What must agree before two results may be compared.
        regime: `inference` or `training`.
        batch: Frames per inference.
        latency_s: Mean seconds per inference in each window.
        epf_j: Joules per frame in each window; `None` where a window has none.
        energy_kind: Whether they are measured.
    """

    path: Path
    model: ModelInfo
    identity: Mapping[str, str | float | None]
    regime: str
    batch: int
    latency_s: Array
    epf_j: Array | None
    energy_kind: EnergyKind


@dataclass(frozen=True)
class Skipped:
    """A file, or a batch size in it, that is not judged, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Results:
    """What a folder holds."""

    folder: Path
    results: tuple[Result, ...]
    skipped: tuple[Skipped, ...]


def read_results(folder: Path) -> Results:
    """Read every profile in a folder and the folders in it; hidden ones are left out. A file stands for itself.

    A file that is no profile, is cut off or comes from a newer version is named in `skipped`, and so is a batch size
    whose measurement is invalid, has fewer than two windows or windows that are not numbers, and a copy of a result.

    Raises:
        InputError: There is no such folder, or no profile in it that can be judged.
    """
    if not folder.exists():
        raise InputError(
            f"{folder}: expected a folder of profiles, found none.",
            "Name the folder that perframe sweep wrote.",
        )
    found: list[Result] = []
    skipped: list[Skipped] = []
    seen: dict[tuple[object, ...], Path] = {}
    for path in profile_files(folder):
        try:
            document = _document(path)
            results = list(_results(path, document, skipped))
        except PerframeError as error:
            skipped.append(Skipped(path, error.message.removeprefix(f"{path}: ")))
            continue
        for result in results:
            # The same windows twice are one measurement, not two that agree.
            key = (document.get("created"), result.model.sha256, result.batch, result.latency_s.tobytes())
            if key in seen:
                skipped.append(Skipped(path, f"batch {result.batch} is a copy of the one in {seen[key]}."))
            else:
                seen[key] = path
                found.append(result)
    if not found:
        why = f" {skipped[0].path.name}: {skipped[0].reason}" if skipped else ""
        raise InputError(
            f"{folder}: expected profiles, found none that can be judged.{why}",
            "Measure with perframe sweep, or with perframe profile -o.",
        )
    return Results(folder, tuple(found), tuple(skipped))


def profile_files(folder: Path) -> Iterator[Path]:
    """Give the files in a folder and the folders in it that may be profiles; a file stands for itself."""
    if folder.is_file():
        yield folder
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            # A sweep keeps its plan beside its results.
            if name.endswith(".json") and not name.startswith(".") and name != "sweep.json":
                yield Path(where, name)


def _document(path: Path) -> dict[str, Any]:
    """Return the profile in a file, without its layers and power readings.

    Raises:
        PerframeError: It holds none of this version; the message says what it holds.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        try:
            document = json.loads(_without(_LAYERS, _without(_TRACE, text)))
        except ValueError:
            document = json.loads(text)
        if document["schema"] == SCHEMA:
            return dict(document)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    read_profile(path)
    raise InputError(f"{path}: changed while it was read.", "Wait until it is written.")


def _without(ends: tuple[str, str], text: str) -> str:
    before, after = ends
    parts, position = [], 0
    while (start := text.find(before, position)) >= 0:
        end = text.find(after, start)
        if end < 0:
            break
        parts.append(text[position : start + len(before)])
        position = end
    return "".join((*parts, text[position:]))


def _results(path: Path, document: Mapping[str, Any], skipped: list[Skipped]) -> Iterator[Result]:
    try:
        model, regime = _model(document["model"]), document["regime"]
        identity = _identity_of(tuple(document["identity"].items()))
        if regime not in get_args(Regime):
            raise ValueError(f"regime {regime!r}")
        for each in document["batches"]:
            batch, kind = int(each["batch"]), each["energy"]["kind"]
            rows = _rows(each["energy"]["windows"])
            if kind not in get_args(EnergyKind):
                raise ValueError(f"energy kind {kind!r}")
            problem = _problem(each["quality"], rows)
            if problem is not None:
                skipped.append(Skipped(path, f"batch {batch}: {problem}"))
                continue
            windows = np.array(rows, dtype=np.float64)
            yield Result(
                path=path,
                model=model,
                identity=identity,
                regime=regime,
                batch=batch,
                latency_s=windows[0] * batch / windows[1],
                epf_j=windows[2] / windows[1] if len(windows) > 2 else None,
                energy_kind=kind,
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        read_profile(path)
        raise InputError(f"{path}: not as a profile should be: {error!r}.", "Was the file edited?") from error


def _rows(windows: list[dict[str, Any]]) -> list[list[float]]:
    """Seconds, frames and, where every window has them, joules."""
    rows = [[window[name] for window in windows] for name in ("duration_s", "frames", "energy_j")]
    return rows[:2] if None in rows[2] else rows


def _problem(quality: list[dict[str, str]], rows: list[list[float]]) -> str | None:
    """Say why a measurement must not be averaged in; `None` if it may."""
    invalid = next((each["message"] for each in quality if each["severity"] == "invalid"), None)
    if invalid is not None:
        return f"the measurement is invalid: {invalid}"
    if len(rows[0]) < 2:
        return f"expected at least 2 windows, found {len(rows[0])}."
    # Neither time nor frames nor energy can be zero or less. "Not a number" is not above zero either.
    if not all(0.0 < value < math.inf for row in rows for value in row):
        return "a window is not of positive, finite numbers."
    return None


@lru_cache(maxsize=4096)
def _identity_of(items: tuple[tuple[str, str | float | None], ...]) -> Mapping[str, str | float | None]:
    """Results of one sweep share their conditions."""
    return dict(items)


def _model(document: Mapping[str, Any]) -> ModelInfo:
    # Fields that came later have defaults.
    given = {name: document[name] for name in _MODEL_FIELDS if name in document}
    hashable = ((name, tuple(each) if isinstance(each, list) else each) for name, each in given.items())
    return _model_of(tuple(hashable))


_MODEL_FIELDS = tuple(field.name for field in fields(ModelInfo))


@lru_cache(maxsize=4096)
def _model_of(fields_given: tuple[tuple[str, Any], ...]) -> ModelInfo:
    """Runs of one network share its description."""
    given = dict(fields_given)
    for name in ("group_size", "groups", "params", "macs", "activations"):
        if given[name] is not None and (type(given[name]) is not int or given[name] < 0):
            raise ValueError(f"model.{name}: expected a whole number, found {given[name]!r}")
    return ModelInfo(**given)
