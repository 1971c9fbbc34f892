"""The engine file and its sidecar: how an engine is written, described, and believed when it is read again.

A serialized engine can run code when it is loaded, so it is opened only if its bytes are the ones the sidecar
was written for.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from perframe.engines.base import EngineArtifact
from perframe.errors import InputError, UsageError
from perframe.files import readable_file, sha256_of, writable_target, write_text
from perframe.typed_json import from_json

SCHEMA = "perframe.engine/1"
_FOREIGN = "another program's"


def is_artifact(path: Path) -> bool:
    """Tell whether `path` is an engine that perframe built: it has a sidecar beside it, if a damaged one.

    Another program's JSON of the same name is none; but a file that cannot be read may have been one, and to
    take its engine for a plain model would get round the check of its bytes.
    """
    sidecar = sidecar_of(path)
    return path.is_file() and sidecar.is_file() and _schema_of(sidecar) != _FOREIGN


def engine_target(path: Path, *, inputs: tuple[Path, ...]) -> Path:
    """Return `path` if an engine and its sidecar can be put there.

    Raises:
        UsageError: Engine or sidecar would replace an input, or the sidecar another program's file.
        UnavailableError: The folder cannot be written.
    """
    sidecar = sidecar_of(path)
    writable_target(sidecar, inputs=inputs)
    if sidecar.exists() and _schema_of(sidecar) == _FOREIGN:
        raise UsageError(
            f"{sidecar}: the engine's sidecar would go here, but this is another program's file.",
            "Give another -o.",
        )
    return writable_target(path, inputs=inputs)


def write_sidecar(artifact: EngineArtifact) -> None:
    """Write the sidecar of an engine file that is already in place."""
    document = {"schema": SCHEMA, **dataclasses.asdict(artifact)}
    del document["path"]
    write_text(sidecar_of(artifact.path), json.dumps(document, indent=1) + "\n")


def read_artifact(path: Path, *, trust: bool = False) -> EngineArtifact:
    """Read the sidecar of the engine file `path` and check that the engine is the one it describes.

    Args:
        path: The engine file.
        trust: Open it even though its bytes are not the ones that were built.

    Raises:
        InputError: Engine or sidecar is missing, unreadable, of another schema, or they do not belong together.
    """
    readable_file(path, "engine")
    sidecar = readable_file(sidecar_of(path), "engine sidecar")
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


def sidecar_of(path: Path) -> Path:
    """Return where the sidecar of the engine file `path` lies."""
    return path.with_name(path.name + ".json")


def _schema_of(sidecar: Path) -> str | None:
    """The schema of a sidecar; `_FOREIGN` for another program's JSON, None for what is no JSON at all."""
    try:
        document = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    schema = document.get("schema") if isinstance(document, dict) else None
    return schema if isinstance(schema, str) and schema.startswith("perframe.engine/") else _FOREIGN
