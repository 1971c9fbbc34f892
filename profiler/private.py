"""Text to be shown to strangers: without the names of the user, the machine and their folders."""

import os
import platform
import re
from pathlib import Path


def without_names(text: str) -> str:
    """Return `text` with the home folder as `~`, and with `USER` and `HOST` for these names within paths.

    Messages of libraries name files, and files lie in folders that are called after people and machines. Outside paths
    a name is left alone: users are called "nvidia" and "jetson" too.
    """
    names = dict.fromkeys(_users(), "USER") | {
        platform.node(): "HOST",
        platform.node().split(".")[0]: "HOST",
    }
    names.pop("", None)
    for home in sorted(
        {os.environ.get("HOME", "").rstrip("/"), str(_home())} - {"", "/"}, key=len, reverse=True
    ):
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    if not names:
        return text
    words = re.compile(rf"(?<![a-zA-Z0-9])({'|'.join(map(re.escape, names))})(?![a-zA-Z0-9])")
    return re.sub(r"/[^\s'\":;,()]*", lambda path: words.sub(lambda name: names[name[0]], path[0]), text)


def _users() -> set[str]:
    return {os.environ.get(variable, "") for variable in ("USER", "LOGNAME", "SUDO_USER")} | {_home().name}


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A container may run under a user that has none.
        return Path("/")
