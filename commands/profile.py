"""perframe profile: what a frame costs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perframe.commands.finished import Finished
from perframe.commands.options import (
    FILE,
    STDOUT,
    Finite,
    FiniteFloat,
    common,
    complete_sensor,
    precision_from,
    shapes_from,
    with_engine,
    with_network,
    with_precision,
)
from perframe.commands.tensorrt_options import with_tensorrt
from perframe.progress import is_quiet

if TYPE_CHECKING:
    from perframe.engines.base import Regime, TensorRtOptions
    from perframe.profiler.plan import LayerEnergy


@click.command(name="profile")
@click.argument("file", type=FILE)
@click.option(
    "-b", "--batch", "batches", type=int, multiple=True, metavar="N", help="Batch size; repeatable [1]."
)
@with_precision
@with_engine
@with_network
@with_tensorrt
@click.option("--dynamic", is_flag=True, help="TensorRT: one engine for all batch sizes, not one for each.")
@click.option(
    "--rebuilds",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="TensorRT: build that often, so that what differs from build to build enters the uncertainty.",
)
@click.option("--transfers", is_flag=True, help="TensorRT: copy inputs and outputs in every inference.")
@click.option(
    "--regime",
    type=click.Choice(("inference", "training")),
    help="training is the published protocol: forward and backward, 100 times over all windows, and the two passes"
    " timed apart; with --engine torch [inference].",
)
@click.option(
    "--sensor",
    default="auto",
    show_default=True,
    shell_complete=complete_sensor,
    help="auto, nvml, jetson, rapl, replay:FILE, modelled, sim:GPU, none.",
)
@click.option(
    "--watts",
    type=Finite(0.0, 10_000.0, min_open=True),
    default=10.0,
    show_default=True,
    help="Watts of one busy core, for the modelled sensor.",
)
@click.option("--calibration", type=FILE, help="Gain and offset of this sensor, see perframe trace.")
@click.option(
    "--windows",
    type=click.IntRange(2, 10_000),
    default=10,
    show_default=True,
    help="Measured windows per batch size.",
)
@click.option("--window-s", type=FiniteFloat(), help="Least seconds per window [follows from the sensor].")
@click.option(
    "--edge-error",
    type=FiniteFloat(),
    default=0.005,
    show_default=True,
    help="Share of a window's energy that may be missed at its ends; sets the windows' length.",
)
@click.option("--warm-up-s", type=FiniteFloat(), default=10.0, show_default=True, help="Longest warm-up.")
@click.option(
    "--fps", type=FiniteFloat(), help="Also run at a camera's pace: one inference every 1/FPS seconds."
)
@click.option("--allow-other-processes", is_flag=True, help="Measure although others use the device.")
@click.option("--layers/--no-layers", default=True, show_default=True, help="The separate per-layer pass.")
@click.option(
    "--layer-energy",
    type=click.Choice(("attributed", "replayed", "marginal")),
    default="attributed",
    show_default=True,
    help="By share of time; by running each layer alone; or by running it more often within the network.",
)
@click.option(
    "--layer-budget",
    type=Finite(0.0, min_open=True),
    metavar="SECONDS",
    help="Spend no more on layers that are measured for themselves, the slowest first.",
)
@click.option(
    "--onnx",
    "onnx_source",
    type=FILE,
    metavar="MODEL.onnx",
    help="What a built engine was built from, for layers measured for themselves.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the random inputs."
)
@click.option("--wait-s", type=Finite(0.0), default=0.0, help="Wait for a device that is in use.")
@click.option("--trust", is_flag=True, help="Open an engine whose bytes are not the ones that were built.")
@click.option("--top", type=click.IntRange(0), default=12, show_default=True, help="Modules shown; 0 = all.")
@click.option("-o", "output", type=click.Path(path_type=Path, allow_dash=True), metavar="RESULT.json")
@common
def command(
    file: Path,
    batches: tuple[int, ...],
    precision: str | None,
    images: Path | None,
    calibrator: str,
    engine: str | None,
    device: str | None,
    provider: str | None,
    threads: int | None,
    inputs: tuple[str, ...],
    factory: str | None,
    tensorrt: "TensorRtOptions | None",
    no_cache: bool,
    dynamic: bool,
    rebuilds: int,
    transfers: bool,
    regime: "Regime | None",
    sensor: str,
    watts: float,
    calibration: Path | None,
    windows: int,
    window_s: float | None,
    edge_error: float,
    warm_up_s: float,
    fps: float | None,
    allow_other_processes: bool,
    layers: bool,
    layer_energy: "LayerEnergy",
    layer_budget: float | None,
    onnx_source: Path | None,
    seed: int,
    wait_s: float,
    trust: bool,
    top: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure what a frame costs, whole and per layer.

    FILE is a checkpoint, an ONNX model or a built engine.
    """
    from perframe.engines.artifact import sidecar_of
    from perframe.engines.prepare import built_batches, device_of, engines_for
    from perframe.errors import OutOfMemoryError
    from perframe.files import writable_target
    from perframe.profiler.checks import require_valid
    from perframe.profiler.plan import MeasurementPlan
    from perframe.profiler.sensors.calibrated import calibrated
    from perframe.profiler.sensors.registry import sensor_from
    from perframe.profiler.session import profile as measure
    from perframe.report.progress import progress_bar, schedule_line

    to_stdout = as_json or output == Path(STDOUT)
    target = None if output == Path(STDOUT) else output
    # Everything that can be refused is refused before the first second is spent.
    plan = MeasurementPlan(
        batches=batches or built_batches(file),
        windows=windows,
        window_s=window_s,
        edge_error=edge_error,
        warm_up_s=warm_up_s,
        layer_s=1.0 if layers else 0.0,
        seed=seed,
        fps=fps,
        allow_other_processes=allow_other_processes,
        transfers=transfers,
        layer_energy=layer_energy,
        layer_budget_s=layer_budget,
    )
    if target is not None:
        writable_target(target, inputs=(file, sidecar_of(file), Path(sensor.partition(":")[2])))
    where = device_of(file, engine, device)
    source = calibrated(sensor_from(sensor, watts_per_core=watts, device=where), calibration)
    finished = Finished(target, top, to_stdout)
    with (
        finished,
        progress_bar() as progress,
        engines_for(
            file,
            engine=engine,
            device=device,
            provider=provider,
            threads=threads,
            input_shapes=shapes_from(inputs),
            factory=factory,
            precision=precision_from(precision, images, calibrator),
            batches=plan.batches,
            regime=regime,
            tensorrt=tensorrt,
            dynamic=dynamic,
            rebuilds=rebuilds,
            cache=not no_cache,
            trust=trust,
            progress=progress,
        ) as engines,
    ):
        if sensor == "auto":
            source = calibrated(
                sensor_from(sensor, watts_per_core=watts, device=engines.first.device), calibration
            )
        result = measure(
            engines.by_batch,
            plan,
            source,
            source=onnx_source or engines.source,
            keep=finished.keep,
            scheduled=lambda schedule: (
                None if to_stdout or is_quiet() else click.echo(schedule_line(schedule))
            ),
            progress=progress,
            wait_s=wait_s,
        )
        require_valid(result)
        for failed in result.failed:
            raise OutOfMemoryError(f"Batch {failed.batch}: {failed.message}", failed.hint)
