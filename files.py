"""Files read and written: checked before the work, written whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perframe.errors import InputError, UnavailableError, UsageError


def readable_file(path: Path, what: str) -> Path:
    """Return `path` if it is a readable, non-empty regular file.

    Args:
        path: The file the user named.
        what: What it should be ("checkpoint", "ONNX model"), for the message.

    Raises:
        InputError: It is missing, a directory, a special file or empty.
        UnavailableError: There is no permission to read it.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{path}: expected a {what}, found a directory.", "Name the file itself.")
        if not path.is_file():
            raise InputError(f"{path}: expected a {what}, found a special file.", "Name a regular file.")
        if size == 0:
            raise InputError(
                f"{path}: expected a {what}, found an empty file.", "Was the copy or save cut off?"
            )
        with path.open("rb"):
            pass
    except PermissionError as error:
        raise UnavailableError(
            f"{path}: no permission to read this {what}.", "Change its mode or owner."
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot read this {what}: {reason}.", "Check the path.") from error
    return path


def writable_target(path: Path, *, inputs: tuple[Path, ...] = ()) -> Path:
    """Return `path` if a file can be put there, so that hours of work do not end in a refused write.

    Args:
        path: Where a result shall go. An existing file is replaced.
        inputs: The files the work reads; none of them may be the target.

    Raises:
        UsageError: The target is one of the inputs.
        UnavailableError: Its folder is missing or not writable, or the target is a directory.
    """
    if any(given.exists() and path.exists() and given.samefile(path) for given in inputs):
        raise UsageError(f"{path}: the output is also the input.", "Give another -o.")
    _check_kind(path)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block succeeds.

    A reader sees the old file or the whole new one, and a failure (full disk, Ctrl-C) leaves no half file.

    Raises:
        UnavailableError: The folder cannot be written, or the disk is full.
    """
    # Through a link, so that the link stays one.
    path = path.resolve()
    _check_kind(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        try:
            yield temporary
            # mkstemp makes private files; a result is as readable as any file the user writes.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def user_cache(name: str) -> Path:
    """Return the folder of the user's cache for things of one kind, which can all be made again.

    It is `$XDG_CACHE_HOME/perframe/NAME`, or below `~/.cache`; it need not exist.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "perframe" / name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_kind(path: Path) -> None:
    """Refuse what a rename would destroy: a device or a pipe would become a plain file."""
    if path.exists() and not path.is_file():
        kind = "directory" if path.is_dir() else "special file"
        raise UnavailableError(f"{path}: cannot write the output: it is a {kind}.", "Name a plain file.")


def _unwritable(path: Path, error: OSError) -> UnavailableError:
    reason = error.strerror or type(error).__name__
    return UnavailableError(
        f"{path}: cannot write the output: {reason}.", "Check the folder, its permissions and the free space."
    )
