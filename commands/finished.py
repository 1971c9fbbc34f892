"""What becomes of a profile: kept on disk, and shown."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perframe.progress import is_quiet

if TYPE_CHECKING:
    from perframe.profiler.result import Profile


class Finished:
    """Keeps the profile so far on disk, and shows it at the end, however the end comes.

    Args:
        target: Where it is kept; `None` keeps it nowhere.
        top: Modules to show; 0 = all.
        to_stdout: Whether it is shown as the JSON document that is kept.
    """

    def __init__(self, target: Path | None, top: int, to_stdout: bool) -> None:
        self._target, self._top, self._to_stdout = target, top, to_stdout
        self._profile: Profile | None = None

    def keep(self, profile: "Profile") -> None:
        """Keep the profile so far."""
        from perframe.profiler.result import write_profile

        self._profile = profile
        if self._target is not None:
            write_profile(profile, self._target)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._profile is None:
            return
        if self._to_stdout:
            from perframe.profiler.result import profile_to_json

            click.echo(profile_to_json(self._profile))
        else:
            from perframe.report.tables import profile_tables, show

            show(profile_tables(self._profile, self._top))
            if self._target is not None and not is_quiet():
                click.echo(f"saved: {self._target}")
