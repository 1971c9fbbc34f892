"""One thing that was looked at on this machine, and what would mend it."""

from dataclasses import dataclass
from typing import Literal

from perframe.errors import PerframeError

Topic = Literal["device", "engine", "checkpoints", "fit", "sensor", "energy", "permission"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What kind of thing: a `device`; an `engine`; reading `checkpoints`; how installed software and driver
            `fit` together; a `sensor`; whether a device's `energy` is measured here; a `permission`.
        name: Which one.
        works: Whether it can be used here.
        what: What was found.
        remedy: What would mend it; empty where nothing needs to, or nothing can.
        builds: Of an engine that does not work here, whether it builds what another machine can run.
    """

    topic: Topic
    name: str
    works: bool
    what: str
    remedy: str = ""
    builds: bool = False


def obstacle(topic: Topic, name: str, error: PerframeError) -> Finding:
    """Return the finding that an error is."""
    return Finding(topic, name, False, error.message, error.hint)
