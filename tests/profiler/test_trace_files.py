import gzip
from pathlib import Path

import numpy as np
import pytest

from perframe.arrays import Array
from perframe.errors import InputError, UsageError
from perframe.profiler.trace_files import PowerTrace, read_trace

SMI = "timestamp, power.draw [W], power.draw.instant [W]\n"
JETSON = (
    "RAM 2389/7850MB (lfb 4x4MB) SWAP 0/3925MB (cached 0MB) CPU [2%@1510,1%@1510] GR3D_FREQ 0% cpu@50C"
    " {} gpu@48C\n"
)


def written(tmp_path: Path, text: str, name: str = "trace.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def codes(trace: PowerTrace) -> list[str]:
    return [warning.code for warning in trace.warnings]


def rows(*values: str, start: int = 10) -> str:
    return "".join(f"2026/11/21 02:58:{start + i}.123, {value}\n" for i, value in enumerate(values))


def test_logs_of_nvidia_smi_with_and_without_units(tmp_path: Path) -> None:
    with_units = read_trace(written(tmp_path, SMI + rows("46.19 W, 46.25 W", "47.00 W, 47.50 W"), "a.csv"))
    without = read_trace(written(tmp_path, SMI + rows("46.19, 46.25", "47.00, 47.50"), "b.csv"))
    for trace in (with_units, without):
        assert (trace.format, trace.column, trace.domain) == ("nvidia-smi", "power.draw.instant", "gpu")
        assert (trace.t_s.tolist(), trace.power_w.tolist()) == ([0.0, 1.0], [46.25, 47.5])
        assert trace.started == "2026-11-21T02:58:10.123000"
    lagging = read_trace(tmp_path / "a.csv", power_column="power.draw")
    assert lagging.power_w.tolist() == [46.19, 47.0]
    assert read_trace(tmp_path / "a.csv", power_column="power.draw [W]").column == "power.draw"


def test_missing_readings_are_left_out_and_counted(tmp_path: Path) -> None:
    text = SMI + rows(
        "1 W, 46.2 W",
        "1 W, [N/A]",
        "1 W, 47.0 W",
        "1 W, [Unknown Error]",
        "1 W, 48 W",
        "1 W, N/A",
        "1 W, 49 W",
    )
    trace = read_trace(written(tmp_path, text))
    assert trace.power_w.tolist() == [46.2, 47.0, 48.0, 49.0]
    assert trace.t_s.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert "3 of 7" in trace.warnings[0].message


def test_a_field_that_the_device_lacks_gives_way_to_one_that_it_has(tmp_path: Path) -> None:
    path = written(tmp_path, SMI + rows("46.0 W, [N/A]", "47.0 W, [N/A]", "48.0 W, [N/A]"))
    assert read_trace(path).column == "power.draw"
    with pytest.raises(InputError, match=r"3 of 3 readings of power\.draw\.instant are missing"):
        read_trace(path, power_column="power.draw.instant")


def test_two_gpus_must_be_told_apart(tmp_path: Path) -> None:
    header = "timestamp, index, uuid, name, power.draw [W]\n"
    text = "".join(
        f"2026/11/21 02:58:1{i}.0{g}0, {g}, GPU-{g}{g}, A100, {50 + 100 * g + i} W\n"
        for i in range(5)
        for g in range(2)
    )
    path = written(tmp_path, header + text)
    with pytest.raises(InputError, match=r"found 2: GPU-00 0; GPU-11 1") as error:
        read_trace(path)
    assert "--gpu" in error.value.hint
    for name in ("1", "GPU-11"):
        trace = read_trace(path, gpu=name)
        assert trace.power_w.tolist() == [150.0, 151.0, 152.0, 153.0, 154.0]
        assert (trace.uuid, trace.card) == ("GPU-11", "A100")
    with pytest.raises(InputError, match="GPU 7"):
        read_trace(path, gpu="7")


@pytest.mark.parametrize("lag", ["000", "003"])
def test_two_gpus_without_a_column_for_them_are_noticed(tmp_path: Path, lag: str) -> None:
    text = "".join(
        f"2026/11/21 02:58:{i}.000, 60.{i % 3} W\n2026/11/21 02:58:{i}.{lag}, 90.{i % 4} W\n"
        for i in range(10, 40)
    )
    with pytest.raises(InputError, match="groups of 2"):
        read_trace(written(tmp_path, "timestamp, power.draw [W]\n" + text))


def of_watts(tmp_path: Path, t_s: Array, power_w: Array) -> Path:
    rows = (f"{t:.4f},{w:.2f}\n" for t, w in zip(t_s, power_w, strict=True))
    return written(tmp_path, "t_s,power_w\n" + "".join(rows))


def pairs_s(n: int) -> Array:
    """Two rows within 2 ms every 100 ms."""
    return np.asarray(np.repeat(0.1 * np.arange(n), 2) + np.tile([0.0, 0.002], n))


@pytest.mark.parametrize(
    ("first_w", "second_w", "sigma_w", "n"),
    [(250.0, 235.0, 4.0, 25), (250.0, 235.0, 10.0, 200), (250.0, 60.0, 4.0, 25), (60.0, 58.0, 0.3, 25)],
)
def test_two_gpus_in_bursts_are_refused(
    tmp_path: Path, first_w: float, second_w: float, sigma_w: float, n: int
) -> None:
    noise = np.random.default_rng(0).normal(0.0, sigma_w, size=2 * n)
    path = of_watts(tmp_path, pairs_s(n), np.tile([first_w, second_w], n) + noise)
    with pytest.raises(InputError, match="groups of 2") as error:
        read_trace(path)
    assert "--gpu" in error.value.hint


def test_three_gpus_of_which_two_are_alike_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0.0, 4.0, size=180)
    t_s = np.repeat(0.1 * np.arange(60), 3) + np.tile([0.0, 0.002, 0.004], 60)
    with pytest.raises(InputError, match="groups of 3"):
        read_trace(of_watts(tmp_path, t_s, np.tile([250.0, 249.0, 235.0], 60) + noise))


@pytest.mark.parametrize("second_w", [60.0, 235.0])
def test_two_gpus_in_turn_are_refused(tmp_path: Path, second_w: float) -> None:
    noise = np.random.default_rng(0).normal(0.0, 4.0, size=120)
    path = of_watts(tmp_path, 0.1 * np.arange(120), np.tile([250.0, second_w], 60) + noise)
    with pytest.raises(InputError, match="W in turn") as error:
        read_trace(path)
    assert "--gpu" in error.value.hint


def test_two_gpus_that_take_turns_at_the_load_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0.0, 4.0, size=200)
    watts = np.concatenate((np.tile([250.0, 60.0], 50), np.tile([60.0, 250.0], 50))) + noise
    for t_s in (pairs_s(100), 0.1 * np.arange(200)):
        with pytest.raises(InputError, match="GPUs mixed"):
            read_trace(of_watts(tmp_path, t_s, watts))


@pytest.mark.parametrize("kind", ["noise", "skewed", "ramp", "held", "switched", "oscillating"])
def test_one_gpu_is_not_taken_for_two_however_it_was_polled(tmp_path: Path, kind: str) -> None:
    random, n = np.random.default_rng(5), 300
    rows = np.arange(2 * n)
    watts = {
        "noise": 100.0 + random.normal(0.0, 5.0, size=2 * n),
        "skewed": 60.0 + random.exponential(20.0, size=2 * n),
        "ramp": np.linspace(60.0, 200.0, 2 * n),
        "held": np.repeat(random.normal(100.0, 5.0, size=n), 2)[np.maximum(rows - 1, 0)],
        "switched": np.where(rows // 5 % 2 == 0, 60.0, 250.0) + random.normal(0.0, 1.0, size=2 * n),
        "oscillating": 120.0 + 60.0 * np.sin(rows / 3.0),
    }[kind]
    for t_s in (pairs_s(n), 0.1 * rows):
        assert len(read_trace(of_watts(tmp_path, t_s, watts)).t_s) == 2 * n


def test_every_other_reading_may_be_missing(tmp_path: Path) -> None:
    text = "".join(f"{i / 10:.1f},{'[N/A]' if i % 2 else 60 + i % 3}\n" for i in range(60))
    assert len(read_trace(written(tmp_path, "t_s,power_w\n" + text)).t_s) == 30


def test_choosing_a_gpu_takes_a_column_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column that tells GPUs apart"):
        read_trace(written(tmp_path, SMI + rows("1 W, 2 W", "1 W, 3 W")), gpu="0")


def test_coarse_times_of_one_gpu_are_merged(tmp_path: Path) -> None:
    text = "".join(f"{i // 4},{60 + (i * 7) % 5}\n" for i in range(80))
    trace = read_trace(written(tmp_path, "t_s,power_w\n" + text))
    assert len(trace.t_s) == 20
    assert trace.power_w[0] == 61.0
    assert codes(trace) == ["repeated-times"] and "60 rows" in trace.warnings[0].message


@pytest.mark.parametrize(
    ("text", "watts", "seconds"),
    [
        ("t_s,power_w\n0,46.19 W\n1,4898mW\n", [46.19, 4.898], [0.0, 1.0]),
        ("time_ms,power_mw\n0,500\n250,600\n", [0.5, 0.6], [0.0, 0.25]),
        ("now [ms], p [kW]\n0, 0.5\n250, 0.6\n", [500.0, 600.0], [0.0, 0.25]),
        ("when,p\n2026-11-21 02:58:11.5,1\n2026-11-21 02:58:12,2\n", [1.0, 2.0], [0.0, 0.5]),
        ("when,p\n2026-11-21T02:58:11+00:00,1\n2026-11-21T02:58:12+00:00,2\n", [1.0, 2.0], [0.0, 1.0]),
    ],
)
def test_any_columns_and_units(tmp_path: Path, text: str, watts: list[float], seconds: list[float]) -> None:
    time, power = (cell.strip().partition(" ")[0] for cell in text.partition("\n")[0].split(","))
    trace = read_trace(written(tmp_path, text), time, power)
    assert trace.power_w.tolist() == pytest.approx(watts)
    assert trace.t_s.tolist() == pytest.approx(seconds)


def test_gaps_are_located(tmp_path: Path) -> None:
    text = "".join(f"{i * 0.1 + (7.0 if i > 30 else 0.0):.1f},{60 + i % 2}\n" for i in range(60))
    trace = read_trace(written(tmp_path, "t_s,power_w\n" + text))
    assert codes(trace) == ["gaps"]
    assert "7.1 s at t = 3 s" in trace.warnings[0].message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SMI + "2026/11/21 02:58:11.1, 1 W, 1 W\n2026/11/21 02:58:10.1, 1 W, 1 W\n", "line 3: .*backward"),
        (SMI + "2026/11/21 02:58:11.1, 1 W, 46.1 V\n", "line 2"),
        (SMI + "yesterday, 1 W, 46.1 W\n", "line 2"),
        (SMI + "2026/11/21 02:58:11.1, 1 W\n", "line 2: expected at least 3 cells"),
        (SMI + "2026/11/21 02:58:11.1, 1 W, 46 W\n", "at least two samples"),
        ("t_s,power_w\n0,1\n" + "1" * 20_000, "line 3"),
        ("t_s,power_w\n0,1\n\0\n", "binary"),
        ("a,b\n1,2\n", "found a, b"),
    ],
)
def test_bad_files_name_the_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_trace(written(tmp_path, text))


def test_a_missing_column_lists_those_there(tmp_path: Path) -> None:
    path = written(tmp_path, SMI + rows("1 W, 2 W"))
    with pytest.raises(InputError, match=r"column watts, found timestamp, power\.draw, power\.draw\.instant"):
        read_trace(path, power_column="watts")


def test_compressed_files_are_read_and_cut_ones_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"t_s,power_w\n" + b"".join(b"%d,%d\n" % (t, t * 7919 % 97) for t in range(3000)))
    (tmp_path / "whole.csv.gz").write_bytes(whole)
    assert len(read_trace(tmp_path / "whole.csv.gz").t_s) == 3000
    for name, content in {"cut.gz": whole[:-500], "broken.gz": whole[:50] + b"\0" * 200}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_trace(tmp_path / name)


def test_tegrastats_with_dates_and_a_total_rail(tmp_path: Path) -> None:
    text = "".join(
        f"11-21-2026 02:58:1{i // 2} "
        + JETSON.format(f"VDD_IN {4898 + i}mW/4898mW VDD_CPU_GPU_CV 1200mW/1200mW")
        for i in range(8)
    )
    trace = read_trace(written(tmp_path, text, "t.log"))
    assert (trace.format, trace.column, trace.domain) == ("tegrastats", "VDD_IN", "module")
    assert trace.power_w.tolist() == pytest.approx([4.898 + i / 1000 for i in range(8)])
    assert trace.t_s.tolist() == pytest.approx([i / 2 for i in range(8)])
    assert codes(trace) == ["whole-seconds"]
    rail = read_trace(tmp_path / "t.log", power_column="VDD_CPU_GPU_CV")
    assert rail.power_w[0] == pytest.approx(1.2) and "one-rail" in codes(rail)


def test_old_tegrastats_has_neither_dates_nor_units(tmp_path: Path) -> None:
    path = written(tmp_path, JETSON.format("POM_5V_IN 1234/1200 POM_5V_GPU 40/40") * 3, "t.log")
    trace = read_trace(path)
    assert trace.power_w.tolist() == pytest.approx([1.234] * 3)
    assert trace.t_s.tolist() == [0.0, 1.0, 2.0]
    assert codes(trace) == ["assumed-interval"]
    with pytest.raises(UsageError):
        read_trace(path, time_column="t_s")


def test_a_board_without_a_total_rail_lists_its_rails(tmp_path: Path) -> None:
    line = JETSON.format("VDD_GPU_SOC 3192mW/3192mW VDD_CPU_CV 796mW/796mW VIN_SYS_5V0 3832mW/3832mW")
    path = written(tmp_path, line * 3, "t.log")
    with pytest.raises(InputError, match="found VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0") as error:
        read_trace(path)
    assert "--power" in error.value.hint
    with pytest.raises(InputError, match="the rail VDD_IN"):
        read_trace(path, power_column="VDD_IN")
