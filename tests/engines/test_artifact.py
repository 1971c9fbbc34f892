import json
from pathlib import Path

import pytest

from perframe.engines.artifact import is_artifact, read_artifact, sidecar_of
from perframe.engines.base import EngineArtifact
from perframe.engines.prepare import build_engine
from perframe.errors import InputError


@pytest.fixture
def artifact(onnx_file: Path, tmp_path: Path) -> EngineArtifact:
    return build_engine(onnx_file, tmp_path / "engine", engine="fake")


def test_an_engine_is_known_by_its_sidecar(artifact: EngineArtifact, onnx_file: Path) -> None:
    assert is_artifact(artifact.path)
    assert not is_artifact(onnx_file)


def test_a_tampered_engine_is_refused_unless_trusted(artifact: EngineArtifact) -> None:
    artifact.path.write_bytes(b"something that runs code")
    with pytest.raises(InputError, match="expected the engine"):
        read_artifact(artifact.path)
    assert read_artifact(artifact.path, trust=True).backend == "fake"


@pytest.mark.parametrize("damage", ["truncated", "foreign", "newer", "a field", "no file"])
def test_a_damaged_sidecar_is_refused(artifact: EngineArtifact, damage: str) -> None:
    text = sidecar_of(artifact.path).read_text()
    document = json.loads(text)
    if damage == "truncated":
        sidecar_of(artifact.path).write_text(text[:100])
    elif damage == "foreign":
        sidecar_of(artifact.path).write_text('{"schema": "something/1"}')
    elif damage == "newer":
        sidecar_of(artifact.path).write_text(json.dumps({**document, "schema": "perframe.engine/99"}))
    elif damage == "a field":
        sidecar_of(artifact.path).write_text(json.dumps({**document, "layers": [{"name": 3}]}))
    else:
        sidecar_of(artifact.path).unlink()
    with pytest.raises(InputError, match=str(sidecar_of(artifact.path))):
        read_artifact(artifact.path)
