"""trtexec's files are read as it writes them, which is not always JSON, and nothing else is taken for them."""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.errors import InputError
from perframe.profiler.trtexec_files import read_layer_profile, read_run_facts, read_times


def profile_text(*layers: tuple[str, str], count: int | str = 10) -> str:
    """A layer profile as trtexec writes one: names between quotes as they are."""
    lines = [
        f', {{ "name" : "{name}", "timeMs" : {ms}, "averageMs" : {ms}, "medianMs" : {ms}, "percentage" : -nan }}'
        for name, ms in layers
    ]
    return "\n".join(["[", f'  {{ "count" : {count} }}', *lines, "]\n"])


def query(start_ms: float, ms: float = 1.0, **more: Any) -> dict[str, Any]:
    """One query without transfers."""
    end_ms = start_ms + ms
    return {
        **{"startEnqMs": start_ms, "endEnqMs": start_ms, "startH2dMs": start_ms, "endH2dMs": start_ms},
        **{"startComputeMs": start_ms, "endComputeMs": end_ms, "startD2hMs": end_ms, "endD2hMs": end_ms},
        **{"h2dMs": 0, "computeMs": ms, "d2hMs": 0, "latencyMs": ms, **more},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


@pytest.mark.parametrize(
    "name",
    [
        "conv1 + relu1",
        "conv1\x1frelu1\x1econv2",
        'a "quoted" name',
        "C:\\new\\table",
        "ends with a backslash\\",
        "line\nbreak",
        "naïve – ünïcode",
    ],
)
def test_names_are_what_stands_between_the_quotes(path: Path, name: str) -> None:
    path.write_text(profile_text((name, "0.5"), ("other", "1.5")))
    found = read_layer_profile(path)
    assert [layer.name for layer in found.layers] == [name, "other"]
    assert [layer.latency_s for layer in found.layers] == pytest.approx([0.5e-3, 1.5e-3])
    assert found.iterations == 10 and found.medians


def test_json_of_another_writer_is_json(path: Path) -> None:
    entries = [{"count": 2}, {"name": 'a "b" \\ c', "averageMs": 1.0}, {"name": "d", "timeMs": 4.0}]
    path.write_text(json.dumps(entries))
    found = read_layer_profile(path)
    assert [layer.name for layer in found.layers] == ['a "b" \\ c', "d"]
    assert [layer.latency_s for layer in found.layers] == pytest.approx([1e-3, 2e-3])
    assert not found.medians


def test_gzipped_files_and_byte_order_marks_are_read(path: Path) -> None:
    text = profile_text(("a", "1"))
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    assert len(read_layer_profile(path).layers) == 1


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (profile_text(("a", "1"))[:40], "not a JSON document"),
        (profile_text(("a", "nan")), "layer 'a': expected medianMs to be milliseconds, found nothing"),
        (profile_text(("a", "-1")), "found -1"),
        (profile_text(("a", "1e999")), "found inf"),
        (profile_text(("a", "true")), "found True"),
        (profile_text(("a", '"1"')), "found '1'"),
        (profile_text(("a", "0")), "none of them takes any"),
        (profile_text(), "found no layer"),
        (profile_text(count=0), "found a count of 0"),
        (profile_text(("a", "1"), count=0), "found a count of 0"),
        ('[{"name": 3, "medianMs": 1}]', "expected a layer's name, found 3"),
        ('[{"name": "a", "timeMs": 1}]', "expected medianMs"),
        ('{"Layers": []}', "found an object"),
        ("[]", "found an empty list"),
        ("[1, 2]", "found a list"),
        ("[" * 10_000, "not a JSON document"),
    ],
)
def test_what_is_no_layer_profile_is_refused(path: Path, text: str, word: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        read_layer_profile(path)
    assert str(path) in caught.value.message


def test_a_compressed_file_cannot_fill_the_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perframe.engines.tensorrt_json.MOST_BYTES", 1 << 20)
    path.write_bytes(gzip.compress(b" " * (1 << 21)))
    with pytest.raises(InputError, match="of at most 1 MB, found more"):
        read_layer_profile(path)


def test_a_truncated_gzip_file_is_refused(path: Path) -> None:
    path.write_bytes(gzip.compress(profile_text(("a", "1")).encode())[:-9])
    with pytest.raises(InputError, match="not a readable"):
        read_layer_profile(path)


def test_the_warm_up_is_left_out_as_trtexec_leaves_it_out(path: Path) -> None:
    path.write_text(json.dumps([query(start) for start in (2.5, 100.0, 199.9, 200.0, 201.0, 203.0)]))
    found = read_times(path)
    assert found.warm_up == 3
    assert found.warm_up_s == pytest.approx(0.2)
    assert found.latency_s.tolist() == pytest.approx([1e-3] * 3)
    assert found.span_s == pytest.approx(4e-3)
    assert found.busy_share == pytest.approx(0.75)
    assert read_times(path, 0.0).warm_up == 0


def test_times_of_old_versions_are_read(path: Path) -> None:
    old = {"startInMs": 300.0, "endOutMs": 304.0, "startComputeMs": 301.0, "computeMs": 2.0, "latencyMs": 4.0}
    path.write_text(json.dumps([old]))
    found = read_times(path)
    assert [found.span_s, *found.latency_s] == pytest.approx([4e-3, 4e-3])


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ([query(100.0)], "found 0 of 1"),
        ([query(300.0, 0.0)], "that take time"),
        ([query(300.0, endD2hMs=200.0), query(400.0)], "that take time"),
        ([query(300.0, latencyMs=None)], "query 0: expected latencyMs to be milliseconds, found nothing"),
        ([query(300.0), {"computeMs": 1.0}], "query 1: expected startH2dMs"),
        ([{"name": "a", "medianMs": 1.0}], "expected startH2dMs"),
    ],
)
def test_what_is_no_file_of_times_is_refused(path: Path, entries: list[Any], word: str) -> None:
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=word):
        read_times(path)


def test_facts_about_a_run_lose_their_sections_and_lists(tmp_path: Path) -> None:
    first, second = tmp_path / "device.json", tmp_path / "run.json"
    first.write_text(
        json.dumps([{"Name": "A100", "ComputeCapability": [8, 0], "CLOCK_RATE": 1410000}, {"Name": "B"}])
    )
    second.write_text(
        json.dumps({"device_information": {"Selected Device": "A100", "SMs": 108.0, "Name": "C"}})
    )
    assert read_run_facts((first, second)) == {
        "Name": "A100",
        "CLOCK_RATE": 1410000.0,
        "Selected Device": "A100",
        "SMs": 108.0,
    }
    second.write_text("[]")
    with pytest.raises(InputError, match="found a list"):
        read_run_facts((second,))


ENTRY = st.dictionaries(
    st.sampled_from(("name", "count", "timeMs", "averageMs", "medianMs", *query(0.0))),
    st.none() | st.floats() | st.integers() | st.floats(0.1, 900.0) | st.text(max_size=3) | st.booleans(),
)
ANYTHING = (
    st.lists(ENTRY, max_size=4)
    | ENTRY
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=6,
    )
)


@given(raw=ANYTHING, text=st.none() | st.text(max_size=40))
def test_nothing_else_does_harm(raw: Any, text: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.json"
        path.write_text((json.dumps(raw) if text is None else text) or " ", encoding="utf-8")
        for read in (read_layer_profile, read_times, lambda path: read_run_facts((path,))):
            try:
                read(path)
            except InputError as error:
                assert str(path) in error.message
