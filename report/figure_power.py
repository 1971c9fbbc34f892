"""The power of one measurement over time: its windows, the device at rest, and what is known to have happened."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from perframe.profiler.result import BatchResult, Profile, Window
from perframe.report.axes import Axis, linear
from perframe.report.figure import Cell, DataTable, Figure, measured, number
from perframe.report.figures_layers import energy_stamp
from perframe.report.panel import Drawing, Panel, shortened
from perframe.report.units import percent, quantity

_WINDOWS = 150
# Room beside the windows for the device at rest, where it is not known when that was.
_REST_SHARE = 0.09
# Characters that fit into a plot.
_EVENT = 50
# The names of moments stand above the highest power.
_HEADROOM = 1.35


@dataclass(frozen=True)
class _Run:
    """One run as it is drawn: its number, and windows with whether they are back to back or at a camera's pace."""

    number: int
    result: BatchResult
    shown: tuple[tuple[Window, str], ...]

    @property
    def end_s(self) -> float:
        return max(window.start_s + window.duration_s for window, _ in self.shown)

    def watts(self) -> Iterator[float]:
        """Everything that the axis of power must hold."""
        energy = self.result.energy
        yield from (_power(window) for window, _ in self.shown)
        yield from (w.counter_j / w.duration_s for w, _ in self.shown if w.counter_j is not None)
        yield from (energy.trace.power_w if energy.trace is not None else ())
        yield from (each for each in (energy.idle_before_w, energy.idle_after_w) if each is not None)

    def rests(self) -> list[tuple[str, tuple[float, float], float]]:
        """Whether before or after the windows, from when to when, and the watts then, of the device at rest."""
        energy = self.result.energy
        aside_s = self.end_s * _REST_SHARE
        beside = (
            (-0.85 * aside_s, -0.15 * aside_s),
            (self.end_s + 0.15 * aside_s, self.end_s + 0.85 * aside_s),
        )
        return [
            ("before", span, watts) if span[0] < 0.0 else ("after", span, watts)
            for span in energy.idle_spans_s or beside
            if (watts := energy.idle_before_w if span[0] < 0.0 else energy.idle_after_w) is not None
        ]

    def phases(self) -> list[tuple[float, str]]:
        """When what began, as far as that is known."""
        energy, warm_up, paced = self.result.energy, self.result.warm_up, self.result.paced
        found: list[tuple[float, str]] = []
        if energy.idle_spans_s:
            found += [(span[0], f"at rest {quantity(watts, 'W')}") for _, span, watts in self.rests()]
        if energy.idle_spans_s or energy.trace is not None:
            found.append((0.0, "windows"))
            if warm_up is not None:
                found.append((-warm_up.duration_s, "warm-up"))
        if paced is not None:
            starts = [window.start_s for window, kind in self.shown if kind == "paced"]
            found += [(start_s, f"paced, {paced.fps:g}/s") for start_s in starts[:1]]
        return found


def power_figure(profiles: Sequence[Profile], batch: int) -> Figure | None:
    """Draw the mean power of every window, the device at rest before and after, and the counter's view of each window.

    Args:
        profiles: Runs of one network; a plot each.
        batch: At which batch size; runs without it are left out.

    Returns:
        `None` where no window has an energy.
    """
    runs, left = [], 0
    for run, profile in enumerate(profiles, start=1):
        result = next((each for each in profile.batches if each.batch == batch), None)
        known = _known(result) if result is not None else []
        if result is not None and known:
            runs.append(_Run(run, result, tuple(known[:_WINDOWS])))
            left += len(known[_WINDOWS:])
    if not runs:
        return None
    name = profiles[0].model.name
    # One scale, so that runs can be compared.
    watts = list(chain.from_iterable(run.watts() for run in runs))
    if any(run.phases() for run in runs):
        watts.append(_HEADROOM * max(watts))
    stamp = energy_stamp(runs[0].result)
    axis = linear(f"power ({stamp})" if stamp else "power", watts, "W")
    titles = [f"B = {batch}, run {run.number}" if len(profiles) > 1 else f"B = {batch}" for run in runs]
    return Figure(
        "power",
        f"Power while {name} was measured, batch {batch}",
        _what_to_see(runs) + (f" {left} later windows are not drawn." if left else ""),
        tuple(_panel(title, run, axis, stamp) for title, run in zip(titles, runs, strict=True)),
        2,
        DataTable(
            f"{name}, batch {batch}: the raw windows",
            ("window", "of", "run", "start", "length", "frames", "energy", "by counter", "power", "readings"),
            tuple(
                _row(run.number, i, window, kind)
                for run in runs
                for i, (window, kind) in enumerate(run.shown, start=1)
            ),
            note="What the sensor read is in the result file, as far as it is drawn."
            if any(run.result.energy.trace is not None for run in runs)
            else "",
        ),
    )


def _known(result: BatchResult) -> list[tuple[Window, str]]:
    """The windows that have an energy, and whether they are back to back or at a camera's pace."""
    paced = result.paced.windows if result.paced is not None else ()
    every = [(window, "saturated") for window in result.energy.windows] + [
        (window, "paced") for window in paced
    ]
    return [
        (window, kind) for window, kind in every if window.energy_j is not None and window.duration_s > 0.0
    ]


def _panel(title: str, run: _Run, watts: Axis, stamp: str) -> Drawing:
    energy, rests, phases = run.result.energy, run.rests(), run.phases()
    told_s = [0.0, run.end_s, *(at_s for at_s, _ in phases)]
    if energy.trace is not None:
        told_s += energy.trace.time_s
    # Where it is not known when the device was at rest, its blocks stand beside the times that are.
    every_s = [*told_s, *(end_s for _, span, _ in rests for end_s in span)]
    begin_s, end_s = min(every_s), max(every_s)
    time = linear("seconds since the first window", told_s)
    ticks = tuple(tick for tick in time.ticks if min(told_s) <= tick[0] <= max(told_s))
    panel = Panel(title, Axis(time.label, begin_s, end_s, ticks), watts, height=250.0, stamp=stamp)
    if energy.trace is not None:
        panel.line(zip(energy.trace.time_s, energy.trace.power_w, strict=True), "quiet thin")
    for name, span, rest_w in rests:
        panel.block(span, (0.0, rest_w), "soft s5", f"at rest {name}: {quantity(rest_w, 'W')}")
        panel.line([(span[0], rest_w), (span[1], rest_w)], "s5")
    powers = [_power(window) for window, _ in run.shown]
    for (window, kind), power in zip(run.shown, powers, strict=True):
        told = (
            f"{kind} window: {quantity(power, 'W')} for {quantity(window.duration_s, 's')},"
            f" {quantity(window.energy_j, 'J')}, {window.frames} frames"
        )
        style = "s0" if kind == "saturated" else "s2"
        ends = (window.start_s, window.start_s + window.duration_s)
        panel.block(ends, (0.0, power), f"soft {style}", told)
        panel.line([(ends[0], power), (ends[1], power)], style)
        if window.counter_j is not None:
            height = window.counter_j / window.duration_s
            panel.line([(ends[0], height), (ends[1], height)], "s1 dots")
    if energy.idle_w is not None:
        panel.line([(begin_s, energy.idle_w), (end_s, energy.idle_w)], "quiet dots")
        if not energy.idle_spans_s:
            height = panel.py(energy.idle_w) - 6.0
            panel.text(panel.right, height, f"at rest {quantity(energy.idle_w, 'W')}", "tick", "end")
    panel.moments(phases)
    for i, event in enumerate(_events(run.result)):
        middle = (panel.left + panel.right) / 2.0, (panel.top + panel.bottom) / 2.0 + 15.0 * i
        panel.text(*middle, shortened(event, _EVENT), "stamp", "middle")
    least, most = quantity(min(powers), "W"), quantity(max(powers), "W")
    return panel.drawing(f"Mean power of {len(run.shown)} windows, {least} to {most}")


def _what_to_see(runs: Sequence[_Run]) -> str:
    energies = [run.result.energy for run in runs]
    parts = ["Each block is one window: its height is the mean power, its area the energy."]
    if any(energy.trace is not None for energy in energies):
        parts.append("Thin grey line: what the sensor read.")
    if any(run.result.paced is not None for run in runs):
        parts.append("Green blocks: at a camera's pace.")
    if any(window.counter_j is not None for energy in energies for window in energy.windows):
        parts.append("Dotted orange: the same by the device's own counter.")
    if any(energy.idle_w is not None for energy in energies):
        aside = "" if any(energy.idle_spans_s for energy in energies) else "; only their height is to scale"
        parts.append(f"Grey blocks: the device at rest, before and after{aside}.")
    told = [_conditions(run.result) for run in runs]
    # What was the same in all runs is said once.
    shared = [each for each in told[0] if all(each in others for others in told)]
    if shared:
        parts.append(f"{'Every run' if len(runs) > 1 else 'This run'}: {'; '.join(shared)}.")
    for run, each in zip(runs, told, strict=True):
        if own := [one for one in each if one not in shared]:
            parts.append(f"Run {run.number}: {'; '.join(own)}.")
    return " ".join(parts)


def _conditions(batch: BatchResult) -> list[str]:
    """What else there is to know of a run: warm-up, temperature, clocks, sensor."""
    told, state = [], batch.device_state
    if batch.warm_up is not None:
        settled = "had settled" if batch.warm_up.steady else "had NOT settled"
        told += [f"{quantity(batch.warm_up.duration_s, 's')} of warm-up", f"latency {settled} after it"]
    if state is not None and state.temperature_start_c is not None and state.temperature_end_c is not None:
        degrees = dict.fromkeys(f"{each:g}" for each in (state.temperature_start_c, state.temperature_end_c))
        told.append(f"{' to '.join(degrees)} °C")
    if state is not None and state.clock_low_hz is not None and state.clock_high_hz is not None:
        clocks = sorted((state.clock_low_hz, state.clock_high_hz))
        told.append(f"clock {' to '.join(dict.fromkeys(quantity(each, 'Hz') for each in clocks))}")
    if batch.energy.update_period_s is not None:
        told.append(f"a new reading every {quantity(batch.energy.update_period_s, 's')}")
    return told + _events(batch)


def _events(batch: BatchResult) -> list[str]:
    """What went wrong, as far as it is known; at what moment is not."""
    told, state = [], batch.device_state
    if batch.energy.idle_settled is False:
        told.append("power at rest had not settled")
    if state is not None:
        told += [
            f"clocks held down by {reason}, {percent(part)}"
            for reason, part in state.limited_share.items()
            if part > 0.0 and math.isfinite(part)
        ]
        if others := len(state.other_processes or ()):
            told.append(f"{others} other process{'' if others == 1 else 'es'} on the device")
    return told


def _row(run: int, index: int, window: Window, kind: str) -> tuple[Cell, ...]:
    return (
        number(index),
        Cell(kind),
        number(run),
        number(window.start_s, ".3f"),
        measured(window.duration_s, "s", 4),
        number(window.frames),
        measured(window.energy_j, "J", 4),
        measured(window.counter_j, "J", 4),
        measured(_power(window), "W", 4),
        number(window.readings),
    )


def _power(window: Window) -> float:
    return (window.energy_j or 0.0) / window.duration_s
