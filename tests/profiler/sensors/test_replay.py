"""Recorded traces played back under a virtual clock."""

import gzip
from pathlib import Path

import pytest

from perframe.engines.clock import VirtualClock
from perframe.errors import InputError, MeasurementError
from perframe.files import sha256_of
from perframe.profiler.sensors.base import PowerSample
from perframe.profiler.sensors.replay import Replay


def trace(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return path


def test_plays_the_last_sample_from_the_moment_of_opening(tmp_path: Path) -> None:
    sensor = Replay(trace(tmp_path, "t_s,power_w\n-1.0,50\n0.0,60\n0.5,70\n"))
    clock = VirtualClock()
    clock.sleep(100.0)
    with sensor.open(clock) as reader:
        assert reader.read() == PowerSample(100.0, 50.0)
        clock.sleep(0.75)
        assert reader.read() == PowerSample(100.0, 50.0)
        clock.sleep(0.5)
        assert reader.read() == PowerSample(101.0, 60.0)
        clock.sleep(0.25)
        assert reader.read() == PowerSample(101.5, 70.0)


def test_beyond_the_end_says_how_long_the_trace_is_and_what_was_needed(tmp_path: Path) -> None:
    sensor = Replay(trace(tmp_path, "t_s,power_w\n0,50\n2,60\n"))
    clock = VirtualClock()
    with sensor.open(clock) as reader:
        clock.sleep(3.5)
        with pytest.raises(MeasurementError, match=r"2\.0 s long.*3\.5 s so far"):
            reader.read()


@pytest.mark.parametrize(
    ("header", "column", "domain"),
    [
        ("time_s,power_draw_w", "power_draw_w", "gpu"),
        ("t_s,power_draw_w,power_instant_w", "power_instant_w", "gpu"),
        (" t_s , power_w ", "power_w", "board"),
        ("\ufefft_s,power_w", "power_w", "board"),
    ],
)
def test_accepted_columns(tmp_path: Path, header: str, column: str, domain: str) -> None:
    row = ",1" * header.count(",")
    sensor = Replay(trace(tmp_path, f"{header}\n0{row}\n\n1{row}\n"))
    assert (sensor.details["column"], sensor.domain, sensor.details["duration_s"]) == (column, domain, 1.0)


def test_a_log_of_nvidia_smi_replays_and_names_its_gpu(tmp_path: Path) -> None:
    rows = "".join(f"2026/11/21 02:58:1{i}.000, GPU-1, A100, {50 + i}.00 W\n" for i in range(3))
    sensor = Replay(trace(tmp_path, f"timestamp, uuid, name, power.draw.instant [W]\n{rows}"))
    assert (sensor.details["gpu"], sensor.details["uuid"], sensor.domain) == ("A100", "GPU-1", "gpu")
    assert sensor.update_period_s is None
    clock = VirtualClock()
    with sensor.open(clock) as reader:
        clock.sleep(1.5)
        assert reader.read() == PowerSample(1.0, 51.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("t_s,power_w\n0,50\n1,nan\n2,50\n", "line 3"),
        ("t_s,power_w\n0,50\n1,-3\n", "line 3"),
        ("t_s,power_w\n0,50\n1,N/A\n", "at least two samples"),
        ("t_s,power_w\n0,50\n1\n", "line 3"),
        ("t_s,power_w\n0,inf\n1,50\n", "line 2"),
        ("t_s,power_w\n0,50\n1,50\n0.5,50\n", "line 4: expected a time from 1 s on"),
        ("t_s,power_w\n0,50\n", "at least two samples"),
        ("t_s,power_w\n1,50\n1,50\n", "different times"),
        ("t_s,power_w\n", "at least two samples"),
        ("seconds,power_w\n0,50\n1,50\n", "expected a time column"),
        ("t_s,watts\n0,50\n1,50\n", "expected a power column"),
        ("\n", "line 1"),
    ],
)
def test_bad_traces_name_the_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Replay(trace(tmp_path, text))


def test_truncated_gzip_and_binary_files_are_bad_input(tmp_path: Path) -> None:
    whole = gzip.compress(b"t_s,power_w\n" + b"".join(b"%d,50\n" % t for t in range(1000)))
    for name, content in {"cut.csv.gz": whole[: len(whole) // 2], "binary.csv": b"\xff\xfe\x00"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            Replay(tmp_path / name)
    with pytest.raises(InputError):
        Replay(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("name", "domain", "poll_s", "samples", "update_s"),
    [
        ("steady_load_a100.csv.gz", "gpu", 0.013, 16002, 0.101),
        ("step_4090_sensor.csv.gz", "gpu", 0.01, 2311, 0.1),
        ("step_a100_meter.csv.gz", "board", 0.01, 14018, 0.001),
    ],
)
def test_recorded_traces_replay(
    data_folder: Path, name: str, domain: str, poll_s: float, samples: int, update_s: float
) -> None:
    path = data_folder / "power_traces" / name
    sensor = Replay(path)
    assert sensor.domain == domain
    assert sensor.poll_interval_s == pytest.approx(poll_s, abs=0.004)
    assert sensor.details["samples"] == samples
    assert sensor.details["sha256"] == sha256_of(path)
    assert sensor.details["file"] == name
    assert sensor.update_period_s == pytest.approx(update_s, rel=0.05)
    assert (sensor.accuracy is None) == (domain != "gpu")
    clock = VirtualClock()
    seen: list[float] = []
    with sensor.open(clock) as reader:

        def read() -> None:
            seen.append(reader.read().power_w)

        with clock.every(sensor.poll_interval_s, read):
            clock.sleep(min(sensor.trace.duration_s, 5.0) - 0.1)
    assert len(seen) > 100 and all(40 < power_w < 500 for power_w in seen)
