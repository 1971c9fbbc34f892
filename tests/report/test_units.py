"""Facts of a machine as people read them."""

import pytest

from perframe.report.units import fact


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("cpus", 2.0, "2"),
        ("memory_bytes", 25276514304.0, "25.3 GB"),
        ("sensor_clock_hz", 1.41e9, "1.41 GHz"),
        ("sensor_update_period_s", 0.101, "101 ms"),
        ("sensor_power_limit_w", 250.0, "250 W"),
        ("sensor_gain", 0.9529, "0.9529"),
        ("load_1min", float("inf"), "inf"),
        ("cpu", "AMD\x1b[31m\nEPYC", "AMD\\x1b[31m EPYC"),
        ("cpu_governor", None, "–"),
        ("sensor_idle_w", "none", "none"),
    ],
)
def test_a_fact_has_the_unit_that_its_name_says(name: str, value: str | float | None, told: str) -> None:
    assert fact(name, value) == told
