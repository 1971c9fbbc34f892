"""JSON into dataclasses: what does not fit is said in the words of JSON, with the place it stands at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from perframe.errors import InputError
from perframe.typed_json import from_json


@dataclass(frozen=True)
class Inner:
    """Some of the types that results are made of."""

    kind: Literal["measured", "modelled"] = "measured"
    counts: tuple[int, ...] = ()
    facts: Mapping[str, str | float | None] | None = None


@dataclass(frozen=True)
class Outer:
    """The others."""

    value: float = 0.0
    name: str = ""
    file: Path = Path()
    right: bool = True
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"value": "1"}, '$.value: expected a number, found "1"'),
        ({"value": float("nan")}, "$.value: expected a number, found NaN"),
        ({"value": float("inf")}, "$.value: expected a number, found Infinity"),
        ({"name": None}, "$.name: expected text, found null"),
        ({"file": 3}, "$.file: expected text, found 3"),
        ({"right": 1}, "$.right: expected true or false, found 1"),
        ({"inner": []}, "$.inner: expected an object, found []"),
        ({"inner": {"kind": "awful"}}, '$.inner.kind: expected one of "measured", "modelled", found "awful"'),
        ({"inner": {"counts": {}}}, "$.inner.counts: expected a list, found {}"),
        ({"inner": {"counts": [1, 2.5]}}, "$.inner.counts[1]: expected a whole number, found 2.5"),
        ({"inner": {"facts": "x"}}, '$.inner.facts: expected an object, found "x"'),
    ],
)
def test_what_does_not_fit_is_said_without_pythons_words(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as error:
        from_json(Outer, document, "a.json")
    assert error.value.message == f"a.json: field {problem}."


def test_what_fits_is_taken_over() -> None:
    document = {"value": 1, "file": "a", "inner": {"counts": [1], "facts": {"a": None, "b": 2}}}
    found = from_json(Outer, document, "a.json")
    assert found == Outer(1.0, file=Path("a"), inner=Inner(counts=(1,), facts={"a": None, "b": 2.0}))
