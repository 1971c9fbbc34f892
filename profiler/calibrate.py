"""Finding a power sensor's gain and offset from its trace and an external meter's of the same run."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import numpy as np

from perframe.arrays import Array
from perframe.errors import InputError
from perframe.files import sha256_of
from perframe.profiler.calibration import Calibration, Level
from perframe.profiler.power_series import change_times_s, joules_until, mean_power_w, update_period_s
from perframe.profiler.trace_files import PowerTrace

# After a switch the sensor's own averaging and the card's settling take up to a second.
_SETTLE_S = 1.0
# Where a level holds, nearly all of the meter's readings in a stretch are on its side of the middle.
_NEARLY_ALL = 0.95
# The upper level must be this many times the lower one, or gain and offset cannot be told apart.
_LEAST_RATIO = 1.25
_LEAST_STRETCHES = 10
_PIECE_S = 0.5
# A sensor that is linear to better than this has not been seen, nor a meter that would tell.
_LEAST_UNCERTAINTY = 0.01
# No sensor of a card that works is further off; a meter that also feeds the rest of the machine may be.
_PLAUSIBLE_GAIN = (0.67, 1.5)


def derive(sensor: PowerTrace, meter: PowerTrace) -> Calibration:
    """Find gain and offset from a sensor's trace and an external meter's of the same run.

    The load must have been off and on for seconds each. Both levels are looked for in the meter's trace;
    the second after each switch is left out.

    Args:
        sensor: What the card said.
        meter: What the meter said, on the same clock.

    Raises:
        InputError: The traces do not overlap, one of the levels is missing or too short, or the sensor does not
            follow the meter.
    """
    meter_t_s = meter.t_s + _shift_s(sensor, meter)
    period_s = update_period_s(change_times_s(sensor.t_s, sensor.power_w))
    if period_s is None:
        raise InputError(
            f"{sensor.path}: the sensor's reading hardly ever changes.", "Switch a load on and off meanwhile."
        )
    start_s, end_s = max(sensor.t_s[0], meter_t_s[0]), min(sensor.t_s[-1], meter_t_s[-1])
    # A stretch holds one update of the sensor, and enough readings of a slow meter.
    stretch_s = max(period_s, 3.0 * float(np.median(np.diff(meter_t_s))))
    count = int((end_s - start_s) / stretch_s)
    if count < 2 * _LEAST_STRETCHES:
        raise InputError(
            f"{meter.path}: expected a meter's trace on the clock of {sensor.path.name}, found"
            f" {max(float(end_s - start_s), 0.0):.3g} s in common.",
            "Record both in the same run, and shift one so that t = 0 is the same moment.",
        )
    edges_s = start_s + stretch_s * np.arange(count + 1)
    states = _states(meter, meter_t_s, edges_s)
    idle_spans, load_spans = _spans(states, edges_s, False), _spans(states, edges_s, True)
    if min(_length_s(idle_spans), _length_s(load_spans)) < _LEAST_STRETCHES * stretch_s:
        missing = "rest" if _length_s(idle_spans) < _length_s(load_spans) else "load"
        raise InputError(
            f"{meter.path}: expected seconds at rest and seconds under a constant load, found too little {missing}:"
            " one level gives no gain and offset.",
            "Record some seconds at rest, some under load, and some at rest again.",
        )
    levels = [
        Level(
            sensor_w=_mean_w(sensor.t_s, sensor.power_w, spans),
            meter_w=_mean_w(meter_t_s, meter.power_w, spans),
            duration_s=_length_s(spans),
        )
        for spans in (idle_spans, load_spans)
    ]
    idle, load = levels
    _require_following(sensor, idle, load, idle_spans, load_spans)
    gain = (load.meter_w - idle.meter_w) / (load.sensor_w - idle.sensor_w)
    offset_w = idle.meter_w - gain * idle.sensor_w
    lowest, highest = _PLAUSIBLE_GAIN
    if not lowest <= gain <= highest:
        raise InputError(
            f"{meter.path}: between rest and load the meter rose by {load.meter_w - idle.meter_w:.4g} W and the"
            f" sensor by {load.sensor_w - idle.sensor_w:.4g} W: that is no sensor error (gain {gain:.3g}).",
            "Are both of the same card, with nothing else behind the meter?",
        )
    left = []
    for begin_s, until_s in (*idle_spans, *load_spans):
        pieces_s = np.linspace(begin_s, until_s, max(int((until_s - begin_s) / _PIECE_S), 1) + 1)
        corrected_w = gain * mean_power_w(sensor.t_s, sensor.power_w, pieces_s) + offset_w
        left.append(corrected_w / mean_power_w(meter_t_s, meter.power_w, pieces_s) - 1.0)
    uncertainty = 2.0 * float(np.sqrt(np.mean(np.concatenate(left) ** 2)))
    return Calibration(
        gain=gain,
        offset_w=offset_w,
        uncertainty=max(uncertainty, _LEAST_UNCERTAINTY),
        idle=idle,
        load=load,
        column=sensor.column,
        card=sensor.card,
        uuid=sensor.uuid,
        sensor_sha256=sha256_of(sensor.path),
        meter_sha256=sha256_of(meter.path),
    )


def _shift_s(sensor: PowerTrace, meter: PowerTrace) -> float:
    """What to add to the meter's times: dates are compared, bare seconds are taken to be of one clock."""
    if sensor.started is None and meter.started is None:
        return 0.0
    if sensor.started is not None and meter.started is not None:
        began, other = datetime.fromisoformat(sensor.started), datetime.fromisoformat(meter.started)
        if (began.tzinfo is None) == (other.tzinfo is None):
            return (other - began).total_seconds()
    raise InputError(
        f"{meter.path}: expected times on the clock of {sensor.path.name}, found dates in only one of the two.",
        "Give both seconds of one clock, or both dates.",
    )


def _states(meter: PowerTrace, meter_t_s: Array, edges_s: Array) -> list[bool | None]:
    """For each stretch whether the meter saw load, rest, or both (None)."""
    inside = (meter_t_s >= edges_s[0]) & (meter_t_s < edges_s[-1])
    power_w = meter.power_w[inside]
    low_w, high_w = (float(level) for level in np.quantile(power_w, (0.02, 0.98)))
    for _ in range(20):
        above = power_w > (low_w + high_w) / 2.0
        if above.all() or not above.any():
            break
        low_w, high_w = float(np.mean(power_w[~above])), float(np.mean(power_w[above]))
    if high_w < _LEAST_RATIO * low_w:
        raise InputError(
            f"{meter.path}: expected a load that is switched on and off, found one level only:"
            f" {low_w:.4g} to {high_w:.4g} W. One level gives no gain and offset.",
            "Record some seconds at rest, some under load, and some at rest again.",
        )
    stretch = np.searchsorted(edges_s, meter_t_s[inside], side="right") - 1
    readings = np.bincount(stretch, minlength=len(edges_s) - 1)
    above_count = np.bincount(stretch, weights=power_w > (low_w + high_w) / 2.0, minlength=len(edges_s) - 1)
    share = above_count / np.maximum(readings, 1)
    return [
        None if n == 0 or 1.0 - _NEARLY_ALL < s < _NEARLY_ALL else bool(s >= _NEARLY_ALL)
        for n, s in zip(readings, share, strict=True)
    ]


def _spans(states: Sequence[bool | None], edges_s: Array, wanted: bool) -> list[tuple[float, float]]:
    """The stretches of time in which one level held, without their unsettled beginnings."""
    spans = []
    first = 0
    for state, group in groupby(states):
        last = first + len(list(group))
        # The recording began on this level: no switch, nothing to settle. An update that reaches into
        # the next switch is left out at the end.
        begin_s = float(edges_s[first]) + (_SETTLE_S if first > 0 else 0.0)
        until_s = float(edges_s[last - 1 if last < len(states) else last])
        if state is wanted and until_s - begin_s >= _PIECE_S:
            spans.append((begin_s, until_s))
        first = last
    return spans


def _length_s(spans: Sequence[tuple[float, float]]) -> float:
    return sum(until_s - begin_s for begin_s, until_s in spans)


def _mean_w(t_s: Array, power_w: Array, spans: Sequence[tuple[float, float]]) -> float:
    joules = joules_until(t_s, power_w, np.array(spans))
    return float(np.sum(joules[:, 1] - joules[:, 0])) / _length_s(spans)


def _require_following(
    sensor: PowerTrace,
    idle: Level,
    load: Level,
    idle_spans: Sequence[tuple[float, float]],
    load_spans: Sequence[tuple[float, float]],
) -> None:
    """Refuse a sensor that is often on the other level than the meter: another clock, or another card."""
    middle_w = (idle.sensor_w + load.sensor_w) / 2.0
    wrong = total = 0
    for spans, above in ((idle_spans, False), (load_spans, True)):
        for begin_s, until_s in spans:
            inside = sensor.power_w[(sensor.t_s >= begin_s) & (sensor.t_s <= until_s)]
            wrong += int(np.sum((inside > middle_w) != above))
            total += len(inside)
    if load.sensor_w <= idle.sensor_w or wrong > 0.05 * total:
        raise InputError(
            f"{sensor.path}: the sensor does not follow the meter: {idle.sensor_w:.4g} W when the meter says"
            f" {idle.meter_w:.4g} W, {load.sensor_w:.4g} W when it says {load.meter_w:.4g} W.",
            "Are both of the same card and run, with t = 0 at the same moment?",
        )
