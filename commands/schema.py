"""perframe schema: what stands in the files that perframe writes."""

import click

from perframe.commands.options import common, print_json

NAMES = ("profile", "engine", "calibration", "trace", "sweep", "gate", "doctor")
"""As `perframe.report.schemas` has them, which --help shall not load."""


@click.command(name="schema")
@click.argument("name", type=click.Choice(NAMES))
@common
def command(name: str, as_json: bool) -> None:
    """Print the JSON Schema (draft 2020-12) of a kind of file: a result, an engine's sidecar, ..."""
    from perframe.report.schemas import schema

    print_json(schema(name))
