"""The kinds of files that perframe writes, and the JSON Schema of each."""

from collections.abc import Callable
from functools import partial
from typing import Any

from perframe.analysis import sweep_plan
from perframe.analysis.pairs import Pairs
from perframe.analysis.verdict import Judgement, Outcome
from perframe.engines import artifact
from perframe.engines.base import EngineArtifact
from perframe.profiler import calibration, doctor, result, trace
from perframe.report import gate_formats
from perframe.report.json_schema import document_schema

_SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "profile": partial(document_schema, result.Profile, result.SCHEMA),
    # The sidecar lies beside the engine, wherever that is.
    "engine": partial(document_schema, EngineArtifact, artifact.SCHEMA, without=frozenset({"path"})),
    "calibration": partial(document_schema, calibration.Calibration, calibration.SCHEMA),
    "trace": partial(document_schema, trace.TraceReport, trace.SCHEMA),
    "sweep": partial(document_schema, sweep_plan.SweepPlan, sweep_plan.SCHEMA),
    "gate": partial(
        document_schema,
        Judgement,
        gate_formats.SCHEMA,
        more={"outcome": Outcome, "exit_code": int, "pairs": tuple[Pairs, ...]},
    ),
    "doctor": partial(document_schema, doctor.Diagnosis, doctor.SCHEMA),
}


def schema_names() -> tuple[str, ...]:
    """Return the kinds of files that have a schema."""
    return tuple(_SCHEMAS)


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of the newest version of a kind of file.

    Args:
        name: One of `schema_names()`.
    """
    return _SCHEMAS[name]()
