"""What spoils a measurement on the device's side; the codes stand in `perframe.profiler.checks`."""

from collections.abc import Iterator

from perframe.profiler.result import DeviceState, Quality

_CLOCK_DRIFT = 0.02
# A reason that held clocks for less than this share of the time moved no figure.
_LIMITED = 0.001
_BUSY = 0.9
_THROTTLES = frozenset({"thermal", "power_brake", "hw_slowdown"})


def of_device(state: DeviceState, allow_others: bool) -> Iterator[Quality]:
    """Say what the device went through that spoils figures.

    Args:
        state: What it went through.
        allow_others: Whether other processes on it were allowed explicitly.
    """
    limited = {reason for reason, share in state.limited_share.items() if share > _LIMITED}
    limited |= set(state.limits or ())
    if throttled := sorted(limited & _THROTTLES):
        yield Quality(
            "throttled",
            "invalid",
            f"Clocks were held down by: {', '.join(throttled)}.",
            "Cool the device or check its power supply, and measure again.",
        )
    if "power_cap" in limited:
        share = state.limited_share.get("power_cap")
        yield Quality(
            "power-capped",
            "warning",
            f"The power limit held the clocks down{f' for {share:.0%} of the time' if share is not None else ''}.",
            "Compare only with results under the same limit.",
        )
    if other := sorted(limited - _THROTTLES - {"power_cap"}):
        yield Quality(
            "clocks-limited",
            "warning",
            f"Clocks were held down by: {', '.join(other)}.",
            "Compare only with results under the same settings.",
        )
    if state.limits is None and not _THROTTLES & state.limited_share.keys():
        yield Quality(
            "throttling-unknown",
            "warning",
            "The device does not tell whether heat or its power supply held the clocks down.",
            "Watch its temperature, and compare with a run on a cool device.",
        )
    low, high = state.clock_low_hz, state.clock_high_hz
    if low is not None and high is not None and high > 0 and high / max(low, 1.0) - 1.0 > _CLOCK_DRIFT:
        yield Quality(
            "clock-drift",
            "warning",
            f"The clock moved between {low / 1e6:.0f} and {high / 1e6:.0f} MHz.",
            "Lock the clocks, or give a longer --warm-up-s.",
        )
    if state.busy_share is not None and state.busy_share < _BUSY:
        yield Quality(
            "host-starved",
            "warning",
            f"The device computed only {state.busy_share:.0%} of the time: it waited for the host between launches.",
            "Give a larger batch or a faster host; its idle power is in every frame's energy.",
        )
    if state.other_processes is None:
        yield Quality(
            "processes-unknown",
            "warning",
            "The device does not tell whether other processes used it.",
            "Make sure that nothing else does: no desktop, no other container.",
        )
    elif state.other_processes:
        yield Quality(
            "other-processes",
            "info" if allow_others else "invalid",
            f"Others used the device: {', '.join(state.other_processes)}.",
            "Stop them, or allow them with --allow-other-processes.",
        )
