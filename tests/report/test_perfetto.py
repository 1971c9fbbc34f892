"""The trace that Perfetto and chrome://tracing open."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from perframe.profiler.result import PowerTrace, Profile
from perframe.report.collect import Collected, Measured
from perframe.report.perfetto import perfetto_trace


@pytest.fixture(scope="module")
def events(golden: Profile) -> list[dict[str, Any]]:
    trace = json.loads(perfetto_trace([Measured(((Path("a.json"), golden),))]))
    found = trace["traceEvents"]
    assert isinstance(found, list)
    return found


def test_every_event_has_what_the_format_demands(events: list[dict[str, Any]]) -> None:
    needed = {
        "X": {"name", "ts", "dur", "pid", "tid"},
        "C": {"name", "ts", "pid", "args"},
        "M": {"name", "pid", "args"},
    }
    assert {event["ph"] for event in events} == set(needed)
    for event in events:
        assert needed[event["ph"]] <= set(event)
        assert event.get("ts", 0.0) >= 0.0 and event.get("dur", 0.0) >= 0.0


def test_layers_are_slices_end_to_end(golden: Profile, events: list[dict[str, Any]]) -> None:
    batch = golden.batches[0]
    slices = [event for event in events if event["ph"] == "X" and event["tid"] == 2 and event["pid"] == 1]
    assert [event["name"] for event in slices] == [layer.name for layer in batch.layers]
    for one, other in pairwise(slices):
        assert one["ts"] + one["dur"] == pytest.approx(other["ts"], abs=0.01)
    whole_us = 1e6 * sum(layer.latency_s for layer in batch.layers)
    assert sum(event["dur"] for event in slices) == pytest.approx(whole_us, rel=1e-3)


def test_power_is_a_counter_that_steps_with_the_windows(
    golden: Profile, events: list[dict[str, Any]]
) -> None:
    counters = [event for event in events if event["ph"] == "C" and event["pid"] == 1]
    batch = golden.batches[0]
    paced = batch.paced.windows if batch.paced else ()
    assert len(counters) == len(batch.energy.windows) + len(paced)
    assert {event["name"] for event in counters} == {"power of windows (modelled)"}
    first = batch.energy.windows[0]
    assert counters[0]["args"]["W"] == pytest.approx((first.energy_j or 0.0) / first.duration_s)


def test_every_profile_and_batch_size_is_a_process_with_a_name(collected: Collected) -> None:
    events = json.loads(perfetto_trace(collected.measured))["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert len(names) == len(set(names)) == 22 * 2 * 3
    assert Counter(event["pid"] for event in events if event["ph"] == "M")[1] == 4


def test_control_characters_do_not_reach_the_trace(golden: Profile) -> None:
    model = replace(golden.model, name="a\x1b[31m\nb")
    trace = perfetto_trace([Measured(((Path("a.json"), replace(golden, model=model)),))])
    assert "\\u001b" not in trace and "\\\\x1b[31m b" in trace


def test_other_conditions_are_in_the_names(golden: Profile) -> None:
    other = replace(golden, identity={**golden.identity, "device_name": "Another"})
    every = [Measured(((Path(f"{i}.json"), profile),)) for i, profile in enumerate((golden, other))]
    events = json.loads(perfetto_trace(every))["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert (
        len(names) == len(set(names))
        and sum("device_name Another" in name for name in names) == len(names) / 2
    )


def test_readings_are_the_counter_where_they_were_kept(golden: Profile) -> None:
    batch = golden.batches[0]
    trace = PowerTrace((-20.0, -1.0, 0.5, 3.0), (40.0, 200.0, 210.0, 41.0))
    energy = replace(batch.energy, trace=trace, idle_spans_s=((-21.0, -20.0), (2.5, 3.0)))
    profile = replace(golden, batches=(replace(batch, energy=energy),))
    events = json.loads(perfetto_trace([Measured(((Path("a.json"), profile),))]))["traceEvents"]
    counters = [event for event in events if event["ph"] == "C"]
    assert [event["args"]["W"] for event in counters] == [40.0, 200.0, 210.0, 41.0]
    assert {event["name"] for event in counters} == {"power (modelled)"}
    assert all(event.get("ts", 0.0) >= 0.0 for event in events)
    first = next(event for event in events if event["name"] == "window 1")
    since_s = 20.0 + batch.energy.windows[0].start_s
    assert first["ts"] - counters[0]["ts"] == pytest.approx(1e6 * since_s, abs=1.0)
    assert [event["dur"] for event in events if event["name"] == "at rest"] == [1e6, 0.5e6]
