"""Built engines kept by what they were built from, so that nothing is built twice.

The key is a hash of everything that an engine follows from: the model's bytes, the specification, the device and the
versions. It says nothing of the engine's own bytes, since two builds of the same are not equal. What is kept is
checked against its sidecar when it is found, like every engine; a damaged one counts as none and is built again.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from perframe.engines.artifact import read_artifact, write_sidecar
from perframe.engines.base import EngineArtifact, ModelInfo
from perframe.errors import PerframeError
from perframe.files import atomic_path, user_cache

_LOG = logging.getLogger("perframe.cache")
_LOG.addHandler(logging.NullHandler())


def engine_key(made_from: Mapping[str, object]) -> str:
    """Return the key of an engine.

    Args:
        made_from: Everything it follows from, as JSON would have it.
    """
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def find_engine(key: str) -> EngineArtifact | None:
    """Return the engine that is kept under `key`, or None; a damaged one counts as none."""
    path = _folder(key) / "engine"
    if not path.is_file():
        return None
    try:
        found = read_artifact(path)
        _LOG.info("engine %s was built before and is taken from the cache", key[:12])
        return found
    except PerframeError as error:
        _LOG.warning("The kept engine is not used: %s", error.message)
        return None


def take_engine(kept: EngineArtifact, out: Path, *, device: str, model: ModelInfo) -> EngineArtifact:
    """Put an engine that is kept, and its sidecar, where it was asked for.

    Args:
        kept: See `find_engine`.
        out: The engine file.
        device: The device that it was asked for.
        model: The network as it is called now.
    """
    with atomic_path(out) as target:
        shutil.copyfile(kept.path, target)
    artifact = replace(kept, path=out, device=device, model=model)
    write_sidecar(artifact)
    return artifact


def keep_engine(key: str, artifact: EngineArtifact) -> None:
    """Keep a copy of an engine under `key`. A cache that cannot be written is done without."""
    folder = _folder(key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent, ignore_cleanup_errors=True) as name:
            fresh = Path(name) / "fresh"
            fresh.mkdir()
            shutil.copyfile(artifact.path, fresh / "engine")
            write_sidecar(replace(artifact, path=fresh / "engine"))
            if folder.exists() and find_engine(key) is None:
                shutil.rmtree(folder)
            # Engine and sidecar appear at once; of two processes that build the same, the first keeps its engine.
            with suppress(FileExistsError, OSError):
                fresh.rename(folder)
    except (OSError, PerframeError) as error:
        _LOG.warning("The engine is not kept: %s", error)


def _folder(key: str) -> Path:
    return user_cache("engines") / key
