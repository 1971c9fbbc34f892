"""The error tree. Each class carries the exit code a caller can act on.

| code | meaning | raised as |
|---|---|---|
| 0 | done; within thresholds | |
| 1 | a bug (traceback kept) | anything not listed here |
| 2 | usage | `UsageError` |
| 3 | regression | a verdict, not an exception |
| 4 | inconclusive, or incomparable | a verdict, not an exception |
| 5 | bad input: checkpoint, ONNX, engine, result file | `InputError` |
| 6 | unavailable: device, library, permission | `UnavailableError` |
| 6 | the device's memory does not suffice; a smaller batch may fit | `OutOfMemoryError` |
| 7 | export, parity or build failed | `BuildError` |
| 8 | measurement invalid | `MeasurementError` |
| 130 | interrupted; what was finished is saved | `KeyboardInterrupt` |

Every error is two sentences: `message` says what happened to which file or device, expected against found;
`hint` says what to do next. Vendor exceptions are translated at the border of the one file that imports the
vendor's library, so nothing above it needs to know them.
"""

from typing import ClassVar


class PerframeError(Exception):
    """An error the user can act on.

    Args:
        message: What happened to which file or device, expected against found. One line.
        hint: What to do next. One line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = one_line(message), one_line(hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}"


def one_line(text: str) -> str:
    """Return `text` on one line and without control characters.

    Names out of untrusted files may hold line breaks and terminal escapes; neither may reach a terminal.
    """
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in joined)


class UsageError(PerframeError):
    """The command line or the arguments of a call contradict each other or the model."""

    exit_code = 2


class InputError(PerframeError):
    """A file is missing, truncated, corrupt, hostile or of the wrong kind."""

    exit_code = 5


class UnavailableError(PerframeError):
    """A device, library or permission that the request needs is not there."""

    exit_code = 6


class OutOfMemoryError(UnavailableError):
    """The device's memory does not suffice for this batch. A smaller one may fit, so a series goes on."""


class BuildError(PerframeError):
    """Exporting, checking parity or building an engine failed."""

    exit_code = 7


class MeasurementError(PerframeError):
    """A measurement was made but cannot be believed."""

    exit_code = 8
