"""perframe build: ONNX to an engine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perframe.commands.options import FILE, common, shapes_from, with_engine
from perframe.commands.tensorrt_options import with_tensorrt

if TYPE_CHECKING:
    from perframe.engines.base import TensorRtOptions


@click.command(name="build")
@click.argument("model", type=FILE)
@click.option("-o", "output", type=FILE, required=True, metavar="ARTIFACT")
@with_engine
@click.option(
    "-b",
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="TensorRT: batch size to build for; several make one engine, tuned for the largest [1].",
)
@with_tensorrt
@click.option("--input", "inputs", multiple=True, metavar="[NAME:]CxHxW", help="For symbolic dimensions.")
@common
def command(
    model: Path,
    output: Path,
    engine: str | None,
    device: str | None,
    provider: str | None,
    threads: int | None,
    batches: tuple[int, ...],
    tensorrt: "TensorRtOptions | None",
    no_cache: bool,
    inputs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Build an engine from an ONNX MODEL."""
    from perframe.engines.artifact import sidecar_of
    from perframe.engines.prepare import build_engine
    from perframe.report.progress import progress_bar

    with progress_bar() as progress:
        artifact = build_engine(
            model,
            output,
            engine=engine or "onnxruntime",
            device=device,
            provider=provider,
            threads=threads,
            input_shapes=shapes_from(inputs),
            batches=batches,
            tensorrt=tensorrt,
            cache=not no_cache,
            progress=progress,
        )
    if as_json:
        click.echo(sidecar_of(output).read_text(encoding="utf-8").rstrip())
    else:
        click.echo(
            f"{output}: {artifact.model.name} for {artifact.backend} {artifact.version} on {artifact.device}, "
            f"{_steps(len(artifact.layers))}built in {artifact.build_s:.2f} s"
        )


def _steps(count: int) -> str:
    # Some engines tell their steps only when they are opened.
    return f"{count} steps, " if count else ""
