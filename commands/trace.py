"""perframe trace: what a recorded power trace tells."""

from pathlib import Path

import click

from perframe.commands.options import FILE, Finite, FiniteFloat, common


@click.command(name="trace")
@click.argument("file", type=FILE)
@click.option("--time", metavar="COL", help="Time column.")
@click.option("--power", metavar="COL", help="Power column, or rail of a tegrastats log.")
@click.option("--gpu", metavar="ID", help="Which GPU, where a log holds several: index or UUID.")
@click.option(
    "--from", "from_s", type=FiniteFloat(), metavar="T", help="Begin of the span, on the file's clock."
)
@click.option("--to", "to_s", type=FiniteFloat(), metavar="T", help="End of the span.")
@click.option(
    "--load-period", type=Finite(0.0, min_open=True), metavar="S", help="Period of a switching load."
)
@click.option("--meter", type=FILE, metavar="METER.csv", help="An external meter's trace of the same run.")
@click.option(
    "--calibrate", type=FILE, metavar="OUT.json", help="Write the gain and offset found with --meter."
)
@click.option("--calibration", type=FILE, metavar="FILE.json", help="Apply gain and offset.")
@common
def command(
    file: Path,
    time: str | None,
    power: str | None,
    gpu: str | None,
    from_s: float | None,
    to_s: float | None,
    load_period: float | None,
    meter: Path | None,
    calibrate: Path | None,
    calibration: Path | None,
    as_json: bool,
) -> None:
    """Say what a recorded power trace tells about its sensor, with an honest mean.

    FILE is a CSV of times and watts (plain or .gz), an nvidia-smi CSV log, or a tegrastats log.
    """
    from perframe.profiler.trace import report_to_json, trace_command

    report, found = trace_command(
        file,
        time=time,
        power=power,
        gpu=gpu,
        from_s=from_s,
        to_s=to_s,
        load_period_s=load_period,
        meter=meter,
        calibrate=calibrate,
        calibration=calibration,
    )
    if as_json:
        click.echo(report_to_json(report))
    else:
        from perframe.report.trace import show_trace

        show_trace(report, found)
