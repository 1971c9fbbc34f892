"""Thresholds as people write them."""

from pathlib import Path

import pytest

from perframe.analysis.quantities import parse_quantity
from perframe.analysis.thresholds import read_thresholds, thresholds_from
from perframe.analysis.verdict import Threshold
from perframe.errors import InputError, UsageError


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("300mJ", "J", 0.3),
        ("0.3J", "J", 0.3),
        ("1e2 uJ", "J", 1e-4),
        ("5ms", "s", 0.005),
        ("250us", "s", 250e-6),
        ("250µs", "s", 250e-6),
        ("250\u03bcs", "s", 250e-6),
        (".5s", "s", 0.5),
        ("2%", "%", 0.02),
        ("-5 %", "%", -0.05),
    ],
)
def test_quantities_come_with_their_unit(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit, "limit") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"),
    [("2", "%"), ("300", "J"), ("5ms", "J"), ("5mJ", "s"), ("2%", "J"), ("xJ", "J"), ("J", "J"), ("", "%"),
     ("nan%", "%"), ("1e999J", "J"), ("5Js", "s"), ("5 min", "s"), ("٣J", "J")],
)  # fmt: skip
def test_what_is_no_quantity_of_the_unit_is_refused(text: str, unit: str) -> None:
    with pytest.raises(UsageError, match="limit: expected a number with its unit"):
        parse_quantity(text, unit, "limit")


def test_max_increase_is_of_epf_unless_metrics_are_named() -> None:
    assert thresholds_from((), "2%", {}, (), None) == (Threshold("epf", max_increase=0.02),)
    several = thresholds_from(("latency-p50", "epf"), "2%", {"epf": "0.3J"}, (1, 4), None)
    assert several == (
        Threshold("latency-p50", max_increase=0.02, batches=(1, 4)),
        Threshold("epf", max_increase=0.02, batches=(1, 4)),
        Threshold("epf", maximum=0.3, batches=(1, 4)),
    )


def test_a_gate_without_a_threshold_is_refused_since_it_could_never_fail() -> None:
    with pytest.raises(UsageError, match="Nothing to judge by"):
        thresholds_from((), None, {"epf": None}, (), None)
    with pytest.raises(UsageError, match="no limit"):
        thresholds_from(("epf",), None, {}, (), None)


@pytest.mark.parametrize("limit", ["0J", "-1J", "5ms", "300"])
def test_absolute_limits_are_positive_quantities_of_the_metric(limit: str) -> None:
    with pytest.raises(UsageError):
        thresholds_from((), None, {"epf": limit}, (), None)


def test_several_thresholds_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[threshold]]\nmetric = "epf"\nmax-increase = "2%"\nbatch = [1, 4]\n'
        '[[threshold]]\nmetric = "latency-p99"\nmax = "5ms"\n'
    )
    first, second = read_thresholds(file)
    assert first == Threshold("epf", max_increase=0.02, batches=(1, 4))
    assert second == Threshold("latency-p99", maximum=0.005)
    # Where the file leaves the batch size open, the command line may say it.
    assert [each.batches for each in thresholds_from((), None, {}, (16,), file)] == [(1, 4), (16,)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[threshold]\n",
        "threshold = 3\n",
        'other = 1\n[[threshold]]\nmetric = "epf"\nmax = "1J"\n',
        '[[threshold]]\nmetric = "epf"\n',
        '[[threshold]]\nmax = "1J"\n',
        '[[threshold]]\nmetric = "epf"\nmax = "1J"\nmax-increase = "2%"\n',
        '[[threshold]]\nmetric = "speed"\nmax = "1J"\n',
        '[[threshold]]\nmetric = "epf"\nmax = 0.3\n',
        '[[threshold]]\nmetric = "epf"\nmax = "1J"\nbatch = 0\n',
        '[[threshold]]\nmetric = "epf"\nmax = "1J"\nbatch = true\n',
        '[[threshold]]\nmetric = "epf"\nmaximum = "1J"\n',
        '[[threshold]]\nmetric = "epf"\nmax-increase = "-100%"\n',
    ],
)
def test_a_damaged_file_of_thresholds_is_an_error_never_a_pass(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"gate\.toml"):
        read_thresholds(file)


def test_a_missing_file_of_thresholds_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_thresholds(tmp_path / "none.toml")
