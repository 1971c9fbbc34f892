"""What to know before believing a trace's figures.

| code | severity | when |
|---|---|---|
| `gaps`, `missing-readings`, `repeated-times`, `assumed-interval` | warning | the file was odd, see `read_trace` |
| `whole-seconds`, `one-rail` | info | a tegrastats log, see `read_trace` |
| `constant` | warning | the reading never changes |
| `few-updates` | warning | it changes too seldom to tell how often the sensor updates |
| `period-unresolved` | info | it changes as often as it was read: the sensor may update more often |
| `no-power` | invalid | the sensor says 0 W throughout |
| `not-stationary` | warning | the power does not keep one level: there is no interval of the mean |
| `too-short` | warning | inconclusive: readings are too few for an interval at their correlation |
| `aliased` | invalid | the load beats with the sensor |
| `other-column`, `beyond-calibration` | warning | the calibration does not fit, and says nothing of the accuracy here |
| `calibration-unidentified` | warning | nothing tells whether the calibration is of this card |
"""

from collections.abc import Iterator

import numpy as np

from perframe.arrays import Array
from perframe.profiler.aliasing import Swing
from perframe.profiler.batch_means import BatchMeans
from perframe.profiler.result import CalibrationUse, Quality

# If nearly every reading differs from the one before, the sensor may update more often than it was read.
_ALL_DIFFER = 0.9


def of_sensor(samples: int, distinct: int, period_s: float | None) -> Iterator[Quality]:
    """Say what is odd about the sensor's updates.

    Args:
        samples: Readings in the span.
        distinct: Those that are no repeats of the one before.
        period_s: How often the sensor updates, if known.
    """
    if distinct == 1:
        yield Quality(
            "constant",
            "warning",
            f"All {samples} readings are the same: the sensor may stand still.",
            "Record while the load changes.",
        )
    elif period_s is None:
        yield Quality(
            "few-updates",
            "warning",
            f"The reading changes {distinct - 1} times: too few to tell how often the sensor updates.",
            "Record for longer, or under a load.",
        )
    elif distinct > _ALL_DIFFER * samples:
        yield Quality(
            "period-unresolved",
            "info",
            f"Nearly every reading differs from the one before: the sensor updates every {period_s:.3g} s or more"
            " often.",
            "Read it faster to see its own period.",
        )


def of_power(even_w: Array, distinct: int, stationary: bool, aliased: bool) -> Iterator[Quality]:
    """Say what is odd about the power.

    Args:
        even_w: Mean watts in even steps.
        distinct: Readings behind them.
        stationary: Whether they keep one level.
        aliased: Whether that is because of a beat, which is a finding of its own.
    """
    if not np.any(even_w > 0.0):
        yield Quality(
            "no-power",
            "invalid",
            "The sensor says 0 W throughout.",
            "It does not see this device: use another.",
        )
    elif not stationary and not aliased and distinct > 1:
        first, second = np.array_split(even_w, 2)
        halves = (
            f"{first.mean():.4g} W in the first half, {second.mean():.4g} W in the second, "
            if len(second)
            else ""
        )
        yield Quality(
            "not-stationary",
            "warning",
            f"The power has not been shown to keep one level: {halves}{even_w.min():.4g} to {even_w.max():.4g} W"
            " in all.",
            "Choose a steady span with --from and --to, or record for longer; the energy is that of the span as it is.",
        )


def of_length(means: BatchMeans, longer_s: float) -> Iterator[Quality]:
    """Say that a span is too short for an interval of the mean, and how much longer would do."""
    yield Quality(
        "too-short",
        "warning",
        f"Inconclusive: an interval of the mean takes {means.needed} updates, since neighbouring readings resemble"
        " each other.",
        f"Record about {longer_s:.3g} s longer.",
    )


def of_beat(swing: Swing | None, error: float, period_s: float | None) -> Iterator[Quality]:
    """Say that the load beats with the sensor.

    Args:
        swing: What was seen of it, if anything.
        error: How far the mean may be off, relative.
        period_s: How often the sensor updates.
    """
    seen = (
        f"readings swing between {swing.low_w:.4g} and {swing.high_w:.4g} W every {swing.period_s:.3g} s from"
        f" {swing.from_s:.3f} to {swing.to_s:.3f} s"
        if swing
        else "the load's period is too close to a multiple or fraction of it"
    )
    update = f" of {period_s * 1e3:.4g} ms" if period_s is not None else ""
    yield Quality(
        "aliased",
        "invalid",
        f"The load seems to beat with the sensor's update{update}: {seen}; mean and energy may be {error:.0%} off.",
        "Measure phase-shifted windows, change the load's period, or record for many more beats.",
    )


def of_calibration(used: CalibrationUse, low_w: float, high_w: float) -> Iterator[Quality]:
    """Say where a calibration does not quite fit.

    Args:
        used: It, and how well it fits the trace.
        low_w: Corrected watts that nearly all readings in the span reach.
        high_w: Those that nearly none exceed.
    """
    if not used.same_field:
        yield Quality(
            "other-column",
            "warning",
            f"The calibration is of {used.column}, the trace of {used.field}.",
            "Choose the same column with --power, or calibrate this one; the uncertainty stated is that of the"
            " uncalibrated sensor.",
        )
    if not used.low_w <= low_w <= high_w <= used.high_w:
        yield Quality(
            "beyond-calibration",
            "warning",
            f"Corrected readings of {low_w:.4g} to {high_w:.4g} W reach beyond what was calibrated,"
            f" {used.low_w:.4g} to {used.high_w:.4g} W.",
            "Calibrate with a load like this one; the uncertainty stated is that of the uncalibrated sensor.",
        )
    if not used.identified:
        yield Quality(
            "calibration-unidentified",
            "warning",
            "Nothing tells whether the calibration is of this card: every card's sensor errs in its own way.",
            "Record both traces with nvidia-smi and the fields name and uuid.",
        )
