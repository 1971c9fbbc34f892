"""JSON into frozen dataclasses, with errors that name the field.

Results, sidecars and lock files are written with `dataclasses.asdict`; this is the way back. Unknown fields are
let pass, so that a file with more fields of the same schema stays readable.
"""

import dataclasses
import functools
import itertools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from perframe.errors import InputError
from perframe.files import readable_file

T = TypeVar("T")
Read = Callable[[Any], Any]


def read_document(path: Path, what: str, schema: str, remedy: str) -> dict[str, Any]:
    """Read a JSON document of one schema.

    Args:
        path: The file.
        what: What it should hold ("profile"), for messages.
        schema: The value its "schema" must have.
        remedy: What to do about another schema.

    Raises:
        InputError: The file is missing, not JSON, or of another schema.
    """
    readable_file(path, what)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON document: {error}.", "Was the file cut off?") from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != schema:
        raise InputError(f"{path}: expected a {what} of schema {schema!r}, found {found!r}.", remedy)
    return dict(document)


def from_json(cls: type[T], document: object, where: str) -> T:
    """Build a `cls` from parsed JSON.

    Args:
        cls: A dataclass whose fields are JSON types, `Path`, `Literal`, tuples, mappings or dataclasses.
        document: What `json.loads` gave.
        where: The file, for messages.

    Raises:
        InputError: A field is missing or of the wrong type; the message names it by its path.
    """
    try:
        value: T = _reader(typing.cast(Any, cls))(document)
    except _UnfitError as unfit:
        path = "$" + "".join(reversed(unfit.path))
        raise InputError(f"{where}: field {path}{unfit.problem}.", unfit.hint) from None
    return value


class _UnfitError(Exception):
    """A value is not what it should be. Its path grows while this rises, so that what fits costs nothing."""

    def __init__(self, problem: str, hint: str = "Was the file edited?") -> None:
        super().__init__(problem)
        self.problem, self.hint = problem, hint
        self.path: list[str] = []


# What types are called in a JSON document.
_NAMES = {
    str: "text", Path: "text", int: "a whole number", float: "a number", bool: "true or false",
    tuple: "a list", dict: "an object", Mapping: "an object",
}  # fmt: skip


def _other(expected: Any, value: object) -> _UnfitError:
    text = json.dumps(value, default=str)
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    origin = typing.get_origin(expected)
    if origin is typing.Literal:
        name = f"one of {', '.join(map(json.dumps, typing.get_args(expected)))}"
    else:
        name = "an object" if dataclasses.is_dataclass(expected) else _NAMES[origin or expected]
    return _UnfitError(f": expected {name}, found {shown}")


@functools.lru_cache(maxsize=1024)
def _reader(expected: Any) -> Read:
    """Return what makes a value of a type: a profile has thousands of each, so a type is looked at once."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if dataclasses.is_dataclass(expected):
        return _dataclass_reader(expected)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(arguments)
    if origin is tuple:
        return _tuple_reader(expected, arguments)
    if origin in (dict, Mapping):
        return _mapping_reader(expected, arguments[1])
    if origin is typing.Literal:
        return _leaf_reader(expected, lambda value: value in arguments)
    if expected is Path:
        return _leaf_reader(expected, lambda value: isinstance(value, str), Path)
    if expected is Any:
        return lambda value: value
    return _float if expected is float else _leaf_reader(expected, lambda value: type(value) is expected)


def _leaf_reader(expected: Any, fits: Callable[[Any], bool], make: Read | None = None) -> Read:
    def read(value: Any) -> Any:
        if not fits(value):
            raise _other(expected, value)
        return value if make is None else make(value)

    return read


def _float(value: Any) -> float:
    # Python's reader lets NaN and numbers beyond its range pass; nothing that is computed from them can be shown.
    if type(value) is float and math.isfinite(value):
        return value
    try:
        if type(value) is int:
            return float(value)
    except OverflowError:
        pass
    raise _other(float, value)


def _union_reader(kinds: tuple[Any, ...]) -> Read:
    readers = [_reader(kind) for kind in kinds if kind is not type(None)]
    optional = len(readers) < len(kinds)

    def read(value: Any) -> Any:
        if value is None and optional:
            return None
        failure = None
        for each in readers:
            try:
                return each(value)
            except _UnfitError as unfit:
                failure = failure or unfit
        assert failure is not None, "a union has a member that is not None"
        raise failure

    return read


def _tuple_reader(expected: Any, kinds: tuple[Any, ...]) -> Read:
    repeated = kinds[-1] is Ellipsis
    readers = [_reader(kind) for kind in kinds if kind is not Ellipsis]

    def read(value: Any) -> Any:
        if not isinstance(value, list) or not (repeated or len(value) == len(readers)):
            raise _other(expected, value)
        found: list[Any] = []
        try:
            for each, member in zip(
                itertools.repeat(readers[0]) if repeated else readers, value, strict=False
            ):
                found.append(each(member))
        except _UnfitError as unfit:
            unfit.path.append(f"[{len(found)}]")
            raise
        return tuple(found)

    return read


def _mapping_reader(expected: Any, kind: Any) -> Read:
    each = _reader(kind)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _other(expected, value)
        found = {}
        for key, member in value.items():
            try:
                found[key] = each(member)
            except _UnfitError as unfit:
                unfit.path.append(f".{key}")
                raise
        return found

    return read


def _dataclass_reader(cls: Any) -> Read:
    hints = typing.get_type_hints(cls)
    fields = [
        (
            field.name,
            _reader(hints[field.name]),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    ]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _other(cls, value)
        given = {}
        for name, each, required in fields:
            if name in value:
                try:
                    given[name] = each(value[name])
                except _UnfitError as unfit:
                    unfit.path.append(f".{name}")
                    raise
            elif required:
                raise _UnfitError(f".{name} is missing", "Was the file cut off or edited?")
        return cls(**given)

    return read
