"""The sections about the machine and the software, and how to measure the same again."""

from collections.abc import Mapping, Sequence

from perframe.analysis.series import Conditions
from perframe.report.collect import Collected, Measured
from perframe.report.figure import Cell, DataTable, number, table_html
from perframe.report.panel import escaped
from perframe.report.reproduce import distinct, file_name, profile_command, sweep_command, wrapped
from perframe.report.units import fact, shape_text

Told = str | float | None

_SETS = 8
_VALUES = 4
_COMMANDS = 20
_NETWORKS = 60
# Of a hash, enough to tell files apart.
_DIGITS = 12
_NOT_OF_THE_MACHINE = {"quantised", "threads"}


def environment_section(collected: Collected) -> str:
    """Return what must agree between results that are compared, and the machine, per set of conditions."""
    grouped: dict[Conditions, list[Measured]] = {}
    for each in collected.measured:
        grouped.setdefault(each.conditions, []).append(each)
    parts = []
    for index, (conditions, members) in enumerate([*grouped.items()][:_SETS]):
        profiles = [profile for each in members for _, profile in each.runs]
        title = collected.where(conditions) or str(conditions)
        count = f"{len(members)} network{'' if len(members) == 1 else 's'}"
        opened = " open" if index == 0 else ""
        untold = {key for key, value in profiles[0].identity.items() if value is None} - _NOT_OF_THE_MACHINE
        silent = ", ".join(sorted(untold))
        note = f'<p class="note">Not told by this machine: {escaped(silent)}.</p>' if silent else ""
        parts.append(
            f'<details class="one"{opened}><summary>{escaped(title)}<span>, {count}</span></summary>'
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
    versions = sorted({profile.perframe for each in collected.measured for _, profile in each.runs})
    apart = [each for each in collected.measured if not _of_a_sweep(each, collected)]
    lead = (
        f'<p class="lead">Measured with perframe {escaped(", ".join(versions))} and the versions under'
        ' <a href="#environment">Environment</a>.'
    )
    if any(each.profile.plan is not None for each in apart):
        lead += (
            " The networks' files are yours: their SHA-256 stand below. Weights make no difference to the cost, so"
            " that <code>perframe new</code> and <code>perframe export</code> make stand-ins."
        )
        if any(len(each.runs) > 1 for each in apart):
            lead += (
                " What was measured in several runs is measured as often, with another <code>-o</code> each."
            )
    return f"{lead}</p><pre><code>{_commands(collected, apart)}</code></pre>{_measured_table(collected)}"


def _of_a_sweep(each: Measured, collected: Collected) -> bool:
    """Whether a plan that is at hand measures this network."""
    return all(
        (plan := collected.plans.get(file.parent.parent)) is not None
        and file.stem in {one.name for one in plan.configurations}
        for file, _ in each.runs
    )


def _commands(collected: Collected, apart: Sequence[Measured]) -> str:
    """Every command on lines of its own, as HTML."""
    sweeps = distinct(f"RESULTS/{file_name(folder.name)}/" for folder in collected.plans)
    if len(sweeps) == 1 and not apart:
        sweeps = ["RESULTS/"]
    commands = [
        sweep_command(plan, output) for plan, output in zip(collected.plans.values(), sweeps, strict=True)
    ]
    names = distinct(_result_name(each) for each in apart)
    commands += [
        profile_command(each.profile, f"RESULTS/{name}.json")
        for each, name in zip(apart[:_COMMANDS], names, strict=False)
    ]
    if len(apart) > _COMMANDS:
        commands.append([f"# and {len(apart) - _COMMANDS} more networks, see below"])
    own = [f"--accuracy {file_name(collected.table.source)}"] if collected.table.own else []
    commands.append(["perframe report RESULTS/", *own, "-o report.html"])
    return "\n".join(wrapped([escaped(part) for part in command]) for command in commands)


def _result_name(each: Measured) -> str:
    model = each.profile.model
    return file_name(model.name if model.precision in (None, "fp32") else f"{model.name}-{model.precision}")


def _measured_table(collected: Collected) -> str:
    several = any(collected.where(each.conditions) for each in collected.measured)
    rows = tuple(
        (
            Cell(each.profile.model.name),
            # What conditions are called tells the precision too.
            Cell(collected.where(each.conditions) if several else each.profile.model.precision or "–"),
            Cell(shape_text(each.profile.model.input_shape) or "–"),
            number(len(each.runs)),
            Cell(each.profile.created[:16].replace("T", " ")),
            Cell((each.profile.model.sha256 or "–")[:_DIGITS]),
            Cell((each.profile.engine.artifact_sha256 or "–")[:_DIGITS]),
        )
        for each in collected.measured[:_NETWORKS]
    )
    left = len(collected.measured) - len(rows)
    second = "on" if several else "precision"
    table = DataTable(
        "What was measured",
        ("network", second, "input", "runs", "first measured", "ONNX SHA-256", "engine SHA-256"),
        rows,
        note=f"{left} more networks are not listed." if left else "",
    )
    return table_html(table)


def _facts(of_each: Sequence[Mapping[str, Told]]) -> str:
    """Every key with its value, or values where runs differ; what was never told is left out."""
    keys = dict.fromkeys(key for each in of_each for key in each)
    rows = []
    for key in keys:
        if values := list(dict.fromkeys(each[key] for each in of_each if each.get(key) is not None)):
            rows.append(f"<div><dt>{escaped(key)}</dt><dd>{escaped(_told(key, values))}</dd></div>")
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _told(key: str, values: Sequence[Told]) -> str:
    if len(values) <= _VALUES:
        return "; ".join(fact(key, each) for each in values)
    numbers = [each for each in values if isinstance(each, float)]
    if len(numbers) == len(values):
        return f"{fact(key, min(numbers))} to {fact(key, max(numbers))}"
    return "; ".join(fact(key, each) for each in values[:_VALUES]) + f" and {len(values) - _VALUES} more"
