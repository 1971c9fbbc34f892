"""perframe report: one file to look at and pass around."""

from pathlib import Path

import click

from perframe.commands.options import FILE, STDOUT, common, print_json


@click.command(name="report")
@click.argument("results", type=FILE, nargs=-1, required=True, metavar="RESULTS...")
@click.option("-o", "output", type=click.Path(path_type=Path, allow_dash=True), metavar="REPORT.html")
@click.option("--perfetto", type=FILE, metavar="TRACE.json", help="A trace for Perfetto or chrome://tracing.")
@click.option(
    "-b", "--batch", type=click.IntRange(1), help="The batch size that matters most [the smallest all have]."
)
@click.option("--accuracy", type=FILE, metavar="TABLE.csv", help="Columns name and top1_percent [published].")
@click.option("--dataset", default="imagenet-1k", show_default=True, help="Of the published: or food-101.")
@common
def command(
    results: tuple[Path, ...],
    output: Path | None,
    perfetto: Path | None,
    batch: int | None,
    accuracy: Path | None,
    dataset: str,
    as_json: bool,
) -> None:
    """Write a report of RESULTS, folders of profiles or profiles, as one HTML file that needs no network."""
    from perframe.analysis.accuracy_table import accuracy_table
    from perframe.files import writable_target, write_text
    from perframe.report.collect import collect
    from perframe.report.units import quantity

    if output is None and perfetto is None:
        raise click.UsageError("Nothing to write: give -o REPORT.html or --perfetto TRACE.json.")
    to_stdout = output == Path(STDOUT)
    if to_stdout and as_json:
        raise click.UsageError("-o - and --json both write to stdout.")
    if output is not None and perfetto is not None and output.resolve() == perfetto.resolve():
        raise click.UsageError(f"{output}: -o and --perfetto need a file each.")
    table = accuracy_table(accuracy, dataset)
    files = tuple(path for path in results if path.is_file())
    for target in (output, perfetto):
        if target is not None and target != Path(STDOUT):
            writable_target(target, inputs=files)
    collected = collect(results, table, batch)
    written = {}
    if output is not None:
        from perframe.report.page import report_page

        text = report_page(collected)
        if to_stdout:
            click.echo(text, nl=False)
        else:
            write_text(output, text)
            written["report"] = output
    if perfetto is not None:
        from perframe.report.perfetto import perfetto_trace

        write_text(perfetto, perfetto_trace(collected.measured))
        written["perfetto"] = perfetto
    if as_json:
        skipped = [{"path": str(each.path), "reason": each.reason} for each in collected.results.skipped]
        sizes = {name: {"path": str(path), "bytes": path.stat().st_size} for name, path in written.items()}
        print_json({**sizes, "networks": len(collected.measured), "skipped": skipped})
    else:
        for path in written.values():
            click.echo(f"saved: {path} ({quantity(path.stat().st_size, 'B')})", err=to_stdout)
