"""perframe inspect: what a file holds and what its layers cost."""

from pathlib import Path

import click

from perframe.commands.options import FILE, common, print_json, shapes_from, with_network


@click.command(name="inspect")
@click.argument("file", type=FILE)
@with_network
@click.option("--all", "every", is_flag=True, help="Also layers without MACs.")
@common
def command(file: Path, inputs: tuple[str, ...], factory: str | None, every: bool, as_json: bool) -> None:
    """Show the architecture of a checkpoint or ONNX FILE and what each layer costs."""
    from dataclasses import asdict

    from perframe.engines.convert import inspect_file
    from perframe.report.progress import progress_bar

    with progress_bar() as progress:
        found = inspect_file(file, input_shapes=shapes_from(inputs), factory=factory, progress=progress)
    if as_json:
        layers = [
            {**asdict(cost), "activations": cost.activations, "intensity": cost.intensity}
            for cost in found.costs
        ]
        print_json({"model": asdict(found.model), "notes": list(found.notes), "layers": layers})
    else:
        from perframe.report.tables import inspection, show

        show(inspection(found.model, found.costs, found.notes, every=every))
