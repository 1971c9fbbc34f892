"""perframe doctor: what this machine can do."""

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from perframe.commands.options import common, complete_engine, complete_sensor, print_json

if TYPE_CHECKING:
    from perframe.profiler.job import Job, JobKind


@click.command(name="doctor")
@click.option(
    "--for",
    "kind",
    type=click.Choice(("export", "build", "profile")),
    help="Try this job on a network of one layer; exit code 6 says that it cannot be done here.",
)
@click.option(
    "--engine",
    default="onnxruntime",
    show_default=True,
    shell_complete=complete_engine,
    help="With --for: the runtime.",
)
@click.option("--provider", help="With --for: ONNX Runtime's provider [fits the device].")
@click.option(
    "--sensor",
    default="auto",
    show_default=True,
    shell_complete=complete_sensor,
    help="With --for profile: the power sensor.",
)
@click.option(
    "--device", help="With --for: cpu or cuda:N [the engine's own]; else the GPU looked at [cuda:0]."
)
@click.option(
    "--characterise",
    metavar="SENSOR",
    shell_complete=complete_sensor,
    help="Switch a load on and off to find this sensor's update period, averaging window and delay, and keep them.",
)
@common
@click.pass_context
def command(
    ctx: click.Context,
    kind: "JobKind | None",
    engine: str,
    provider: str | None,
    sensor: str,
    device: str | None,
    characterise: str | None,
    as_json: bool,
) -> None:
    """Say what this machine can build, run and measure, and what would mend the rest.

    What is printed names no user, machine or folder of yours: paste it into an issue.
    """
    if kind is None:
        for name in ("engine", "provider", "sensor"):
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{name} is for --for, which tries a job.")
    elif characterise is not None:
        raise click.UsageError("--for and --characterise are two things to do.")
    if kind is not None:
        from perframe.profiler.job import Job

        _try(Job(kind, engine, device, provider, sensor), as_json)
    elif characterise is not None:
        _characterise(characterise, device or "cpu", as_json)
    else:
        _examine(device or "cuda:0", as_json)


def _try(job: "Job", as_json: bool) -> None:
    from dataclasses import asdict

    from perframe.profiler.job import require_job
    from perframe.report.progress import progress_bar

    with progress_bar() as progress:
        done = require_job(job, progress)
    if as_json:
        print_json({"job": asdict(job), "done": done})
    else:
        click.echo("\n".join(done))


def _characterise(sensor: str, device: str, as_json: bool) -> None:
    from dataclasses import asdict

    from perframe.engines.prepare import check_device
    from perframe.profiler.sensor_watch import characterise_sensor
    from perframe.report.doctor import character_table
    from perframe.report.progress import progress_bar
    from perframe.report.tables import show

    check_device(device)
    with progress_bar() as progress:
        progress("switching a load on and off", 0.0)
        found, path = characterise_sensor(sensor, device)
    if as_json:
        print_json({**asdict(found), "kept": str(path)})
    else:
        show(character_table(sensor, found))


def _examine(device: str, as_json: bool) -> None:
    from dataclasses import asdict

    from perframe.engines.prepare import check_device
    from perframe.profiler.doctor import SCHEMA, examine
    from perframe.report.progress import progress_bar

    check_device(device)
    with progress_bar() as progress:
        # The CPU is looked at anyway.
        diagnosis = examine("cuda:0" if device == "cpu" else device, progress)
    if as_json:
        print_json({"schema": SCHEMA, **asdict(diagnosis)})
    else:
        from perframe.report.doctor import diagnosis_table
        from perframe.report.tables import show

        show(diagnosis_table(diagnosis))
