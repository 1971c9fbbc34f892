"""The border to TensorRT: one library out of two, `tensorrt` or `tensorrt_rtx`, imported when it is needed.

The two are nearly one API (see `perframe.engines.tensorrt_api`), so everything above takes a `TensorRtLibrary`
and asks no version; what only some versions have is asked for by `feature`.
"""

import importlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from perframe.engines.tensorrt_api import TrtEnumMember, TrtILogger, TrtModule
from perframe.errors import UnavailableError, one_line

LOG = logging.getLogger("perframe.tensorrt")
# Without a handler of the program's, Python would print warnings to stderr, where errors are two lines.
LOG.addHandler(logging.NullHandler())

_LEVELS = {
    "INTERNAL_ERROR": logging.ERROR,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "VERBOSE": logging.DEBUG,
}


@dataclass(frozen=True)
class _Flavour:
    """One of the two libraries: what it is called, and which versions the adapter was held against."""

    title: str
    module: str
    oldest: tuple[int, int]
    newest_major: int
    remedy: str


_FLAVOURS = {
    "tensorrt": _Flavour(
        title="TensorRT",
        module="tensorrt",
        oldest=(10, 3),
        newest_major=11,
        remedy="pip install 'perframe[tensorrt]', whose libraries come from NVIDIA's own package index; on a Jetson "
        "they come with JetPack: make the virtual environment with --system-site-packages.",
    ),
    "tensorrt-rtx": _Flavour(
        title="TensorRT-RTX",
        module="tensorrt_rtx",
        oldest=(1, 7),
        newest_major=1,
        remedy="pip install 'perframe[rtx]'; NVIDIA ships it on PyPI and on its own package index.",
    ),
}


@dataclass(frozen=True)
class TensorRtLibrary:
    """An imported TensorRT.

    Attributes:
        name: `tensorrt` or `tensorrt-rtx`, as the backend is called.
        title: What to call it in messages.
        api: The module.
        version: Its version.
        logger: To be given to everything that takes a logger: TensorRT knows one per process.
    """

    name: str
    title: str
    api: TrtModule
    version: str
    logger: TrtILogger
    _listeners: list[list[str]]

    @property
    def is_rtx(self) -> bool:
        """Whether engines are compiled for the GPU when they are opened, not when they are built."""
        return self.name == "tensorrt-rtx"

    @contextmanager
    def errors(self) -> Iterator[list[str]]:
        """Give a list into which every error goes that the runtime logs while the context is open.

        TensorRT answers a failure with None or False and tells the reason to its logger.
        """
        said: list[str] = []
        self._listeners.append(said)
        try:
            yield said
        finally:
            # By identity: an equal list of another context is another listener.
            self._listeners[:] = [each for each in self._listeners if each is not said]


@lru_cache
def tensorrt_library(name: str) -> TensorRtLibrary:
    """Import TensorRT.

    Args:
        name: `tensorrt` or `tensorrt-rtx`.

    Raises:
        UnavailableError: It is not installed, does not load, or is of a version this program does not know.
    """
    flavour = _FLAVOURS[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            api = cast(TrtModule, importlib.import_module(flavour.module))
            version = api.__version__
    except (ImportError, OSError, AttributeError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == flavour.module
        what = "is not installed" if missing else f"cannot be loaded: {one_line(str(error))}"
        raise UnavailableError(f"{flavour.title} {what}.", flavour.remedy) from error
    _check_version(flavour, version)
    listeners: list[list[str]] = []
    return TensorRtLibrary(name, flavour.title, api, version, _logger(api, listeners), listeners)


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to be compared with another's."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def feature(owner: object, name: str) -> Any:
    """Return the member of the library's `owner` that only some versions have; None where it is missing."""
    return getattr(owner, name, None)


def set_feature(owner: object, name: str, value: object) -> None:
    """Set an attribute of the library's `owner` that only some versions have; nothing where it is missing."""
    if hasattr(owner, name):
        setattr(owner, name, value)


def _check_version(flavour: _Flavour, version: str) -> None:
    if not flavour.oldest <= version_numbers(version)[:2] < (flavour.newest_major + 1, 0):
        oldest = ".".join(map(str, flavour.oldest))
        raise UnavailableError(
            f"{flavour.title}: expected version {oldest} to {flavour.newest_major}.x, found {version}.",
            flavour.remedy,
        )


def _logger(api: TrtModule, listeners: list[list[str]]) -> TrtILogger:
    class Logger(api.ILogger):  # type: ignore[name-defined, misc]
        """Hands the runtime's log to Python's, and its errors to whoever listens. Called from any thread."""

        def __init__(self) -> None:
            api.ILogger.__init__(self)

        def log(self, severity: TrtEnumMember, text: str) -> None:
            level = _LEVELS[severity.name]
            # Every severity comes here, thousands of messages per build.
            if level >= logging.ERROR:
                for said in tuple(listeners):
                    said.append(text)
            if LOG.isEnabledFor(level):
                LOG.log(level, "%s", text)

    return cast(TrtILogger, Logger())
