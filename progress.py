"""How long work tells what it is doing."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, float], None]
"""Told what is being done, and what fraction of it is done."""


def silent(what: str, fraction: float) -> None:
    """Tell nobody."""
