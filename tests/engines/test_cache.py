"""Engines that are kept, whoever built them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from perframe.engines.base import EngineArtifact
from perframe.engines.cache import engine_key, find_engine, keep_engine, take_engine
from perframe.engines.prepare import build_engine


@pytest.fixture
def artifact(onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineArtifact:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return build_engine(onnx_file, tmp_path / "engine", engine="fake")


def test_the_key_follows_from_every_part() -> None:
    parts = {"model": "a", "batches": (1,), "gpu": None}
    keys = {engine_key(parts), *(engine_key({**parts, name: "other"}) for name in parts)}
    assert len(keys) == 4
    assert engine_key(parts) == engine_key(dict(reversed(parts.items())))


def test_what_is_kept_is_found_and_taken(artifact: EngineArtifact, tmp_path: Path) -> None:
    assert find_engine("key") is None
    keep_engine("key", artifact)
    kept = find_engine("key")
    assert kept is not None
    assert replace(kept, path=artifact.path) == artifact
    renamed = replace(artifact.model, name="other")
    taken = take_engine(kept, tmp_path / "taken", device="cuda:1", model=renamed)
    assert taken == replace(artifact, path=tmp_path / "taken", device="cuda:1", model=renamed)
    assert taken.path.read_bytes() == artifact.path.read_bytes()


@pytest.mark.parametrize("damage", ["engine", "sidecar", "no sidecar"])
def test_a_damaged_one_counts_as_none_and_is_replaced(
    artifact: EngineArtifact, tmp_path: Path, damage: str
) -> None:
    keep_engine("key", artifact)
    folder = tmp_path / "cache" / "perframe" / "engines" / "key"
    if damage == "no sidecar":
        (folder / "engine.json").unlink()
    else:
        (folder / ("engine" if damage == "engine" else "engine.json")).write_text("{}")
    assert find_engine("key") is None
    keep_engine("key", artifact)
    assert find_engine("key") is not None


def test_several_that_keep_at_once_leave_one_whole_engine(artifact: EngineArtifact, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: keep_engine("key", artifact), range(32)))
    assert find_engine("key") is not None
    folder = tmp_path / "cache" / "perframe" / "engines"
    assert [each.name for each in folder.iterdir()] == ["key"]
