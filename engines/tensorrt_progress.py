"""The progress of a TensorRT build, told while it runs, and a way to end it."""

import threading
from typing import cast

from perframe.engines.tensorrt_api import TrtIProgressMonitor, TrtModule
from perframe.progress import Progress


class Phases:
    """What part of a build is done: phases of so many steps, of which one may be a phase of its own.

    Phases may end before their last step, and may be told from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Phase] = {}
        self._fraction = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> float:
        """Begin a phase; return the fraction of the build that is done."""
        with self._lock:
            self._open[name] = _Phase(parent, max(steps, 1))
            return self._told()

    def step(self, name: str, step: int) -> float:
        """End step `step`, counted from 0, of a phase; return the fraction of the build that is done."""
        with self._lock:
            if name in self._open:
                self._open[name].done = step + 1
            return self._told()

    def finish(self, name: str) -> float:
        """End a phase; return the fraction of the build that is done."""
        with self._lock:
            self._open.pop(name, None)
            return self._told()

    def _told(self) -> float:
        # A phase may be left out or come again; what is done stays done.
        roots = [self._done(name) for name, phase in self._open.items() if phase.parent not in self._open]
        self._fraction = max(self._fraction, *roots) if roots else self._fraction
        return self._fraction

    def _done(self, name: str) -> float:
        phase = self._open[name]
        within = max(
            (self._done(child) for child, each in self._open.items() if each.parent == name), default=0.0
        )
        return min(1.0, (phase.done + within) / phase.steps)


class _Phase:
    def __init__(self, parent: str | None, steps: int) -> None:
        self.parent, self.steps, self.done = parent, steps, 0


def progress_monitor(api: TrtModule, progress: Progress, stop: threading.Event) -> TrtIProgressMonitor:
    """Return a monitor that tells `progress` how far a build is, and ends the build once `stop` is set.

    Args:
        api: The library.
        progress: Told the phase and the fraction that is done; from any thread.
        stop: When it is set, the build ends at its next step, and its result is None.
    """
    phases = Phases()

    class Monitor(api.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress(name.lower(), phases.start(name, parent, steps))

        def step_complete(self, name: str, step: int) -> bool:
            progress(name.lower(), phases.step(name, step))
            return not stop.is_set()

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    return cast(TrtIProgressMonitor, Monitor())
