"""Profiles as a trace of Chrome's event format, which Perfetto and chrome://tracing open.

Every profile and batch size is a process with three tracks: the phases (rest, warm-up and windows, as they were), the
power as a counter (its readings where they were kept, else the mean of every window), and the layers of one inference.
Layers are timed in a pass of their own; their medians are laid end to end from the first window on. Format: "Trace
Event Format", Google, 2016.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from perframe.errors import one_line
from perframe.profiler.result import BatchResult, Energy, LayerResult, Profile, Window
from perframe.report.collect import Measured
from perframe.report.conditions import told_conditions

_PHASES, _LAYERS = 1, 2

Event = dict[str, Any]


def perfetto_trace(measured: Sequence[Measured]) -> str:
    """Return a trace of everything that was measured, as a JSON document."""
    events: list[Event] = []
    process = 0
    told = told_conditions(each.conditions for each in measured)
    for each in measured:
        under = f", {told[each.conditions]}" if len(told) > 1 else ""
        for run, (_, profile) in enumerate(each.runs, start=1):
            for batch in profile.batches:
                process += 1
                name = f"{profile.model.name}{under}, batch {batch.batch}, run {run}"
                events += _named(process, name, process_sort=process)
                events += _process(process, profile, batch)
    document = {"displayTimeUnit": "ms", "traceEvents": events}
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"


def _named(process: int, name: str, *, process_sort: int) -> Iterator[Event]:
    tracks = {_PHASES: "phases", _LAYERS: "layers of one inference"}
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": one_line(name)}}
    yield {"ph": "M", "pid": process, "name": "process_sort_index", "args": {"sort_index": process_sort}}
    for thread, track in tracks.items():
        yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_name", "args": {"name": track}}


def _process(process: int, profile: Profile, batch: BatchResult) -> Iterator[Event]:
    """What was done at a batch size. Its clock is that of the windows, put off so that nothing is before its zero."""
    energy, warm_up = batch.energy, batch.warm_up
    warm_up_s = warm_up.duration_s if warm_up is not None else 0.0
    trace = energy.trace
    readings = () if trace is None else tuple(zip(trace.time_s, trace.power_w, strict=False))
    earliest_s = min((time_s for time_s, _ in (*readings[:1], *energy.idle_spans_s)), default=0.0)
    start_s = max(warm_up_s, -earliest_s)
    for begin_s, end_s in energy.idle_spans_s:
        yield _slice(
            process, _PHASES, "at rest", start_s + begin_s, end_s - begin_s, {"idle_w": energy.idle_w}
        )
    if warm_up is not None:
        args = {"iterations": warm_up.iterations, "steady": warm_up.steady}
        yield _slice(process, _PHASES, "warm-up", start_s - warm_up_s, warm_up_s, args)
    paced = batch.paced.windows if batch.paced is not None else ()
    for kind, windows in (("window", energy.windows), ("paced window", paced)):
        for i, window in enumerate(windows, start=1):
            begin_s = start_s + window.start_s
            yield _window(process, f"{kind} {i}", window, batch, begin_s)
            if not readings and window.energy_j is not None and window.duration_s > 0.0:
                # Between windows nothing was read: the counter keeps the last mean until the next.
                yield _power(
                    process, "power of windows", energy, begin_s, window.energy_j / window.duration_s
                )
    for time_s, power_w in readings:
        yield _power(process, "power", energy, start_s + time_s, power_w)
    at_s = start_s
    for layer in batch.layers:
        yield _slice(process, _LAYERS, one_line(layer.name), at_s, layer.latency_s, _layer(layer, batch))
        at_s += layer.latency_s


def _window(process: int, name: str, window: Window, batch: BatchResult, begin_s: float) -> Event:
    args = {
        "frames": window.frames,
        "energy_j": window.energy_j,
        "energy_kind": batch.energy.kind,
        "p50_s": window.p50_s,
        "idle_w": batch.energy.idle_w,
    }
    return _slice(process, _PHASES, name, begin_s, window.duration_s, args)


def _power(process: int, name: str, energy: Energy, time_s: float, power_w: float) -> Event:
    told = name if energy.kind == "measured" else f"{name} ({energy.kind})"
    return {"ph": "C", "pid": process, "name": told, "ts": _us(time_s), "args": {"W": power_w}}


def _layer(layer: LayerResult, batch: BatchResult) -> Event:
    known = {
        "module": None if layer.module is None else one_line(layer.module),
        "op": one_line(layer.op),
        "share": layer.share,
        "macs": layer.macs,
        "groups": layer.groups,
        "group_size": layer.group_size,
        "intensity": layer.intensity,
        "energy_j": layer.energy_j,
        "energy_kind": batch.energy.kind,
        "energy_method": layer.energy_method,
        "added by the runtime": layer.overhead or None,
    }
    return {key: value for key, value in known.items() if value is not None}


def _slice(process: int, thread: int, name: str, start_s: float, duration_s: float, args: Event) -> Event:
    event = {
        "ph": "X",
        "pid": process,
        "tid": thread,
        "name": name,
        "ts": _us(start_s),
        "dur": _us(duration_s),
    }
    return {**event, "args": args}


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)
