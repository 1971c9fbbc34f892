"""perframe predict: what a group size that was not measured would cost."""

from pathlib import Path

import click

from perframe.commands.options import FILE, common, print_json


@click.command(name="predict")
@click.option(
    "--from", "results", type=FILE, required=True, metavar="RESULTS", help="Folder of measured profiles."
)
@click.option("--family", type=click.Choice(("mobilenet-v1", "resnext50")), required=True)
@click.option(
    "--group-size", type=click.IntRange(1), metavar="G", help="E2GC: the same group size everywhere."
)
@click.option(
    "--groups", type=click.IntRange(1), metavar="g", help="FgGC: the same number of groups everywhere."
)
@click.option(
    "-b", "--batch", type=click.IntRange(1), metavar="N", help="Batch size [all that were measured]."
)
@common
def command(
    results: Path,
    family: str,
    group_size: int | None,
    groups: int | None,
    batch: int | None,
    as_json: bool,
) -> None:
    """Predict what a network costs that was not measured, from those of its family that were.

    Give --group-size G for the E2GC form, or --groups g for the FgGC form.
    """
    from dataclasses import asdict

    from perframe.analysis.predict import predict
    from perframe.analysis.results import read_results

    measured = read_results(results)
    found = predict(measured, family, group_size=group_size, groups=groups, batch=batch)
    if as_json:
        skipped = [{"path": str(each.path), "reason": each.reason} for each in measured.skipped]
        print_json({"predictions": [asdict(each) for each in found], "skipped": skipped})
    else:
        from perframe.report.prediction import prediction_tables
        from perframe.report.tables import show

        show(prediction_tables(found, measured.skipped))
