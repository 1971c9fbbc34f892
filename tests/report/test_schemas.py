"""The JSON Schemas: shipped as generated, true of what is written, and as strict as what reads it."""

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from perframe.analysis.sweep_plan import PLAN_FILE, Configuration, SweepPlan, keep_plan
from perframe.cli import run
from perframe.commands.schema import NAMES
from perframe.engines.base import EngineArtifact
from perframe.errors import InputError
from perframe.profiler.calibration import Calibration, Level, write_calibration
from perframe.profiler.result import Profile
from perframe.report.schemas import schema, schema_names
from perframe.typed_json import from_json

ROOT = Path(__file__).parents[2]


def shipped(name: str) -> Path:
    version = schema(name)["title"].removeprefix("perframe.")
    return ROOT / "schemas" / f"{version.replace('/', '-')}.json"


def valid(name: str, document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema(name)).is_valid(document))


@pytest.mark.parametrize("name", schema_names())
def test_what_is_shipped_is_what_is_generated(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert run(["schema", name]) == 0
    expected = shipped(name).read_text(encoding="utf-8")
    assert capsys.readouterr().out == expected, f"run: perframe schema {name} > schemas/{shipped(name).name}"


def test_every_schema_is_shipped_once_and_can_be_asked_for() -> None:
    assert schema_names() == NAMES
    assert {path.name for path in (ROOT / "schemas").iterdir()} >= {shipped(name).name for name in NAMES}


@pytest.fixture(scope="module")
def documents(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One document of every kind, as the commands write them."""
    folder = tmp_path_factory.mktemp("documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFRAME_LOCK_DIR", str(folder))
        engine, result, again = (folder / name for name in ("m.engine", "a.json", "b.json"))
        assert run(["build", str(onnx_file), "-o", str(engine)]) == 0
        for path in (result, again):
            options = ["-b", "1", "-b", "4", "--windows", "3", "--fps", "100", "-o", str(path)]
            assert run(["profile", str(onnx_file), "--engine", "fake", *options]) == 0
        gate = ["gate", str(again), "--baseline", str(result), "--max-increase", "2%"]
        assert run([*gate, "-o", str(folder / "gate.json")]) in (0, 4)
        trace = folder / "trace.csv"
        trace.write_text("t_s,power_w\n" + "".join(f"{i / 100},{60 + i % 3}\n" for i in range(3000)))
    calibration = Calibration(1.0, 0.0, 0.01, Level(1, 1, 1), Level(9, 9, 1), "w", None, None, "0", "1")
    write_calibration(calibration, folder / "calibration.json")
    keep_plan(SweepPlan((Configuration("n", "mobilenet-v1", 8, None, Path("c.pth")),)), folder)
    return {
        "profile": json.loads(result.read_text()),
        "engine": json.loads((folder / "m.engine.json").read_text()),
        "gate": json.loads((folder / "gate.json").read_text()),
        "calibration": json.loads((folder / "calibration.json").read_text()),
        "sweep": json.loads((folder / PLAN_FILE).read_text()),
        "trace": trace,
    }


@pytest.mark.parametrize("name", ["profile", "engine", "gate", "calibration", "sweep"])
def test_what_is_written_is_valid(documents: dict[str, Any], name: str) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(documents[name])
    assert not valid(name, {**documents[name], "schema": f"perframe.{name}/99"})


@pytest.mark.parametrize("arguments", [("doctor",), ("trace", "FILE")])
def test_what_is_printed_is_valid(
    documents: dict[str, Any], arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(documents["trace"]) if each == "FILE" else each for each in arguments]
    assert run([*named, "--json"]) == 0
    jsonschema.Draft202012Validator(schema(arguments[0])).validate(json.loads(capsys.readouterr().out))


def test_the_golden_results_are_valid() -> None:
    for path in (ROOT / "tests" / "data").glob("profile-1*.json"):
        jsonschema.Draft202012Validator(schema("profile")).validate(json.loads(path.read_text()))


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, of lists only the first entry's."""
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list) and document:
        yield from places(document[0], (*path, 0))


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return document


def remove(inner: Any, key: Any) -> None:
    del inner[key]


def replace(inner: Any, key: Any) -> None:
    inner[key] = [["something else"]]


@pytest.mark.parametrize("change", [remove, replace])
@pytest.mark.parametrize(("name", "cls"), [("profile", Profile), ("engine", EngineArtifact)])
def test_the_schema_refuses_what_the_reader_refuses(
    documents: dict[str, Any], name: str, cls: Any, change: Callable[[Any, Any], None]
) -> None:
    extra = {"path": "m.engine"} if name == "engine" else {}
    validator = jsonschema.Draft202012Validator(schema(name))
    tried = 0
    for path in places(documents[name]):
        if not path or path == ("schema",):
            continue
        document = changed(documents[name], path, change)
        try:
            from_json(cls, {**document, **extra}, "file")
            readable = True
        except InputError:
            readable = False
        assert validator.is_valid(document) is readable, path
        tried += 1
    assert tried > 20


def test_every_field_of_a_result_is_described() -> None:
    found = schema("profile")
    assert found["properties"]["batches"]["description"] == "What was measured."
    described = found["$defs"]["Energy"]["properties"]
    assert {field.name for field in dataclasses.fields(Profile)} <= found["properties"].keys()
    assert all("description" in each for each in described.values())
