"""perframe export: checkpoint to ONNX."""

from pathlib import Path

import click

from perframe.commands.options import FILE, common, one_shape_from, print_json, with_network


@click.command(name="export")
@click.argument("checkpoint", type=FILE)
@click.option("-o", "output", type=FILE, required=True, metavar="MODEL.onnx")
@with_network
@click.option("--parity/--no-parity", default=True, show_default=True, help="Compare with the framework.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the inputs compared on.",
)
@common
def command(
    checkpoint: Path,
    output: Path,
    inputs: tuple[str, ...],
    factory: str | None,
    parity: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Export CHECKPOINT to ONNX and check that it still computes the same."""
    from dataclasses import asdict

    from perframe.engines.convert import convert
    from perframe.report.progress import progress_bar

    with progress_bar() as progress:
        done = convert(
            checkpoint,
            output,
            input_shape=one_shape_from(inputs),
            factory=factory,
            parity=parity,
            seed=seed,
            progress=progress,
        )
    if as_json:
        print_json(
            {
                "path": str(output),
                "sha256": done.model.sha256,
                "opset": done.model.opset,
                "export_s": done.export_s,
                "notes": list(done.notes),
                "parity": asdict(done.parity) if done.parity else None,
            }
        )
    else:
        from perframe.report.tables import conversion, show

        show(conversion(done))
