"""What `perframe doctor` shows."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from perframe.errors import one_line
from perframe.profiler.characterise import SensorCharacter
from perframe.profiler.doctor import Diagnosis, GpuAnswers
from perframe.profiler.finding import Finding
from perframe.report.style import plain_table
from perframe.report.units import fact, percent, quantity


def diagnosis_table(diagnosis: Diagnosis) -> RenderableType:
    """Show what a machine can do."""
    machine = Table.grid(padding=(0, 2))
    for key, value in diagnosis.environment.items():
        machine.add_row(key, Text(fact(key, value)))
    table = plain_table("What can be used here")
    for name in ("", "", "found", "what would mend it"):
        table.add_column(name, overflow="fold")
    for finding in diagnosis.findings:
        subject = f"{finding.topic} {one_line(finding.name)}"
        table.add_row(_mark(finding), subject, Text(one_line(finding.what)), Text(one_line(finding.remedy)))
    proof = Text(
        "perframe doctor --for profile --engine NAME tries a job, on a network of one layer.", style="dim"
    )
    return Group(machine, Text(), table, *map(_gpu_table, diagnosis.gpus), proof)


def character_table(sensor: str, found: SensorCharacter) -> RenderableType:
    """Show what a sensor does to the truth."""
    table = Table.grid(padding=(0, 2))
    for key, value in {
        "sensor": one_line(sensor),
        "updates every": quantity(found.update_period_s, "s"),
        "averages over": quantity(found.averaging_window_s, "s"),
        "begins to show after": quantity(found.delay_s, "s"),
        "at rest, under load": f"{quantity(found.idle_w, 'W')}, {quantity(found.active_w, 'W')}",
        "switches": str(found.switches),
        "what the fit leaves": percent(found.residual),
    }.items():
        table.add_row(key, Text(value))
    return table


def _mark(finding: Finding) -> Text:
    if finding.works:
        return Text("✓", style="green")
    # What is built here can run elsewhere.
    return Text("~", style="yellow") if finding.builds else Text("✗", style="red")


def _gpu_table(gpu: GpuAnswers) -> RenderableType:
    table = plain_table(f"{one_line(gpu.gpu)}, driver {one_line(gpu.driver)}: what NVML answers")
    for name in ("question", "answer"):
        table.add_column(name, overflow="fold")
    if gpu.unavailable is not None:
        table.add_row("can be measured", Text(one_line(gpu.unavailable)))
    for question, told in gpu.answers.items():
        table.add_row(question, Text(one_line(told)))
    return table
