"""perframe choose: which network should ship."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perframe.commands.options import FILE, Finite, common, print_json

if TYPE_CHECKING:
    from perframe.analysis.choose import Preference


@click.command(name="choose")
@click.argument("results", type=FILE)
@click.option("--accuracy", type=FILE, metavar="TABLE.csv", help="Columns name and top1_percent [published].")
@click.option("--dataset", default="imagenet-1k", show_default=True, help="Of the published: or food-101.")
@click.option("-b", "--batch", type=click.IntRange(1), help="Batch size [the smallest all have].")
@click.option("--min-top1", type=Finite(0.0, 100.0), metavar="72", help="Least top-1 accuracy in per cent.")
@click.option("--max-latency", metavar="5ms", help="Most time per inference.")
@click.option("--max-epf", metavar="300mJ", help="Most energy per frame.")
@click.option("--max-params", metavar="5M", help="Most parameters.")
@click.option("--prefer", type=click.Choice(("epf", "accuracy", "latency")), default="epf", show_default=True)
@click.option("--predict", is_flag=True, help="Also say which G or g to measure next.")
@common
def command(
    results: Path,
    accuracy: Path | None,
    dataset: str,
    batch: int | None,
    min_top1: float | None,
    max_latency: str | None,
    max_epf: str | None,
    max_params: str | None,
    prefer: "Preference",
    predict: bool,
    as_json: bool,
) -> int:
    """Choose a network among RESULTS, a folder of profiles, and say how sure that is.

    Ends with 4 where no network keeps the limits.
    """
    from dataclasses import asdict

    from perframe.analysis.accuracy_table import accuracy_table
    from perframe.analysis.candidates import candidates
    from perframe.analysis.choose import Limits, choose
    from perframe.analysis.proposals import proposals_for
    from perframe.analysis.quantities import parse_quantity
    from perframe.analysis.results import read_results

    limits = Limits(
        min_top1_percent=min_top1,
        max_latency_s=None if max_latency is None else parse_quantity(max_latency, "s", "--max-latency"),
        max_epf_j=None if max_epf is None else parse_quantity(max_epf, "J", "--max-epf"),
        max_params=None if max_params is None else parse_quantity(max_params, "", "--max-params"),
    )
    table = accuracy_table(accuracy, dataset)
    found = read_results(results)
    unknown = table.unknown(each.model for each in found.results)
    measured = candidates(found.results, table, batch)
    choice = choose(measured, limits, prefer)
    proposals = proposals_for(found.results, measured[0].batch) if predict else {}
    from perframe.report.choose import answer_text, choice_tables

    if as_json:
        print_json(
            {
                "answer": answer_text(choice),
                **asdict(choice),
                "accuracy": table.source,
                "accuracy_of_no_network": unknown,
                "next": {where: [asdict(each) for each in those] for where, those in proposals.items()},
                "candidates": [{"name": each.name, **asdict(each)} for each in measured],
                "skipped": [{"path": str(each.path), "reason": each.reason} for each in found.skipped],
            }
        )
    else:
        from perframe.report.prediction import proposal_lines
        from perframe.report.tables import show

        show(choice_tables(choice, measured, table, found.skipped, unknown))
        for where, those in proposals.items():
            for line in proposal_lines(those, where):
                show(line)
    return 0 if choice.recommended is not None else 4
