"""How long work tells what it is doing, and whether anybody wants to know."""

import logging
from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, float], None]
"""Told what is being done, and what fraction of it is done."""


def silent(what: str, fraction: float) -> None:
    """Tell nobody."""


def is_quiet() -> bool:
    """Whether nothing but results shall be shown: the logger `perframe` takes no warnings."""
    return not logging.getLogger("perframe").isEnabledFor(logging.WARNING)


def is_verbose() -> bool:
    """Whether what is done is logged."""
    return logging.getLogger("perframe").isEnabledFor(logging.INFO)
