"""perframe export: checkpoint to ONNX, in the precision it shall run in."""

from pathlib import Path

import click

from perframe.commands.options import FILE, common, print_json, shapes_from, with_network, with_precision


@click.command(name="export")
@click.argument("file", type=FILE)
@click.option("-o", "output", type=FILE, required=True, metavar="MODEL.onnx")
@with_network
@with_precision
@click.option(
    "--labelled", type=FILE, metavar="DATA.npz", help="Arrays images and labels: count right answers."
)
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
    file: Path,
    output: Path,
    inputs: tuple[str, ...],
    factory: str | None,
    precision: str | None,
    images: Path | None,
    calibrator: str,
    labelled: Path | None,
    parity: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Export FILE to ONNX and check that it still computes the same.

    FILE is a checkpoint, or an fp32 ONNX model to be written in another precision.
    """
    from dataclasses import asdict

    from perframe.engines.convert import convert
    from perframe.engines.lower import PrecisionSpec
    from perframe.report.progress import progress_bar

    spec = PrecisionSpec(precision or "fp32", images, calibrator)
    with progress_bar() as progress:
        done = convert(
            file,
            output,
            input_shape=shapes_from(inputs),
            factory=factory,
            precision=spec,
            labelled=labelled,
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
                "precision": done.precision,
                "quantised": list(done.quantised),
                "unquantised": list(done.unquantised),
                "export_s": done.export_s,
                "notes": list(done.notes),
                "parity": asdict(done.parity) if done.parity else None,
                "accuracy": asdict(done.accuracy) if done.accuracy else None,
            }
        )
    else:
        from perframe.report.tables import conversion, show

        show(conversion(done))
