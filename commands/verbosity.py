"""How much a command tells beside its result: --quiet, --verbose and --debug set the level of the logger `perframe`."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from perframe.errors import one_line

F = TypeVar("F", bound=Callable[..., Any])

_LOG = logging.getLogger("perframe")


@contextmanager
def usual_verbosity() -> Iterator[None]:
    """Let options decide how much is told, for the length of the block."""
    level, handlers = _LOG.level, _LOG.handlers[:]
    try:
        yield
    finally:
        _LOG.setLevel(level)
        _LOG.handlers[:] = handlers


def with_verbosity(function: F) -> F:
    """Give a command the options that say how much it tells."""
    for option in (
        _level("--debug", level=logging.DEBUG, help="Show the traceback of an error, and log everything."),
        _level("-v", "--verbose", level=logging.INFO, help="Log to stderr what is done."),
        _level("-q", "--quiet", level=logging.ERROR, help="Only the result: no progress and no notes."),
    ):
        function = option(function)
    return function


def _level(*names: str, level: int, help: str) -> Callable[[F], F]:  # noqa: A002 - click's name
    def set_level(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
        if not given:
            return
        if _LOG.level and (level == logging.ERROR) != (_LOG.level == logging.ERROR):
            raise click.UsageError("--quiet contradicts --verbose and --debug.", ctx)
        _LOG.setLevel(min(level, _LOG.level or level))
        if level < logging.WARNING and not any(isinstance(each, _Lines) for each in _LOG.handlers):
            _LOG.addHandler(_Lines())

    # Eager, so that whatever is read for other options is logged already.
    return click.option(
        *names, is_flag=True, is_eager=True, expose_value=False, callback=set_level, help=help
    )


class _Lines(logging.StreamHandler[Any]):
    """Writes one line per message to stderr; texts of files and libraries are untrusted."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(f"{record.name}: {record.getMessage()}")
