"""The sections about the machine and the software, and how to measure the same again."""

import shlex
from collections.abc import Mapping, Sequence

from perframe.analysis.series import Conditions
from perframe.analysis.sweep_plan import SweepPlan
from perframe.profiler.result import Profile
from perframe.report.collect import Collected, Measured
from perframe.report.figure import Cell, DataTable, number, table_html
from perframe.report.panel import escaped
from perframe.report.units import quantity, shape_text

Told = str | float | None

_SETS = 8
_VALUES = 4
_NETWORKS = 60


def told_conditions(every: Sequence[Conditions]) -> dict[Conditions, str]:
    """Return what to call sets of conditions: by name, and by what differs where names are the same."""
    told = {}
    for each in every:
        alike = [other for other in every if str(other) == str(each)]
        differing = {item for other in alike for item in other.identity ^ each.identity}
        own = sorted(f"{key} {value}" for key, value in differing & each.identity)
        told[each] = f"{each} ({', '.join(own)})" if own else str(each)
    return told


def environment_section(collected: Collected) -> str:
    """Return what must agree between results that are compared, and the machine, per set of conditions."""
    grouped: dict[frozenset[tuple[str, Told]], list[Measured]] = {}
    for each in collected.measured:
        grouped.setdefault(frozenset(each.profile.identity.items()), []).append(each)
    parts = []
    for index, members in enumerate(list(grouped.values())[:_SETS]):
        profiles = [profile for each in members for _, profile in each.runs]
        engine = profiles[0].engine
        title = f"{engine.backend} {engine.version or ''} on {profiles[0].identity.get('device_name') or engine.device}"
        opened = " open" if index == 0 else ""
        silent = ", ".join(sorted(key for key, value in profiles[0].identity.items() if value is None))
        note = f'<p class="note">Not told by this machine: {escaped(silent)}.</p>' if silent else ""
        parts.append(
            f'<details class="one"{opened}><summary>{escaped(title)}<span>, {len(members)} networks</span></summary>'
            f"<h3>What must agree before results are compared</h3>{_facts([profile.identity for profile in profiles])}"
            f"<h3>The machine</h3>{_facts([profile.environment for profile in profiles])}"
            f"{note}</details>"
        )
    if len(grouped) > _SETS:
        parts.append(
            f'<p class="note">{len(grouped) - _SETS} more sets of conditions are in the result files.</p>'
        )
    return "".join(parts)


def reproduce_section(collected: Collected) -> str:
    """Return the commands that measure the same again, and what exactly was measured."""
    version = collected.measured[0].profile.perframe
    lines = [f"pip install 'perframe=={version}'"]
    if collected.plan is not None:
        lines.append(sweep_command(collected.plan))
    else:
        lines += list(dict.fromkeys(profile_command(each.profile) for each in collected.measured[:_VALUES]))
    lines.append("perframe report RESULTS/ -o report.html")
    commands = "\n".join(escaped(line) for line in lines)
    rows = tuple(
        (
            Cell(each.profile.model.name),
            Cell(each.profile.model.precision or "–"),
            Cell(shape_text(each.profile.model.input_shape) or "–"),
            number(len(each.runs)),
            Cell(each.profile.created[:16].replace("T", " ")),
            Cell((each.profile.model.sha256 or "–")[:16]),
            Cell((each.profile.engine.artifact_sha256 or "–")[:16]),
        )
        for each in collected.measured[:_NETWORKS]
    )
    left = len(collected.measured) - len(rows)
    table = DataTable(
        "What was measured",
        ("network", "precision", "input", "runs", "first measured", "ONNX SHA-256", "engine SHA-256"),
        rows,
        note=f"{left} more networks are not listed." if left else "",
    )
    return f"<pre tabindex=0><code>{commands}</code></pre>{table_html(table)}"


def sweep_command(plan: SweepPlan) -> str:
    """Return the command line of a sweep."""
    parts = ["perframe sweep"]
    untrained = [each for each in plan.configurations if each.checkpoint is None]
    parts += [f"--family {family}" for family in dict.fromkeys(each.family for each in untrained)]
    for option, numbers in (
        ("--group-sizes", {each.group_size for each in untrained if each.group_size is not None}),
        ("--groups", {each.groups for each in untrained if each.groups is not None}),
    ):
        if numbers:
            parts.append(f"{option} {','.join(map(str, sorted(numbers)))}")
    checkpoints = dict.fromkeys(
        each.checkpoint.name for each in plan.configurations if each.checkpoint is not None
    )
    parts += [f"--checkpoint {shlex.quote(name)}" for name in checkpoints]
    measurement = plan.measurement
    parts += [f"-b {batch}" for batch in measurement.batches]
    precisions = dict.fromkeys(each.precision.name for each in plan.configurations)
    parts += [f"--precision {name}" for name in precisions if list(precisions) != ["fp32"]]
    options: Mapping[str, tuple[Told, Told]] = {
        "--engine": (plan.engine, None),
        "--device": (plan.device, "cpu"),
        "--provider": (plan.provider, None),
        "--threads": (plan.threads, None),
        "--regime": (plan.regime, "inference"),
        "--runs": (plan.runs, None),
        "--windows": (measurement.windows, None),
        "--window-s": (measurement.window_s, None),
        "--warm-up-s": (measurement.warm_up_s, 10.0),
        "--fps": (measurement.fps, None),
        "--sensor": (plan.sensor, "auto"),
        "--watts": (plan.watts, 10.0),
        "--input": (shape_text(plan.input_shape), "3x224x224"),
        "--width": (plan.width, 1.0),
        "--classes": (plan.classes, 1000),
        "--seed": (plan.seed, 0),
    }
    return " ".join([*parts, *_given(options), "-o RESULTS/"])


def profile_command(profile: Profile) -> str:
    """Return the command line that measures a network as this profile did."""
    identity, plan = profile.identity, profile.plan
    if plan is None:
        return f"# {profile.model.name} was imported: another program measured it"
    sensor = identity.get("sensor")
    if sensor == "sim":
        sensor = f"sim:{identity.get('sensor_preset')}"
    options: Mapping[str, tuple[Told, Told]] = {
        "--engine": (profile.engine.backend, None),
        "--device": (identity.get("device"), "fake"),
        "--provider": (profile.engine.provider, profile.engine.backend),
        "--threads": (profile.engine.threads, None),
        "--regime": (profile.regime, "inference"),
        "--sensor": (sensor, None),
        "--windows": (plan.windows, 10),
        "--window-s": (plan.window_s, None),
        "--warm-up-s": (plan.warm_up_s, 10.0),
        "--fps": (plan.fps, None),
        "--seed": (plan.seed, 0),
    }
    batches = [f"-b {batch}" for batch in plan.batches]
    model = shlex.quote(f"{profile.model.name}.onnx")
    return " ".join(["perframe profile", model, *batches, *_given(options), "-o RESULTS/result.json"])


def _given(options: Mapping[str, tuple[Told, Told]]) -> list[str]:
    """Options with their values, those left out whose value is not known or what they have anyway."""
    return [
        f"{option} {shlex.quote(f'{value:g}' if isinstance(value, float) else str(value))}"
        for option, (value, usual) in options.items()
        if value is not None and value != usual
    ]


def _facts(of_each: Sequence[Mapping[str, Told]]) -> str:
    """Every key with its value, or values where runs differ; what was never told is left out."""
    keys = dict.fromkeys(key for each in of_each for key in each)
    rows = []
    for key in keys:
        values = dict.fromkeys(_shown(key, each.get(key)) for each in of_each if each.get(key) is not None)
        if values:
            some = list(values)
            more = f" and {len(some) - _VALUES} more" if len(some) > _VALUES else ""
            told = escaped("; ".join(some[:_VALUES]) + more)
            rows.append(f"<div><dt>{escaped(key)}</dt><dd>{told}</dd></div>")
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _shown(key: str, value: Told) -> str:
    if isinstance(value, float):
        for ending, unit in (("_hz", "Hz"), ("_bytes", "B"), ("_w", "W"), ("_s", "s")):
            if key.endswith(ending):
                return quantity(value, unit)
        return f"{value:g}"
    return str(value)
