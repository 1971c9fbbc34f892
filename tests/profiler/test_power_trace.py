"""The power readings that a result keeps: enough to draw, and true to what was integrated."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.arrays import Array
from perframe.engines.base import EngineArtifact
from perframe.engines.prepare import build_engine
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.power_series import joules_until
from perframe.profiler.power_trace import MOST_POINTS, append_reading, power_trace
from perframe.profiler.result import (
    BatchResult,
    PowerTrace,
    Profile,
    profile_to_json,
    read_profile,
    write_profile,
)
from perframe.profiler.sensors.base import PowerSample, Sensor, SensorRequest
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.sensors.replay import Replay
from perframe.profiler.sensors.simulated import Simulated
from perframe.profiler.session import profile

PLAN = MeasurementPlan(windows=3, layer_s=0.0)


def readings(power_w: Array, period_s: float = 0.01, start_s: float = 0.0) -> list[PowerSample]:
    return [PowerSample(start_s + i * period_s, watts) for i, watts in enumerate(power_w.tolist())]


def trace_of(power_w: Array) -> PowerTrace:
    found = power_trace(readings(power_w), 0.0)
    assert found is not None
    return found


@given(st.integers(1, 9000), st.integers(0, 2**31), st.floats(0.0, 1e3), st.floats(-1e6, 1e6))
def test_a_trace_is_bounded_and_made_of_readings(
    count: int, seed: int, level_w: float, origin_s: float
) -> None:
    power_w = level_w + np.random.default_rng(seed).normal(0.0, 30.0, count)
    trace = power_trace(readings(power_w, start_s=origin_s - 5.0), origin_s)
    assert trace is not None
    assert len(trace.time_s) == len(trace.power_w) <= MOST_POINTS
    assert all(map(math.isfinite, (*trace.time_s, *trace.power_w)))
    assert list(trace.time_s) == sorted(trace.time_s)
    # From the first to the last, each at its time.
    at = np.round((np.array(trace.time_s) + 5.0) / 0.01).astype(int)
    assert at[0] == 0 and at[-1] == count - 1
    assert np.array(trace.power_w) == pytest.approx(power_w[at], abs=0.0006)
    if count <= MOST_POINTS:
        assert len(at) == count


@given(st.integers(MOST_POINTS + 1, 30_000), st.data())
def test_a_peak_of_one_reading_is_kept_wherever_it_is(count: int, data: st.DataObject) -> None:
    high, low = (data.draw(st.integers(0, count - 1)) for _ in range(2))
    power_w = 60.0 + 0.5 * np.sin(np.arange(count))
    power_w[low] = 5.0
    power_w[high] = 300.0
    trace = trace_of(power_w)
    assert max(trace.power_w) == 300.0
    assert trace.time_s[trace.power_w.index(300.0)] == pytest.approx(high * 0.01, abs=0.0006)
    assert high == low or min(trace.power_w) == 5.0


def test_every_part_of_a_long_trace_keeps_its_lowest_and_highest() -> None:
    power_w = np.round(np.random.default_rng(0).uniform(0.0, 400.0, 25_000), 3)
    trace = trace_of(power_w)
    at, kept_w = np.round(np.array(trace.time_s) / 0.01), np.array(trace.power_w)
    for part in np.array_split(np.arange(len(power_w)), 100):
        kept = kept_w[(at >= part[0]) & (at <= part[-1])]
        # A stretch that lies across the part's end may have its extremes on the other side.
        inner = power_w[part][25:-25]
        assert max(kept) >= inner.max() and min(kept) <= inner.min()


def test_what_is_not_a_number_is_left_out() -> None:
    trace = trace_of(np.array([1.0, math.nan, math.inf, 2.0]))
    assert trace == PowerTrace((0.0, 0.03), (1.0, 2.0))
    assert power_trace([], 0.0) is None
    assert power_trace([PowerSample(0.0, math.nan)], 0.0) is None


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=40))
def test_runs_of_the_same_watts_are_the_line_between_their_ends(runs: list[tuple[int, int]]) -> None:
    power_w = np.array([watts for length, watts in runs for _ in range(length)], dtype=np.float64)
    every, kept = readings(power_w), list[PowerSample]()
    for reading in every:
        append_reading(kept, reading)
    times_s = [reading.t_s for reading in every]
    drawn = np.interp(times_s, [reading.t_s for reading in kept], [reading.power_w for reading in kept])
    assert drawn == pytest.approx(power_w)
    assert all(
        not a.power_w == b.power_w == c.power_w for a, b, c in zip(kept, kept[1:], kept[2:], strict=False)
    )


@pytest.fixture
def fake(onnx_file: Path, tmp_path: Path) -> EngineArtifact:
    return build_engine(onnx_file, tmp_path / "engine", engine="fake")


def simulated(argument: str = "a100") -> Sensor:
    return Simulated.from_request(SensorRequest(argument, 10.0, "fake"))


def traced(batch: BatchResult) -> PowerTrace:
    assert batch.energy.trace is not None
    return batch.energy.trace


def mean_w(trace: PowerTrace, start_s: float, end_s: float) -> float:
    """Along the line that is drawn, as the energy of a window is found: from the reading in force at its start."""
    at = joules_until(np.array(trace.time_s), np.array(trace.power_w), np.array([start_s, end_s]))
    return float(at[1] - at[0]) / (end_s - start_s)


def require_true(batch: BatchResult, rel: float) -> None:
    """The trace runs from rest to rest, and says of windows and rests what they say of themselves."""
    energy, trace = batch.energy, traced(batch)
    (before_s, warm_s), (after_s, end_s) = energy.idle_spans_s
    assert before_s < warm_s <= 0.0 and batch.warm_up is not None
    assert warm_s == pytest.approx(-batch.warm_up.duration_s, abs=0.1)
    windows = (*energy.windows, *(batch.paced.windows if batch.paced else ()))
    assert windows[-1].start_s + windows[-1].duration_s <= after_s < end_s
    period_s = energy.update_period_s or 0.0
    assert trace.time_s[0] <= before_s + period_s and trace.time_s[-1] == pytest.approx(end_s, abs=period_s)
    for window in windows:
        assert window.energy_j is not None
        assert mean_w(trace, window.start_s, window.start_s + window.duration_s) == pytest.approx(
            window.energy_j / window.duration_s, rel=rel
        )
    idle_w = (energy.idle_before_w, energy.idle_after_w)
    for (begin_s, stop_s), watts in zip(energy.idle_spans_s, idle_w, strict=True):
        assert mean_w(trace, begin_s, stop_s) == pytest.approx(watts, rel=rel)


def test_a_simulated_gpu_is_traced_from_rest_to_rest(fake: EngineArtifact) -> None:
    plan = replace(PLAN, batches=(1, 4), window_s=1.0, fps=50.0, layer_s=1.0)
    for batch in profile(fake, plan, simulated()).batches:
        # A paced load switches between two points of the trace, whose moments are kept to a millisecond.
        require_true(batch, rel=5e-3)
        # The pass over the layers, which comes later, is no part of it.
        assert traced(batch).time_s[-1] <= batch.energy.idle_spans_s[-1][1] + 1e-3
        assert max(traced(batch).power_w) > 200.0 and min(traced(batch).power_w) < 60.0


def test_of_a_long_run_no_more_is_kept_than_a_plot_needs(fake: EngineArtifact) -> None:
    result = profile(fake, replace(PLAN, window_s=20.0), simulated("a100,period=0.02"))
    batch = result.batches[0]
    assert MOST_POINTS // 2 < len(traced(batch).time_s) <= MOST_POINTS
    # Noise is 1 W of 240 W and of 42 W, and the lowest and highest of some readings lie about their mean.
    require_true(batch, rel=0.01)
    without = replace(batch, energy=replace(batch.energy, trace=None))
    whole, rest = (len(profile_to_json(replace(result, batches=(each,)))) for each in (batch, without))
    assert whole - rest < 65_000


def test_a_replayed_trace_comes_back_as_it_was_recorded(fake: EngineArtifact, tmp_path: Path) -> None:
    watts = [50.0 + i % 7 + (40.0 if i == 150 else 0.0) for i in range(6000)]
    rows = "".join(f"{i * 0.02:.2f},{each}\n" for i, each in enumerate(watts))
    (tmp_path / "trace.csv").write_text("t_s,power_w\n" + rows)
    batch = profile(fake, replace(PLAN, window_s=1.0), Replay(tmp_path / "trace.csv")).batches[0]
    require_true(batch, rel=1e-3)
    trace = traced(batch)
    # It was played from its begin, and at rest the measurement began.
    shift_s = trace.time_s[0] - 0.02
    played = np.round((np.array(trace.time_s) - shift_s) / 0.02).astype(int)
    assert list(trace.power_w) == [watts[i] for i in played]
    assert max(trace.power_w) == max(watts)


@pytest.mark.parametrize("card", ["a100", "v100"])
def test_a_recorded_gpu_is_traced(fake: EngineArtifact, data_folder: Path, card: str) -> None:
    sensor = Replay(data_folder / f"power_traces/steady_load_{card}.csv.gz")
    batch = profile(fake, replace(PLAN, window_s=1.0, warm_up_s=2.0), sensor).batches[0]
    require_true(batch, rel=1e-3)


@pytest.mark.parametrize("sensor", [Modelled(10.0), None])
def test_without_power_readings_there_is_no_trace(fake: EngineArtifact, sensor: Modelled | None) -> None:
    energy = profile(fake, replace(PLAN, window_s=0.2), sensor).batches[0].energy
    assert energy.trace is None and energy.idle_spans_s == ()


def test_a_profile_with_traces_reads_back_as_it_was(fake: EngineArtifact, tmp_path: Path) -> None:
    result = profile(fake, replace(PLAN, batches=(1, 2), window_s=1.0), simulated())
    write_profile(result, tmp_path / "profile.json")
    assert read_profile(tmp_path / "profile.json") == result
    one, two = (traced(batch).time_s for batch in result.batches)
    # Each on the clock of its own windows.
    assert one != two and one[0] < 0.0 and two[0] < 0.0


def test_a_profile_from_before_there_were_traces_has_none() -> None:
    golden: Profile = read_profile(Path(__file__).parents[1] / "data" / "profile-1.json")
    assert [batch.energy.trace for batch in golden.batches] == [None, None]
    assert json.loads(profile_to_json(golden))["batches"][0]["energy"]["idle_spans_s"] == []


def test_of_several_builds_the_first_is_traced(onnx_file: Path, tmp_path: Path) -> None:
    builds = [build_engine(onnx_file, tmp_path / name, engine="fake") for name in ("a", "b")]
    plan = replace(PLAN, window_s=1.0)
    batch = profile({1: builds}, plan, simulated()).batches[0]
    assert [build.windows for build in batch.builds] == [3, 3]
    first = replace(batch, energy=replace(batch.energy, windows=batch.energy.windows[:3]))
    require_true(first, rel=1e-3)
