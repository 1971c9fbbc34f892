"""The power over time: on one scale, with what is known of every run."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from perframe.profiler.result import DeviceState, PowerTrace, Profile, WarmUp, Window
from perframe.report.figure import Figure
from perframe.report.figure_power import power_figure

STATE = DeviceState(60.0, 66.0, 1.41e9, 1.41e9, 1.0, {}, (), ())
SILENT: Mapping[str, Any] = {
    "idle_w": None,
    "idle_before_w": None,
    "idle_after_w": None,
    "idle_settled": None,
    "update_period_s": None,
}


def with_windows(
    profile: Profile,
    watts: float,
    *,
    state: DeviceState = STATE,
    warm_up_s: float = 2.0,
    told: Mapping[str, Any] | None = None,
) -> Profile:
    """The profile with three windows of these watts; of its energy is known what is told."""
    batch = profile.batches[0]
    windows = tuple(Window(2.0 * i, 2.0, 10, 2.0 * watts, None, 20, None, 0.2, 0.2, 0.2) for i in range(3))
    energy = replace(batch.energy, windows=windows, **{**SILENT, **(told or {})})
    warm_up = WarmUp(warm_up_s, 9, True)
    changed = replace(batch, energy=energy, paced=None, device_state=state, warm_up=warm_up)
    return replace(profile, batches=(changed,))


def drawn(*profiles: Profile) -> Figure:
    figure = power_figure(profiles, profiles[0].batches[0].batch)
    assert figure is not None
    return figure


def ticks(body: str) -> list[str]:
    return re.findall(r'<text class="tick"[^>]*text-anchor="end">([^<]*)</text>', body)


TRACE = {
    "trace": PowerTrace((-5.0, -3.0, -2.9, 6.0, 6.1, 9.0), (40.0, 40.0, 180.0, 200.0, 40.0, 42.0)),
    "idle_w": 41.0,
    "idle_before_w": 40.0,
    "idle_after_w": 42.0,
    "idle_spans_s": ((-5.0, -3.0), (7.0, 9.0)),
}


def test_runs_share_the_scale_of_power(golden: Profile) -> None:
    first, second = drawn(with_windows(golden, 20.0), with_windows(golden, 200.0)).drawings
    assert ticks(first.body) == ticks(second.body) and ticks(first.body)[-1] == "200"


def test_what_differs_between_runs_is_told_of_each_and_the_rest_once(golden: Profile) -> None:
    hot = replace(STATE, clock_low_hz=9e8, limited_share={"heat": 0.123}, other_processes=("a",))
    caption = drawn(
        with_windows(golden, 200.0), with_windows(golden, 200.0, warm_up_s=3.0, state=hot)
    ).caption
    assert "Every run: latency had settled after it; 60 to 66 °C." in caption
    assert "Run 1: 2.00 s of warm-up; clock 1.41 GHz." in caption
    assert "Run 2: 3.00 s of warm-up; clock 900 MHz to 1.41 GHz; clocks held down by heat, 12.3 %" in caption
    assert caption.count("latency") == 1


def test_what_was_read_is_drawn_behind_the_windows_with_its_phases(golden: Profile) -> None:
    figure = drawn(with_windows(golden, 200.0, told=TRACE))
    body = figure.drawings[0].body
    line = re.search(r'<path class="line quiet thin" d="M([^"VH]*L[^"]*)"/>', body)
    assert line is not None and line[1].count("L") == 5
    assert line.start() < body.index('class="soft s0"')
    assert body.count('class="soft s5"') == 2
    names = [name for name in ("at rest 40.0 W", "warm-up", "windows", "at rest 42.0 W") if name in body]
    assert len(names) == 4
    assert "Thin grey line: what the sensor read." in figure.caption and "to scale" not in figure.caption


def test_without_its_moment_the_device_at_rest_stands_beside_the_windows(golden: Profile) -> None:
    figure = drawn(
        with_windows(golden, 200.0, told={key: value for key, value in TRACE.items() if key.endswith("_w")})
    )
    body = figure.drawings[0].body
    assert body.count('class="soft s5"') == 2 and "at rest 41.0 W" in body and "warm-up" not in body
    assert "only their height is to scale" in figure.caption
    assert "-" not in "".join(re.findall(r'text-anchor="middle">([^<]*)</text>', body)), (
        "no time before 0 is known"
    )


def test_what_went_wrong_is_written_into_the_plot(golden: Profile) -> None:
    hot = replace(STATE, limited_share={"heat": 0.123}, other_processes=("a",))
    body = (
        drawn(with_windows(golden, 200.0, state=hot, told={**TRACE, "idle_settled": False})).drawings[0].body
    )
    for event in (
        "power at rest had not settled",
        "clocks held down by heat, 12.3 %",
        "1 other process on the device",
    ):
        assert re.search(rf'<text class="stamp"[^>]*>{event}</text>', body)


def test_without_energy_there_is_nothing_to_draw(golden: Profile) -> None:
    batch = golden.batches[0]
    silent = tuple(replace(each, energy_j=None) for each in batch.energy.windows)
    profile = replace(
        golden, batches=(replace(batch, paced=None, energy=replace(batch.energy, windows=silent)),)
    )
    assert power_figure([profile], batch.batch) is None


@pytest.mark.parametrize("points", [1, 2000])
def test_a_trace_of_any_length_is_drawn(golden: Profile, points: int) -> None:
    trace = PowerTrace(tuple(0.003 * i for i in range(points)), tuple(100.0 + i % 7 for i in range(points)))
    body = drawn(with_windows(golden, 200.0, told={"trace": trace})).drawings[0].body
    assert len(body) < 40_000 and "nan" not in body
