"""One measurement per device at a time: two at once would share the cores, and the watts."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from perframe.errors import UnavailableError

_FOLDER = "/tmp" if os.name == "posix" else tempfile.gettempdir()


@contextmanager
def device_lock(device: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold `device` for the length of the block.

    The lock is the operating system's, so it ends with the process that holds it, however that ends. It lies in
    one fixed folder, so that it binds every user of the machine whatever their own temporary folder is;
    `PERFRAME_LOCK_DIR` names another, for containers that share a device.

    Args:
        device: `cpu`, `cuda:0`, ...
        wait_s: How long to wait for another holder to finish.

    Raises:
        UnavailableError: Another process holds the device; the message says which, and since when.
    """
    path = Path(os.environ.get("PERFRAME_LOCK_DIR") or _FOLDER) / f"perframe-{device.replace(':', '-')}.lock"
    holder = path.with_suffix(".json")
    lock = FileLock(path, timeout=wait_s, mode=0o666)
    try:
        lock.acquire()
    except Timeout as error:
        raise UnavailableError(
            f"Device {device} is being measured by another process{_told(holder)}.",
            "Let it finish, or wait for it with --wait-s 600.",
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"{path}: cannot lock device {device}: {error.strerror}.",
            "Another user may own this file; remove it.",
        ) from error
    try:
        _tell(holder)
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _tell(holder: Path) -> None:
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    # Who holds the device is a courtesy to the next one; the lock itself does not rest on it.
    with suppress(OSError):
        holder.unlink(missing_ok=True)
        # "x" follows no link that somebody else may have put there.
        with holder.open("x", encoding="utf-8") as file:
            json.dump({"pid": os.getpid(), "since": since}, file)


def _told(holder: Path) -> str:
    try:
        said = json.loads(holder.read_text(encoding="utf-8"))
        return f": process {int(said['pid'])} since {str(said['since'])[:30]}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
