"""TOML files written by hand."""

import sys
from pathlib import Path
from typing import Any

from perframe.errors import InputError
from perframe.files import readable_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.
        what: What it should hold ("sweep plan"), for messages.

    Raises:
        InputError: The file is missing or no TOML.
    """
    readable_file(path, what)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this {what} is not TOML: {error}.", "Mend the place it names.") from error
