"""perframe import: a profile from what another program measured."""

from pathlib import Path

import click

from perframe.commands.finished import Finished
from perframe.commands.options import FILE, STDOUT, Finite, FiniteFloat, common


@click.group(name="import")
def command() -> None:
    """Make a profile from what another program measured, on this machine or another."""


@command.command(name="trtexec")
@click.option("--layers", type=FILE, required=True, metavar="L.json", help="Of trtexec --exportLayerInfo.")
@click.option("--profile", type=FILE, required=True, metavar="P.json", help="Of --exportProfile.")
@click.option(
    "--times", type=FILE, metavar="T.json", help="Of --exportTimes; without it no latency is known."
)
@click.option("--onnx", type=FILE, metavar="M.onnx", help="What the engine was built from.")
@click.option(
    "--metadata",
    type=FILE,
    multiple=True,
    metavar="J.json",
    help="Device and options, as TensorRT's Engine Explorer writes them; repeatable.",
)
@click.option(
    "-b", "--batch", type=click.IntRange(1), metavar="N", help="Where the engine's shapes do not tell."
)
@click.option(
    "--warm-up-s", type=Finite(0.0), default=0.2, show_default=True, help="How long trtexec warmed up."
)
@click.option("--power-trace", type=FILE, metavar="FILE", help="nvidia-smi's or tegrastats' log of the run.")
@click.option("--power", metavar="COL", help="Its power column, or rail.")
@click.option("--gpu", metavar="ID", help="Which GPU, where it holds several: index or UUID.")
@click.option(
    "--from", "from_s", type=FiniteFloat(), metavar="T", help="Begin of the run, on the trace's clock."
)
@click.option("--to", "to_s", type=FiniteFloat(), metavar="T", help="End of the run.")
@click.option("--top", type=click.IntRange(0), default=12, show_default=True, help="Modules shown; 0 = all.")
@click.option("-o", "output", type=click.Path(path_type=Path, allow_dash=True), metavar="RESULT.json")
@common
def trtexec(
    layers: Path,
    profile: Path,
    times: Path | None,
    onnx: Path | None,
    metadata: tuple[Path, ...],
    batch: int | None,
    warm_up_s: float,
    power_trace: Path | None,
    power: str | None,
    gpu: str | None,
    from_s: float | None,
    to_s: float | None,
    top: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Make a profile from the files of one run of trtexec, of an engine built with --profilingVerbosity=detailed."""
    from perframe.files import writable_target
    from perframe.profiler.checks import require_valid
    from perframe.profiler.import_trtexec import TrtexecFiles, import_trtexec

    files = TrtexecFiles(
        layers=layers, profile=profile, times=times, onnx=onnx, metadata=metadata, power_trace=power_trace
    )
    target = None if output == Path(STDOUT) else output
    if target is not None:
        writable_target(target, inputs=files.given())
    finished = Finished(target, top, as_json or output == Path(STDOUT))
    with finished:
        result = import_trtexec(
            files, batch=batch, warm_up_s=warm_up_s, power=power, gpu=gpu, from_s=from_s, to_s=to_s
        )
        finished.keep(result)
        require_valid(result)
