"""The power of one measurement over time: its windows, the device at rest, and what is known to have happened."""

import math
from collections.abc import Sequence

from perframe.profiler.result import BatchResult, DeviceState, Energy, Profile, Window
from perframe.report.axes import Axis, linear
from perframe.report.figure import Cell, DataTable, Figure, measured, number
from perframe.report.figures_layers import energy_stamp
from perframe.report.panel import Drawing, Panel
from perframe.report.units import percent, quantity

_WINDOWS = 150
# Room beside the windows for the device at rest, whose moments are not recorded.
_REST_SHARE = 0.09


def power_figure(profiles: Sequence[Profile], batch: int) -> Figure | None:
    """Draw the mean power of every window, the device at rest before and after, and the counter's view of each window.

    Args:
        profiles: Runs of one network; a plot each.
        batch: At which batch size; runs without it are left out.

    Returns:
        `None` where no window has an energy.
    """
    drawings: list[Drawing] = []
    rows: list[tuple[Cell, ...]] = []
    last, left = None, 0
    for run, profile in enumerate(profiles, start=1):
        result = next((each for each in profile.batches if each.batch == batch), None)
        known = _known(result) if result is not None else []
        if result is None or not known:
            continue
        last, shown = result, known[:_WINDOWS]
        left += len(known) - len(shown)
        title = f"B = {batch}, run {run}" if len(profiles) > 1 else f"B = {batch}"
        drawings.append(_panel(title, result, shown))
        rows += [_row(run, i, window, kind) for i, (window, kind) in enumerate(shown, start=1)]
    if last is None:
        return None
    name = profiles[0].model.name
    return Figure(
        "power",
        f"Power while {name} was measured, batch {batch}",
        _what_to_see(last) + (f" {left} later windows are not drawn." if left else ""),
        tuple(drawings),
        2,
        DataTable(
            f"{name}, batch {batch}: the raw windows",
            ("window", "of", "run", "start", "length", "frames", "energy", "by counter", "power", "readings"),
            tuple(rows),
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


def _panel(title: str, result: BatchResult, shown: Sequence[tuple[Window, str]]) -> Drawing:
    energy, stamp = result.energy, energy_stamp(result)
    end_s = max(window.start_s + window.duration_s for window, _ in shown)
    rest_s = end_s * _REST_SHARE if energy.idle_w is not None else 0.0
    time = linear("seconds since the first window", [0.0, end_s])
    powers = [_power(window) for window, _ in shown]
    counted = [w.counter_j / w.duration_s for w, _ in shown if w.counter_j is not None]
    panel = Panel(
        title,
        Axis(time.label, -rest_s, end_s + rest_s, tuple(tick for tick in time.ticks if tick[0] <= end_s)),
        linear(f"power ({stamp})" if stamp else "power", [*powers, *counted], "W"),
        height=250.0,
        stamp=stamp,
    )
    for (window, kind), power in zip(shown, powers, strict=True):
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
    _draw_rest(panel, energy, end_s, rest_s)
    span = f"{quantity(min(powers), 'W')} to {quantity(max(powers), 'W')}"
    return panel.drawing(f"Mean power of {len(shown)} windows, {span}")


def _draw_rest(panel: Panel, energy: Energy, end_s: float, rest_s: float) -> None:
    if energy.idle_w is None:
        return
    panel.line([(-rest_s, energy.idle_w), (end_s + rest_s, energy.idle_w)], "quiet dots")
    for watts, start, name in (
        (energy.idle_before_w, -rest_s, "before"),
        (energy.idle_after_w, end_s, "after"),
    ):
        if watts is not None:
            told = f"at rest {name}: {quantity(watts, 'W')}"
            inside = (start + 0.15 * rest_s, start + 0.85 * rest_s)
            panel.block(inside, (0.0, watts), "soft s5", told)
            panel.line([(inside[0], watts), (inside[1], watts)], "s5")
    panel.text(
        panel.right, panel.py(energy.idle_w) - 6.0, f"at rest {quantity(energy.idle_w, 'W')}", "tick", "end"
    )


def _what_to_see(batch: BatchResult) -> str:
    energy = batch.energy
    parts = ["Each block is one window: its height is the mean power, its area the energy."]
    if batch.paced is not None:
        parts.append("Green blocks: at a camera's pace.")
    if any(window.counter_j is not None for window in energy.windows):
        parts.append("Dotted orange: the same by the device's own counter.")
    if energy.idle_w is not None:
        parts.append(
            "Grey at the sides: the device at rest, before and after; only their height is to scale."
        )
    if batch.warm_up is not None:
        settled = "latency had settled" if batch.warm_up.steady else "latency had NOT settled"
        parts.append(f"Before: {quantity(batch.warm_up.duration_s, 's')} of warm-up, after which {settled}.")
    if batch.device_state is not None:
        parts.append(_events(batch.device_state))
    if energy.update_period_s is not None:
        parts.append(f"The sensor updates every {quantity(energy.update_period_s, 's')}.")
    return " ".join(part for part in parts if part)


def _events(state: DeviceState) -> str:
    """What the device went through, in a sentence or two."""
    told = []
    if state.temperature_start_c is not None and state.temperature_end_c is not None:
        told.append(f"{state.temperature_start_c:g} to {state.temperature_end_c:g} °C")
    if state.clock_low_hz is not None and state.clock_high_hz is not None:
        clocks = {quantity(state.clock_low_hz, "Hz"), quantity(state.clock_high_hz, "Hz")}
        told.append(f"clock {' to '.join(sorted(clocks))}")
    held = {
        reason: part for reason, part in state.limited_share.items() if part > 0.0 and math.isfinite(part)
    }
    told += [f"clocks held down by {reason} {percent(part)} of the time" for reason, part in held.items()]
    if state.other_processes:
        told.append(f"{len(state.other_processes)} other processes on the device")
    return f"The device: {', '.join(told)}." if told else ""


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
