"""perframe new: an untrained network."""

from pathlib import Path

import click

from perframe.commands.options import FILE, FiniteFloat, common, one_shape_from, print_json

_FAMILIES = ("mobilenet-v1", "resnext50")


@click.command(name="new")
@click.argument("family", type=click.Choice(_FAMILIES))
@click.option(
    "--group-size", type=click.IntRange(1), metavar="G", help="E2GC: the same group size everywhere."
)
@click.option(
    "--groups", type=click.IntRange(1), metavar="g", help="FgGC: the same number of groups everywhere."
)
@click.option(
    "--width", type=FiniteFloat(), default=1.0, show_default=True, help="Multiplies every channel count."
)
@click.option("--classes", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the weights."
)
@click.option("--input", "inputs", multiple=True, metavar="CxHxW", help="Input size [3x224x224].")
@click.option("-o", "output", type=FILE, required=True, metavar="FILE.pth.tar")
@common
def command(
    family: str,
    group_size: int | None,
    groups: int | None,
    width: float,
    classes: int,
    seed: int,
    inputs: tuple[str, ...],
    output: Path,
    as_json: bool,
) -> None:
    """Make an untrained network: where only the cost matters, weights need no training.

    Give --group-size G for the E2GC form, or --groups g for the FgGC form.
    """
    from perframe.engines.convert import new_checkpoint

    architecture = new_checkpoint(
        family,
        output,
        group_size=group_size,
        groups=groups,
        width=width,
        classes=classes,
        seed=seed,
        input_shape=one_shape_from(inputs),
    )
    if as_json:
        print_json({"path": str(output), "name": architecture.name})
    else:
        click.echo(f"{output}: {architecture.name}, untrained, seed {seed}")
