"""What is said against a measurement, from what was observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from perframe.errors import MeasurementError
from perframe.profiler.characterise import Response
from perframe.profiler.checks import require_valid
from perframe.profiler.energy import Stretch
from perframe.profiler.loop import Measured
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import BatchResult, Profile, Quality, WarmUp, Window
from perframe.profiler.sensors.base import Accuracy, Conditions
from perframe.profiler.summary import summarise
from perframe.profiler.warm_up import Rest
from perframe.profiler.window import Observed

SECONDS = 10.0
NOTHING_KNOWN = Response()


@dataclass
class Card:
    """A sensor as far as the summary looks at it."""

    name: str = "nvml"
    domain: str = "gpu"
    kind: str = "measured"
    poll_interval_s: float = 0.02
    update_period_s: float = 0.1
    averaging_window_s: None = None
    accuracy: Accuracy = field(default_factory=lambda: Accuracy(0.08, 0.0))
    max_window_s: None = None
    details: Mapping[str, str | float] = field(default_factory=dict)


def observed(
    power_w: float | None = 60.0,
    counter_w: float | None = None,
    readings: int | None = 100,
    before: Conditions | None = None,
    after: Conditions | None = None,
    between: tuple[Conditions, ...] = (),
    seconds: float = SECONDS,
) -> Observed:
    energy_j = None if power_w is None else power_w * seconds
    counter_j = None if counter_w is None else counter_w * seconds
    window = Window(0.0, seconds, 1000, energy_j, counter_j, readings, seconds, 0.01, 0.01, 0.01)
    stretch = Stretch(energy_j, seconds, counter_j, readings, before, after, between)
    return Observed(window, (0.01,) * 1000, stretch)


def rest(power_w: float, *, settled: bool = True, others: tuple[str, ...] | None = None) -> Rest:
    looks = None if others is None else Conditions(0.0, limits=(), other_processes=others)
    return Rest(power_w, settled, 0.0, Stretch(power_w, 1.0, before=looks, after=looks))


def result(
    windows: Sequence[Observed],
    *,
    idle: tuple[Rest, Rest] | None = (rest(20.0), rest(20.0)),
    response: Response = NOTHING_KNOWN,
    steady: bool = True,
    sensor: object | None = None,
    allow: bool = False,
) -> BatchResult:
    measured = Measured(
        warm_up=WarmUp(1.0, 10, steady),
        saturated=tuple(windows),
        paced=(),
        missed=0.0,
        rest=idle,
        update_period_s=0.1,
        response=response,
        layers=(),
    )
    plan = MeasurementPlan(allow_other_processes=allow, layer_s=0.0)
    return summarise(measured, plan=plan, batch=1, inputs_sha256="", sensor=sensor or Card(), layers=())  # type: ignore[arg-type]


def severities(found: BatchResult) -> dict[str, str]:
    return {quality.code: quality.severity for quality in found.quality}


STEADY = [observed(60.0 + 0.01 * (i % 3)) for i in range(9)]


def test_a_good_measurement_has_nothing_against_it() -> None:
    found = result(STEADY)
    assert not found.quality
    energy = found.energy
    assert energy.epf_j is not None and energy.epf_j.value == pytest.approx(0.6, rel=1e-3)
    assert energy.epf_above_idle_j is not None and energy.epf_above_idle_j.value == pytest.approx(
        0.4, rel=1e-3
    )
    # 0.1 s x (1 - 20/60) / 10 s, beside an interval of next to nothing.
    assert energy.edge_error == pytest.approx(0.00667, rel=0.01)
    assert energy.relative_uncertainty == pytest.approx(energy.edge_error, rel=0.05)
    assert energy.absolute_uncertainty == 0.08


def test_the_counter_that_implies_78_watts_beside_live_59_9_is_rejected() -> None:
    found = result([observed(59.9, counter_w=78.0, readings=100) for _ in range(9)])
    assert severities(found)["sources-disagree"] == "invalid"
    # Both figures stand in the result; neither is an average of the two.
    assert found.energy.epf_j is not None and found.energy.epf_j.value == pytest.approx(0.599)
    assert found.energy.counter_epf_j == pytest.approx(0.78)


def test_sources_within_three_per_cent_agree() -> None:
    assert "sources-disagree" not in severities(result([observed(60.0, counter_w=61.5) for _ in range(9)]))


def test_one_bad_window_is_not_averaged_away() -> None:
    windows = [observed(60.0, counter_w=60.0) for _ in range(8)] + [observed(60.0, counter_w=64.0)]
    assert severities(result(windows))["sources-disagree"] == "invalid"


@pytest.mark.parametrize("counter_w", [0.0, -5.0])
def test_a_counter_that_stands_still_is_found(counter_w: float) -> None:
    assert (
        severities(result([observed(60.0, counter_w=counter_w) for _ in range(9)]))["counter-stuck"]
        == "invalid"
    )


def test_zero_watts_under_load_are_no_measurement() -> None:
    assert (
        severities(result([observed(0.0) for _ in range(9)], idle=(rest(0.0), rest(0.0))))["no-power"]
        == "invalid"
    )


def test_a_window_the_sensor_did_not_see_makes_the_energy_absent() -> None:
    found = result([*STEADY, observed(None)])
    assert found.energy.kind == "absent"
    assert found.energy.epf_j is None and found.energy.absolute_uncertainty is None
    assert "energy-absent" in severities(found)


def test_wide_intervals_are_inconclusive_and_say_how_much_longer() -> None:
    found = result([observed(60.0 + 6.0 * (-1) ** i) for i in range(10)])
    quality = next(each for each in found.quality if each.code == "energy-inconclusive")
    uncertainty, edge = found.energy.relative_uncertainty, found.energy.edge_error
    assert uncertainty is not None and uncertainty > 0.05 and edge is not None
    # More windows shrink the interval, and not what is missed at their ends.
    factor = int(-(-(((uncertainty - edge) / (0.02 - edge)) ** 2) // 1))
    assert f"--windows {10 * factor}" in quality.hint


def test_power_that_keeps_rising_is_told() -> None:
    assert "power-drift" in severities(result([observed(60.0 + i) for i in range(9)]))


def test_a_reading_that_stands_still_is_no_measurement() -> None:
    found = result([observed(60.0, readings=0) for _ in range(9)])
    assert severities(found)["power-stuck"] == "invalid"


def test_too_few_readings_are_told() -> None:
    assert "few-readings" in severities(result([observed(60.0, readings=2) for _ in range(9)]))


def look(
    t_s: float, *, limits: tuple[str, ...] = (), other_processes: tuple[str, ...] = (), **more: Any
) -> Conditions:
    return Conditions(t_s, limits=limits, other_processes=other_processes, **more)


def edges(before: Conditions, after: Conditions) -> list[Observed]:
    return [observed(60.0, before=before, after=after) for _ in range(9)]


@pytest.mark.parametrize("reason", ["thermal", "power_brake"])
def test_throttling_by_the_counters_invalidates(reason: str) -> None:
    found = result(edges(look(0.0, limited_s={reason: 5.0}), look(10.0, limited_s={reason: 5.5})))
    assert severities(found)["throttled"] == "invalid"
    assert found.device_state is not None and found.device_state.limited_share[reason] == pytest.approx(0.05)


def test_throttling_by_the_bitmask_invalidates_where_counters_are_missing() -> None:
    found = result(edges(look(0.0), look(10.0, limits=("thermal",))))
    assert severities(found)["throttled"] == "invalid"


def test_a_limit_or_a_visitor_seen_only_on_the_way_is_found() -> None:
    hot = look(5.0, limits=("thermal",))
    visited = look(5.0, other_processes=("process 7",))
    for between, code in ((hot, "throttled"), (visited, "other-processes")):
        windows = [*STEADY, observed(60.0, before=look(0.0), after=look(10.0), between=(between,))]
        assert severities(result(windows))[code] == "invalid"


def test_other_limits_are_told() -> None:
    found = result(edges(look(0.0), look(10.0, limits=("display_clock",))))
    assert severities(found) == {"clocks-limited": "warning"}


def test_what_the_device_does_not_tell_is_told() -> None:
    found = result(edges(Conditions(0.0), Conditions(10.0)))
    assert severities(found) == {"throttling-unknown": "warning", "processes-unknown": "warning"}
    assert found.device_state is not None and found.device_state.other_processes is None


def test_counters_that_do_not_move_are_no_throttling() -> None:
    still = {"thermal": 5.0, "power_cap": 7.0}
    assert not result(edges(look(0.0, limited_s=still), look(10.0, limited_s=still))).quality


def test_the_share_under_the_power_cap_is_told() -> None:
    found = result(edges(look(0.0, limited_s={"power_cap": 0.0}), look(10.0, limited_s={"power_cap": 4.0})))
    assert severities(found)["power-capped"] == "warning"
    assert any("40%" in quality.message for quality in found.quality)


def test_a_clock_that_moves_is_told() -> None:
    slow, fast = Conditions(10.0, clock_hz=1.2e9), Conditions(10.0, clock_hz=1.4e9)
    windows = [*edges(Conditions(0.0, clock_hz=1.4e9), fast)[:5], *edges(Conditions(0.0), slow)[:5]]
    assert severities(result(windows))["clock-drift"] == "warning"


def test_a_device_that_waits_for_its_host_is_told() -> None:
    assert "host-starved" in severities(result(edges(Conditions(0.0), Conditions(10.0, busy_share=0.6))))
    assert "host-starved" not in severities(result(edges(look(0.0), look(10.0, busy_share=0.99))))


def test_others_on_the_device_invalidate_unless_allowed() -> None:
    windows = edges(Conditions(0.0), Conditions(10.0, other_processes=("process 42",)))
    assert severities(result(windows))["other-processes"] == "invalid"
    allowed = result(windows, allow=True)
    assert severities(allowed)["other-processes"] == "info"
    assert allowed.device_state is not None and allowed.device_state.other_processes == ("process 42",)


def test_others_seen_only_at_rest_invalidate_too() -> None:
    windows = edges(look(0.0), look(10.0))
    visited = (rest(20.0, others=("process 9",)), rest(20.0, others=()))
    assert severities(result(windows, idle=visited))["other-processes"] == "invalid"
    assert not result(windows, idle=(rest(20.0, others=()), rest(20.0, others=()))).quality


def test_idle_power_that_changed_is_told_and_widens_the_interval() -> None:
    found = result(STEADY, idle=(rest(20.0), rest(24.0)))
    assert severities(found) == {"idle-differs": "warning"}
    above = found.energy.epf_above_idle_j
    assert above is not None and above.low is not None and above.high is not None
    # 60 W - 22 W, and 2 W to either side, at 10 ms a frame.
    assert above.value == pytest.approx(0.38, rel=1e-3)
    assert above.low < 0.3602 and above.high > 0.4
    assert (found.energy.idle_before_w, found.energy.idle_after_w) == (20.0, 24.0)


def test_idle_power_that_never_settled_is_told() -> None:
    found = result(STEADY, idle=(rest(20.0), rest(20.0, settled=False)))
    assert severities(found) == {"idle-unsettled": "warning"}


def test_a_sensor_that_averages_for_long_misses_more_at_the_edges() -> None:
    quick, slow = result(STEADY), result(STEADY, response=Response(1.0, 0.5))
    assert quick.energy.edge_error is not None and slow.energy.edge_error is not None
    assert slow.energy.edge_error == pytest.approx(6.0 * quick.energy.edge_error)
    assert severities(slow)["edge-error"] == "warning"


def test_short_windows_cannot_be_held_against_a_counter() -> None:
    short = [observed(60.0, counter_w=64.0, seconds=1.0) for _ in range(9)]
    found = severities(result(short))
    assert found["sources-uncompared"] == "warning" and "sources-disagree" not in found
    # Further apart than steps can explain, they disagree all the same.
    absurd = [observed(59.9, counter_w=78.0, seconds=1.0) for _ in range(9)]
    assert severities(result(absurd))["sources-disagree"] == "invalid"


def test_inferences_in_step_with_the_sensor_are_told() -> None:
    moments = [observed(60.0 + i) for i in (3, 0, 4, 1, 5, 2)]
    windows = [replace(each, latencies_s=(0.1,) * 100) for each in moments]
    assert severities(result(windows))["aliased"] == "info"
    assert severities(result(windows[:3]))["aliased"] == "warning"
    # Out of step, or where every moment reads the same, there is nothing to tell.
    assert "aliased" not in severities(
        result([replace(each, latencies_s=(0.0734,) * 100) for each in moments])
    )
    assert "aliased" not in severities(result(STEADY))


def test_an_invalid_batch_refuses_the_profile() -> None:
    bad = result([observed(59.9, counter_w=78.0) for _ in range(9)])
    profile = object.__new__(Profile)
    object.__setattr__(profile, "batches", (result(STEADY), bad))
    with pytest.raises(MeasurementError, match="sources-disagree"):
        require_valid(profile)


def test_every_code_is_in_the_table() -> None:
    import re
    from pathlib import Path

    import perframe.profiler.checks as checks

    rooms = ("checks", "energy_checks", "device_checks", "device_times", "closure", "layer_energy")
    source = "".join(Path(checks.__file__).with_name(f"{room}.py").read_text("utf-8") for room in rooms)
    used = set(re.findall(r'Quality\(\s*"([\w-]+)"', source))
    listed = set(re.findall(r"^\| `([\w-]+)` \|", checks.__doc__ or "", flags=re.MULTILINE))
    assert used == listed
    assert Quality.__doc__
