"""How long is measured, and at what pace."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.engines.base import EngineArtifact
from perframe.engines.prepare import build_engine
from perframe.profiler.loop import PhaseShift, window_length_s
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import Profile
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.session import profile


def test_the_windows_follow_from_the_sensor() -> None:
    # 100 ms and 30 % idle: at least 14 s for half a per cent.
    assert window_length_s(MeasurementPlan(), 0.1, 0.0, 30.0, 100.0) == pytest.approx(14.0)
    # Nothing known about the device at rest: the worst case.
    assert window_length_s(MeasurementPlan(), 0.1, 0.0, None, None) == pytest.approx(20.0)
    # A reading that averages over a second trails by half of it.
    assert window_length_s(MeasurementPlan(), 0.1, 0.5, 30.0, 100.0) == pytest.approx(84.0)
    # However little there is to miss, a window holds ten readings.
    assert window_length_s(MeasurementPlan(), 0.1, 0.0, 100.0, 100.0) == pytest.approx(1.0)
    # No power readings, or a counter that is quick: a scheduler's hiccup sets the length.
    assert window_length_s(MeasurementPlan(), None, 0.0, None, None) == 0.5
    assert window_length_s(MeasurementPlan(), 0.002, 0.0, None, None) == 0.5
    # What the user says holds.
    assert window_length_s(MeasurementPlan(window_s=3.0), 0.1, 0.0, 30.0, 100.0) == 3.0


@given(
    st.floats(0.001, 1.0),
    st.floats(0.0, 300.0),
    st.floats(1.0, 300.0),
    st.floats(0.001, 0.1),
    st.floats(1.0, 4.0),
)
def test_a_stricter_edge_error_never_shortens_the_windows(
    period_s: float, idle_w: float, active_w: float, edge: float, factor: float
) -> None:
    loose = window_length_s(MeasurementPlan(edge_error=edge * factor), period_s, 0.0, idle_w, active_w)
    strict = window_length_s(MeasurementPlan(edge_error=edge), period_s, 0.0, idle_w, active_w)
    assert strict >= loose
    assert period_s * max(1 - idle_w / active_w, 0.0) / strict <= edge * (1 + 1e-9)


@given(st.integers(2, 40), st.floats(0.0, 1e6), st.integers(0, 2**31), st.floats(0.01, 1.0))
def test_windows_begin_at_every_moment_of_the_sensors_cycle(
    windows: int, origin_s: float, seed: int, off: float
) -> None:
    """However long the machine has run, and though the period is known to 0.2 % only."""
    period_s, now_s, moments = 0.1, origin_s, random.Random(seed)
    shift = PhaseShift(windows, seed)
    phases = []
    for _ in range(windows):
        pause_s = shift.pause_s(now_s, period_s * (1.0 + 0.002 * off * moments.choice((-1, 1))))
        assert 0.0 <= pause_s <= 1.002 * period_s
        begun_s = now_s + pause_s
        phases.append((begun_s - origin_s) / period_s % 1.0)
        now_s = begun_s + moments.uniform(0.1, 0.3)
    gaps = np.diff(sorted([*phases, min(phases) + 1.0]))
    assert max(gaps) < 2.0 / windows + 0.15


@pytest.fixture
def fake(onnx_file: Path, tmp_path: Path) -> EngineArtifact:
    return build_engine(onnx_file, tmp_path / "engine", engine="fake")


def paced(artifact: EngineArtifact, fps: float) -> Profile:
    plan = MeasurementPlan(windows=3, window_s=0.5, layer_s=0.0, fps=fps)
    return profile(artifact, plan, Modelled(10.0))


def test_a_camera_leaves_gaps_and_its_frames_cost_what_they_cost(fake: EngineArtifact) -> None:
    batch = paced(fake, fps=30.0).batches[0]
    assert batch.paced is not None and batch.paced.missed_share == 0.0
    for window in batch.paced.windows:
        # Every frame brings its gap, the last one too.
        assert window.duration_s == pytest.approx(window.frames / 30.0)
    # The model knows no idle power, so a frame costs what it costs back to back.
    assert batch.paced.epf_j is not None and batch.energy.epf_j is not None
    assert batch.paced.epf_j.value == pytest.approx(batch.energy.epf_j.value, rel=0.02)
    assert batch.paced.closed_form_epf_j is None


def test_a_pace_the_device_cannot_keep_is_told(fake: EngineArtifact) -> None:
    batch = paced(fake, fps=100_000.0).batches[0]
    assert batch.paced is not None and batch.paced.missed_share > 0.9
    assert "pace-missed" in {quality.code for quality in batch.quality}
