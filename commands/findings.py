"""perframe findings: the published claims, judged on results."""

from pathlib import Path

import click

from perframe.commands.options import FILE, common, print_json


@click.command(name="findings")
@click.argument("results", type=FILE)
@click.option("--all", "every", is_flag=True, help="Every set of results, and what each effect is made of.")
@common
def command(results: Path, every: bool, as_json: bool) -> None:
    """Judge the published claims about group convolution on a folder of RESULTS.

    Each is first recomputed from the published tables, then judged on the profiles in the folder: it holds, is
    weaker or stronger than published, reversed, inconclusive, or not tested for want of what it names.
    """
    from perframe.analysis.findings import find, to_document
    from perframe.analysis.results import read_results

    found = find(read_results(results))
    if as_json:
        print_json(to_document(found))
    else:
        from perframe.report.findings import findings_tables
        from perframe.report.tables import show

        show(findings_tables(found, every=every))
