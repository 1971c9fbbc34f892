"""JSON into frozen dataclasses, with errors that name the field.

Results, sidecars and lock files are written with `dataclasses.asdict`; this is the way back. Unknown fields are
let pass, so that a file with more fields of the same schema stays readable.
"""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from perframe.errors import InputError
from perframe.files import readable_file

T = TypeVar("T")


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
    value: T = _convert(cls, document, where, "$")
    return value


def _convert(expected: Any, value: Any, where: str, path: str) -> Any:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if dataclasses.is_dataclass(expected):
        return _dataclass(expected, value, where, path)
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(arguments, value, where, path)
    if origin is typing.Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            return tuple(_convert(arguments[0], each, where, f"{path}[{i}]") for i, each in enumerate(value))
        if len(value) == len(arguments):
            pairs = enumerate(zip(arguments, value, strict=True))
            return tuple(_convert(kind, each, where, f"{path}[{i}]") for i, (kind, each) in pairs)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: _convert(arguments[1], each, where, f"{path}.{key}") for key, each in value.items()}
    if expected is Path and isinstance(value, str):
        return Path(value)
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if expected is Any or (isinstance(expected, type) and type(value) is expected):
        return value
    name = getattr(expected, "__name__", str(expected))
    raise InputError(
        f"{where}: field {path}: expected {name}, found {_shown(value)}.", "Was the file edited?"
    )


def _dataclass(cls: Any, value: Any, where: str, path: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(
            f"{where}: field {path}: expected an object, found {_shown(value)}.", "Was the file edited?"
        )
    hints = _hints(cls)
    given = {}
    for field in dataclasses.fields(cls):
        if field.name in value:
            given[field.name] = _convert(hints[field.name], value[field.name], where, f"{path}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(
                f"{where}: field {path}.{field.name} is missing.", "Was the file cut off or edited?"
            )
    return cls(**given)


@functools.lru_cache(maxsize=256)
def _hints(cls: Any) -> dict[str, Any]:
    """Evaluating annotations takes most of the time that reading a profile takes."""
    return typing.get_type_hints(cls)


def _first_that_fits(kinds: tuple[Any, ...], value: Any, where: str, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    failure: InputError | None = None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _convert(kind, value, where, path)
            except InputError as error:
                failure = failure or error
    assert failure is not None, "a union has a member that is not None"
    raise failure


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
