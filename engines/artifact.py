"""The engine file and its sidecar: how an engine is written, described, and believed when it is read again.

A serialized engine can run code when it is loaded, so it is opened only if its bytes are the ones the sidecar
was written for.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from perframe.engines.base import EngineArtifact
from perframe.errors import InputError
from perframe.files import readable_file, sha256_of, write_text
from perframe.typed_json import from_json

SCHEMA = "perframe.engine/1"


def is_artifact(path: Path) -> bool:
    """Tell whether `path` is an engine that perframe built: it has a sidecar beside it."""
    sidecar = _sidecar_of(path)
    return path.is_file() and sidecar.is_file() and _schema_of(sidecar) is not None


def write_sidecar(artifact: EngineArtifact) -> None:
    """Write the sidecar of an engine file that is already in place."""
    document = {"schema": SCHEMA, **dataclasses.asdict(artifact)}
    del document["path"]
    write_text(artifact.sidecar, json.dumps(document, indent=1) + "\n")


def read_artifact(path: Path, *, trust: bool = False) -> EngineArtifact:
    """Read the sidecar of the engine file `path` and check that the engine is the one it describes.

    Args:
        path: The engine file.
        trust: Open it even though its bytes are not the ones that were built.

    Raises:
        InputError: Engine or sidecar is missing, unreadable, of another schema, or they do not belong together.
    """
    readable_file(path, "engine")
    sidecar = readable_file(_sidecar_of(path), "engine sidecar")
    schema = _schema_of(sidecar)
    if schema != SCHEMA:
        raise InputError(
            f"{sidecar}: expected schema {SCHEMA!r}, found {schema!r}.",
            "Build the engine again: perframe build.",
        )
    document: dict[str, Any] = json.loads(sidecar.read_text(encoding="utf-8"))
    del document["schema"]
    document["path"] = str(path)
    artifact = from_json(EngineArtifact, document, str(sidecar))
    if not trust and (found := sha256_of(path)) != artifact.sha256:
        raise InputError(
            f"{path}: expected the engine with SHA-256 {artifact.sha256[:12]}, found {found[:12]}.",
            "It changed since it was built. Build it again, or give --trust if you know why.",
        )
    return artifact


def _sidecar_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _schema_of(sidecar: Path) -> str | None:
    try:
        document = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    schema = document.get("schema") if isinstance(document, dict) else None
    return schema if isinstance(schema, str) and schema.startswith("perframe.engine/") else None
