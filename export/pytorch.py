"""torch, or the error that says how to get it. Every file that needs torch imports it from here."""

from collections.abc import Iterator
from contextlib import contextmanager

from perframe.errors import UnavailableError

try:
    import torch as torch
    from torch import nn as nn
except ModuleNotFoundError as missing:
    raise UnavailableError(
        "Checkpoints need torch, which is not installed.",
        "Install it with: pip install 'perframe[torch]', or give the .onnx.",
    ) from missing
except (ImportError, OSError) as broken:
    raise UnavailableError(
        f"torch is installed and cannot be imported: {broken}.", "Run: pip install --force-reinstall torch"
    ) from broken


@contextmanager
def resources_translated(what: str) -> Iterator[None]:
    """Turn torch's RuntimeErrors about memory and disk, which are no bugs, into errors that say what to do.

    Args:
        what: What is being made, for the message.

    Raises:
        UnavailableError: There is not enough memory, or the file cannot be written.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if isinstance(error, MemoryError) or "allocate" in text:
            raise UnavailableError(f"Not enough memory for {what}.", "Make it smaller.") from error
        if "write" in text or "file" in text:
            raise UnavailableError(
                f"{what} cannot be written: {text.splitlines()[0]}", "Is the disk full?"
            ) from error
        raise
