import stat
from pathlib import Path

import pytest

from perframe.errors import InputError, UnavailableError, UsageError
from perframe.files import atomic_path, readable_file, sha256_of, writable_target, write_text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_written_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    write_text(tmp_path / "ours", "text")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_full_disk_is_told_in_two_sentences(tmp_path: Path) -> None:
    with (
        pytest.raises(UnavailableError, match="No space left"),
        atomic_path(tmp_path / "result") as temporary,
    ):
        temporary.unlink()
        temporary.symlink_to("/dev/full")
        temporary.write_text("x")


@pytest.mark.parametrize("kind", ["missing", "directory", "empty"])
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    with pytest.raises(InputError, match=str(path)):
        readable_file(path, "checkpoint")


def test_a_special_file_is_refused() -> None:
    with pytest.raises(InputError, match="special file"):
        readable_file(Path("/dev/zero"), "checkpoint")


def test_an_output_that_is_an_input_is_refused_through_a_link_too(tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_text("weights")
    link = tmp_path / "other.onnx"
    link.symlink_to(source)
    with pytest.raises(UsageError, match="also the input"):
        writable_target(link, inputs=(source,))


@pytest.mark.parametrize("target", ["missing/result.json", "file/result.json", "."])
def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot write the output"):
        writable_target(tmp_path / target)


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
