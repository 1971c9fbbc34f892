"""What to know before believing the joules; the codes stand in `perframe.profiler.checks`."""

import math
from collections.abc import Iterator, Sequence

from perframe.profiler.aliasing import SHORTEST_WINDOW_S, TOLERATED, beat_error
from perframe.profiler.result import Energy, Quality, Window

_CONCLUSIVE = 0.02
_FEW_READINGS = 5
_EDGE = 0.01
_IDLE_DIFFERS = 0.02
_DRIFT = 0.02
_DISAGREE = 0.03
_STUCK_S = 1.0
# From so many evenly spread phases on, a beat's first harmonics cancel.
_PHASES = 4


def of_energy(energy: Energy) -> Iterator[Quality]:
    """Say where the joules come from and how well they are known."""
    if energy.kind == "absent":
        named = (
            f"Sensor {energy.sensor!r} did not see every window"
            if energy.sensor
            else "No power sensor was read"
        )
        yield Quality(
            "energy-absent",
            "warning",
            f"{named}: there is no energy figure.",
            "Give --sensor, or a longer --window-s than the sensor's update period.",
        )
    elif energy.kind == "modelled":
        simulated = energy.sensor == "sim"
        source = "a simulated GPU" if simulated else "CPU seconds x stated watts"
        yield Quality(
            "energy-modelled",
            "warning",
            f"Energy is modelled: {source}. No sensor was read.",
            "It shows how perframe works, and nothing about this machine."
            if simulated
            else "Use a machine with a power sensor; state your CPU's watts with --watts.",
        )
    elif energy.sensor == "replay":
        yield Quality(
            "energy-replayed",
            "warning",
            "Energy comes from a recorded trace that was played beside this run.",
            "Believe it only if the trace was recorded during the same work.",
        )
    yield from of_uncertainty(
        energy.relative_uncertainty, energy.edge_error, len(energy.windows), "The energy per frame"
    )


def of_uncertainty(
    relative: float | None, edge_error: float | None, windows: int, what: str
) -> Iterator[Quality]:
    """Say that a figure is too uncertain to decide anything, and what would help.

    Args:
        relative: Its relative uncertainty, if known.
        edge_error: The part of it that may be missed at the windows' ends.
        windows: How many it rests on.
        what: The figure, for the message.
    """
    if relative is not None and relative > _CONCLUSIVE:
        # The interval shrinks with the square root of the windows; what is missed at their ends does not.
        edge = min(edge_error or 0.0, 0.9 * _CONCLUSIVE)
        factor = math.ceil(((relative - (edge_error or 0.0)) / (_CONCLUSIVE - edge)) ** 2)
        yield Quality(
            "energy-inconclusive",
            "warning",
            f"{what} is known to {relative:.1%} only; 2 % would be conclusive.",
            f"Measure about {factor} times as long: --windows {factor * windows}."
            if factor > 1
            else "Measure longer windows: a smaller --edge-error.",
        )
    if edge_error is not None and edge_error > _EDGE:
        yield Quality(
            "edge-error",
            "warning",
            f"{what}: up to {edge_error:.1%} of a window's energy may be missed at its ends.",
            "Leave --window-s out and give a smaller --edge-error: the length is then chosen for the sensor.",
        )


def of_idle(energy: Energy) -> Iterator[Quality]:
    """Say how well the power at rest is known."""
    before_w, after_w = energy.idle_before_w, energy.idle_after_w
    if energy.power_w is None or before_w is None or after_w is None:
        return
    above_w = energy.power_w.value - (before_w + after_w) / 2.0
    if not energy.idle_settled:
        yield Quality(
            "idle-unsettled",
            "warning",
            f"Power at rest had not settled: {before_w:.4g} W before, {after_w:.4g} W after.",
            "Let the device rest before measuring, and stop other work on it; judge by the gross energy.",
        )
    elif abs(after_w - before_w) > _IDLE_DIFFERS * above_w:
        yield Quality(
            "idle-differs",
            "warning",
            f"Power at rest was {before_w:.4g} W before and {after_w:.4g} W after, of {energy.power_w.value:.4g} W"
            " under load.",
            "The interval of the energy above idle holds both; judge by the gross energy, or warm up longer.",
        )


def of_calibration(energy: Energy) -> Iterator[Quality]:
    """Say where the calibration does not quite fit."""
    used = energy.calibration
    if used is None:
        return
    if not used.same_field:
        yield Quality(
            "other-column",
            "warning",
            f"The calibration is of {used.column}, and the sensor reads {used.field}.",
            "Calibrate what is read here; the uncertainty stated is that of the uncalibrated sensor.",
        )
    powers_w = [w.energy_j / w.duration_s for w in energy.windows if w.energy_j is not None]
    if powers_w and not (used.low_w <= min(powers_w) and max(powers_w) <= used.high_w):
        yield Quality(
            "beyond-calibration",
            "warning",
            f"Windows of {min(powers_w):.4g} to {max(powers_w):.4g} W lie beyond what was calibrated,"
            f" {used.low_w:.4g} to {used.high_w:.4g} W.",
            "Calibrate with a load like this one; the uncertainty stated is that of the uncalibrated sensor.",
        )
    if not used.identified:
        yield Quality(
            "calibration-unidentified",
            "warning",
            "Nothing tells whether the calibration is of this card.",
            "Record the sensor's trace for it with nvidia-smi and the fields name and uuid.",
        )


def of_windows(windows: Sequence[Window], energy: Energy, load_period_s: float) -> Iterator[Quality]:
    """Say what the windows' readings tell against them.

    Args:
        windows: In order.
        energy: What is known about the sensor.
        load_period_s: Time from one inference to the next.
    """
    fewest = min((w.readings for w in windows if w.readings is not None), default=_FEW_READINGS)
    if any(w.readings == 0 and w.duration_s >= _STUCK_S for w in windows):
        yield Quality(
            "power-stuck",
            "invalid",
            "The power reading did not change in a whole window: the sensor stands still.",
            "Look at the device with perframe doctor, or choose another --sensor.",
        )
    elif fewest < _FEW_READINGS:
        yield Quality(
            "few-readings",
            "warning",
            f"A window rests on {fewest} distinct power readings.",
            "Leave --window-s out: it is then chosen for the sensor.",
        )
    powers_w = [w.energy_j / w.duration_s for w in windows if w.energy_j is not None]
    if powers_w and min(powers_w) <= 0.0:
        yield Quality(
            "no-power",
            "invalid",
            f"The sensor says {min(powers_w):.3g} W for a device at work.",
            "It does not see this device: choose another --sensor.",
        )
    elif (drift := _drift(powers_w)) is not None and abs(drift) > _DRIFT:
        yield Quality(
            "power-drift",
            "warning",
            f"Power {'rose' if drift > 0 else 'fell'} steadily by {abs(drift):.1%} over the windows.",
            "The device is still warming up or cooling down: give a longer --warm-up-s.",
        )
    in_step = _in_step(windows, energy, load_period_s)
    if in_step:
        yield Quality(
            "aliased",
            "info" if len(windows) >= _PHASES else "warning",
            f"An inference every {load_period_s * 1e3:.4g} ms is nearly in step with the sensor: one window may be"
            f" {in_step:.0%} off, and windows at different moments of its cycle differ.",
            "The mean over evenly spread moments averages this out: give --windows 10 or more.",
        )
    yield from _of_sources(windows, energy.update_period_s, in_step)


def _in_step(windows: Sequence[Window], energy: Energy, load_period_s: float) -> float:
    """How far one window may be off because each of its readings sees the same moment of an inference.

    Windows begin at spread moments of the sensor's cycle: where they agree, the moment makes no difference.
    """
    powers_w = [w.energy_j / w.duration_s for w in windows if w.energy_j is not None]
    if energy.update_period_s is None or not powers_w:
        return 0.0
    error = beat_error(
        load_period_s,
        energy.update_period_s,
        min(window.duration_s for window in windows),
        window_s=energy.averaging_window_s or SHORTEST_WINDOW_S,
    )
    spread_w = max(powers_w) - min(powers_w)
    return error if min(error * max(powers_w), spread_w) > TOLERATED * max(powers_w) else 0.0


def _of_sources(
    windows: Sequence[Window], update_period_s: float | None, in_step: float
) -> Iterator[Quality]:
    """Counter against power readings, window by window and never averaged: one bad window is enough.

    A counter moves in steps too. Taken to be as long as the readings' and missed at either end, they shift a
    window's joules by up to two updates' worth, which is allowed for on top; and so is what a window's readings may
    miss of a load in step with them, which leaves the sum of all windows to be compared.

    Args:
        windows: In order.
        update_period_s: Of the readings, if known.
        in_step: How far one window's readings may be off for that reason, relative.
    """
    both = [(w.counter_j, w.energy_j) for w in windows if w.counter_j is not None and w.energy_j is not None]
    if any(counter_j <= 0.0 < energy_j for counter_j, energy_j in both):
        yield Quality(
            "counter-stuck",
            "invalid",
            "The energy counter stood still or ran backward while the device drew power.",
            "Measure again; if it stays, update the driver.",
        )
        return
    seen_j = math.fsum(energy_j for _, energy_j in both)
    if seen_j <= 0.0:
        return
    apart = [counter_j / energy_j - 1.0 for counter_j, energy_j in both if energy_j > 0.0]
    worst = max(apart, key=abs)
    together = math.fsum(counter_j for counter_j, _ in both) / seen_j - 1.0
    steps_s = 2.0 * (update_period_s or 0.0)
    steps = steps_s / min(window.duration_s for window in windows)
    allowed = _DISAGREE + in_step + (steps if steps > TOLERATED else 0.0)
    if abs(worst) > allowed or (steps <= _DISAGREE < abs(together)):
        which = ("In a window", worst) if abs(worst) > allowed else ("Over all windows", together)
        yield Quality(
            "sources-disagree",
            "invalid",
            f"{which[0]} the energy counter is {which[1]:+.1%} off the integrated power readings; 3 % are allowed.",
            "One of the two is wrong: compare with an external meter, or update the driver.",
        )
    elif steps > _DISAGREE:
        yield Quality(
            "sources-uncompared",
            "warning",
            f"Steps of the energy counter may be {steps:.0%} of a window: it cannot be held against the power"
            " readings.",
            f"Measure windows of {steps_s / _DISAGREE:.0f} s or more: leave --window-s out.",
        )


def _drift(values: Sequence[float]) -> float | None:
    """Relative rise over the windows if it is steady: every third of them above, or below, the one before."""
    third = len(values) // 3
    if third < 1:
        return None
    first, middle, last = (math.fsum(values[i * third : (i + 1) * third]) / third for i in range(3))
    if not (first < middle < last or first > middle > last):
        return None
    return last / first - 1.0
