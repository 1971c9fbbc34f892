"""perframe build: ONNX to an engine."""

from pathlib import Path

import click

from perframe.commands.options import FILE, common, shapes_from, with_engine


@click.command(name="build")
@click.argument("model", type=FILE)
@click.option("-o", "output", type=FILE, required=True, metavar="ARTIFACT")
@with_engine
@click.option("--input", "inputs", multiple=True, metavar="[NAME:]CxHxW", help="For symbolic dimensions.")
@common
def command(
    model: Path,
    output: Path,
    engine: str | None,
    device: str | None,
    provider: str | None,
    threads: int | None,
    inputs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Build an engine from an ONNX MODEL."""
    from perframe.engines.artifact import sidecar_of
    from perframe.engines.prepare import build_engine

    artifact = build_engine(
        model,
        output,
        engine=engine or "onnxruntime",
        device=device or "cpu",
        provider=provider,
        threads=threads,
        input_shapes=shapes_from(inputs),
    )
    if as_json:
        click.echo(sidecar_of(output).read_text(encoding="utf-8").rstrip())
    else:
        click.echo(
            f"{output}: {artifact.model.name} for {artifact.backend} {artifact.version} on {artifact.device}, "
            f"{len(artifact.layers)} steps, built in {artifact.build_s:.2f} s"
        )
