"""Results of every version stay readable, forever."""

import json
from pathlib import Path

import pytest

from perframe.errors import InputError
from perframe.profiler.result import profile_to_json, read_profile

GOLDEN = Path(__file__).parents[1] / "data"


def test_version_1_is_read() -> None:
    """The file was written once, by the fake engine and a simulated GPU; it is never written again."""
    profile = read_profile(GOLDEN / "profile-1.json")
    assert profile.model.name == "mobilenet_v1-E2GC-G8-w0.25"
    assert [batch.batch for batch in profile.batches] == [1, 4]
    first = profile.batches[0]
    assert first.energy.kind == "modelled" and first.energy.sensor == "sim"
    assert first.energy.epf_j is not None and first.energy.epf_j.n == 3
    assert first.paced is not None and first.paced.fps == 100.0
    assert first.device_state is not None and first.device_state.other_processes == ()
    assert first.layers[0].module == "stem.conv"


def test_nothing_of_version_1_is_lost() -> None:
    path = GOLDEN / "profile-1.json"
    written, kept = json.loads(path.read_text()), json.loads(profile_to_json(read_profile(path)))
    assert shared(written, kept) == written


def shared(written: object, kept: object) -> object:
    """Cut what was kept down to the fields that were written: later fields of the schema come on top."""
    if isinstance(written, dict) and isinstance(kept, dict):
        return {key: shared(value, kept.get(key)) for key, value in written.items()}
    if isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        return [shared(*pair) for pair in zip(written, kept, strict=True)]
    return kept


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text[: len(text) // 2], "not a JSON document"),
        (lambda text: text.replace("perframe.profile/1", "perframe.profile/99"), "perframe.profile/99"),
        (lambda text: "[]", "found None"),
        (lambda text: text.replace('"batch": 4', '"batch": "four"'), "$.batches[1].batch"),
        (lambda text: text.replace('"complete": true,', ""), "$.complete"),
    ],
)
def test_a_damaged_result_is_refused_by_the_field(tmp_path: Path, change: object, word: str) -> None:
    path = tmp_path / "profile.json"
    assert callable(change)
    path.write_text(change((GOLDEN / "profile-1.json").read_text()))
    with pytest.raises(InputError) as caught:
        read_profile(path)
    assert word in caught.value.message


def test_a_field_that_a_later_version_adds_is_let_pass(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    document = json.loads((GOLDEN / "profile-1.json").read_text())
    path.write_text(json.dumps({**document, "more": {"than": "was known"}}))
    assert read_profile(path).complete
