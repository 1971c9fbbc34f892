"""perframe doctor: what this machine can do."""

import click

from perframe.commands.options import common, print_json


@click.command(name="doctor")
@click.option("--device", default="cpu", show_default=True, help="The device whose sensors are looked at.")
@click.option(
    "--characterise",
    "sensor",
    metavar="SENSOR",
    help="Switch a load on and off to find this sensor's update period, averaging window and delay, and keep them.",
)
@common
def command(device: str, sensor: str | None, as_json: bool) -> None:
    """Say what this machine can build, run and measure, and what would mend the rest."""
    from dataclasses import asdict

    from perframe.engines.prepare import check_device
    from perframe.profiler.doctor import characterise_sensor, examine

    check_device(device)
    if sensor is not None:
        found, path = characterise_sensor(sensor, device)
        if as_json:
            print_json({**asdict(found), "kept": str(path)})
        else:
            from perframe.report.tables import character_table, show

            show(character_table(sensor, found))
        return
    diagnosis = examine(device)
    if as_json:
        print_json(asdict(diagnosis))
    else:
        from perframe.report.tables import diagnosis_table, show

        show(diagnosis_table(diagnosis))
