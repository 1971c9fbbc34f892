"""perframe plot: one figure of a report, for a paper."""

from pathlib import Path

import click

from perframe.commands.options import FILE, common, print_json

_FIGURES = ("epf", "latency", "shape", "pareto", "layers", "roofline", "power")


@click.command(
    name="plot",
    epilog="""\b
epf, latency      against group size G and number of groups g
shape             the same beside the published curves
pareto            against accuracy
layers, roofline  where a frame of one network goes
power             while one network was measured""",
)
@click.argument("figure", type=click.Choice(_FIGURES))
@click.argument("results", type=FILE, nargs=-1, required=True, metavar="RESULTS...")
@click.option("-o", "output", type=FILE, required=True, metavar="FILE", help="Ends in .svg, .pdf or .png.")
@click.option(
    "-b", "--batch", type=click.IntRange(1), help="For one network: batch size [the smallest all have]."
)
@click.option("--network", metavar="NAME", help="For layers, roofline and power: which [the recommended].")
@click.option("--accuracy", type=FILE, metavar="TABLE.csv", help="Columns name and top1_percent [published].")
@click.option("--dataset", default="imagenet-1k", show_default=True, help="Of the published: or food-101.")
@click.option("--ppi", type=click.FloatRange(36, 1200), default=300, show_default=True, help="Of a PNG.")
@common
def command(
    figure: str,
    results: tuple[Path, ...],
    output: Path,
    batch: int | None,
    network: str | None,
    accuracy: Path | None,
    dataset: str,
    ppi: float,
    as_json: bool,
) -> None:
    """Draw one FIGURE of RESULTS, folders of profiles or profiles: SVG, or PDF and PNG with perframe[plots]."""
    from perframe.analysis.accuracy_table import accuracy_table
    from perframe.errors import one_line
    from perframe.files import writable_target
    from perframe.report.collect import collect
    from perframe.report.single import single_figure, write_figure

    writable_target(output, inputs=tuple(path for path in results if path.is_file()))
    collected = collect(results, accuracy_table(accuracy, dataset), batch)
    drawn = single_figure(collected, figure, network)
    write_figure(drawn, output, ppi)
    if as_json:
        print_json({"figure": figure, "path": str(output), "title": drawn.title, "caption": drawn.caption})
    else:
        # Names of networks come out of files.
        click.echo(f"saved: {output}\n{one_line(f'{drawn.title}. {drawn.caption}')}")
