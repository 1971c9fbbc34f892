"""JSON Schema (draft 2020-12) of the dataclasses that `perframe.typed_json` reads, in their docstrings' words."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLAIN: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Path: {"type": "string"},
    type(None): {"type": "null"},
    Any: {},
}


def document_schema(
    cls: Any, version: str, *, without: frozenset[str] = frozenset(), more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the schema of a document that holds a dataclass and the name of its own schema.

    Fields may be added within a version, so others than those named are allowed everywhere; a field with a default is
    one that was added, and need not be there.

    Args:
        cls: The dataclass.
        version: What "schema" says in the document, such as "perframe.profile/1".
        without: Fields that do not stand in the document.
        more: Types of what stands in it beside the fields.
    """
    definitions: dict[Any, dict[str, Any]] = {}
    found = _object(cls, definitions)
    properties = {name: each for name, each in found["properties"].items() if name not in without}
    extra = {name: _schema(kind, definitions) for name, kind in (more or {}).items()}
    required = [name for name in found["required"] if name not in without]
    named = {each.__name__: definition for each, definition in definitions.items()}
    assert len(named) == len(definitions), "no two classes of a document have one name"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{version.replace('.', ':').replace('/', ':')}",
        "title": version,
        **{key: each for key, each in found.items() if key == "description"},
        "type": "object",
        "required": ["schema", *extra, *required],
        "properties": {"schema": {"const": version}, **extra, **properties},
        "$defs": dict(sorted(named.items())),
    }


def _schema(kind: Any, definitions: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if kind not in definitions:
            # Known before its fields are looked at, which may refer to it.
            definitions[kind] = {}
            definitions[kind] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{getattr(kind, '__name__', '')}"}
    if origin in (typing.Union, types.UnionType):
        return _union([_schema(each, definitions) for each in arguments])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is tuple:
        items = [_schema(each, definitions) for each in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    return dict(_PLAIN[kind])


def _union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    if all(set(each) == {"type"} for each in schemas):
        return {"type": [each["type"] for each in schemas]}
    return {"anyOf": schemas}


def _object(cls: Any, definitions: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    summary, told = _docstring(cls)
    hints = typing.get_type_hints(cls)
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        described = {"description": told[field.name]} if field.name in told else {}
        properties[field.name] = {**described, **_schema(hints[field.name], definitions)}
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    return {
        **({"description": summary} if summary else {}),
        "type": "object",
        "required": required,
        "properties": properties,
    }


def _docstring(cls: Any) -> tuple[str, dict[str, str]]:
    """A class's first sentence, and what its docstring says of each attribute."""
    lines = (inspect.getdoc(cls) or "").splitlines()
    told: dict[str, str] = {}
    name = None
    for line in lines[lines.index("Attributes:") + 1 :] if "Attributes:" in lines else ():
        if not line.startswith("    "):
            break
        if found := re.match(r" {4}(\w+): (.*)", line):
            name = found[1]
            told[name] = found[2]
        elif name is not None:
            told[name] += f" {line.strip()}"
    return lines[0] if lines else "", told
