"""perframe profile: what a frame costs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perframe.commands.options import FILE, STDOUT, Finite, common, shapes_from, with_engine, with_network

if TYPE_CHECKING:
    from perframe.engines.base import Regime
    from perframe.profiler.result import Profile


@click.command(name="profile")
@click.argument("file", type=FILE)
@click.option(
    "-b", "--batch", "batches", type=int, multiple=True, metavar="N", help="Batch size; repeatable [1]."
)
@with_engine
@with_network
@click.option(
    "--regime",
    type=click.Choice(("inference", "training")),
    help="training runs forward and backward, with --engine torch [inference].",
)
@click.option(
    "--sensor",
    default="auto",
    show_default=True,
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
@click.option("--window-s", type=Finite(), help="Least seconds per window [follows from the sensor].")
@click.option(
    "--edge-error",
    type=Finite(),
    default=0.005,
    show_default=True,
    help="Share of a window's energy that may be missed at its ends; sets the windows' length.",
)
@click.option("--warm-up-s", type=Finite(), default=10.0, show_default=True, help="Longest warm-up.")
@click.option("--fps", type=Finite(), help="Also run at a camera's pace: one inference every 1/FPS seconds.")
@click.option("--allow-other-processes", is_flag=True, help="Measure although others use the device.")
@click.option("--layers/--no-layers", default=True, show_default=True, help="The separate per-layer pass.")
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
    engine: str | None,
    device: str | None,
    provider: str | None,
    threads: int | None,
    inputs: tuple[str, ...],
    factory: str | None,
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
    from perframe.engines.prepare import device_of, engine_for
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
        batches=batches or (1,),
        windows=windows,
        window_s=window_s,
        edge_error=edge_error,
        warm_up_s=warm_up_s,
        layer_s=1.0 if layers else 0.0,
        seed=seed,
        fps=fps,
        allow_other_processes=allow_other_processes,
    )
    if target is not None:
        writable_target(target, inputs=(file, sidecar_of(file), Path(sensor.partition(":")[2])))
    where = device_of(file, engine, device)
    source = calibrated(sensor_from(sensor, watts_per_core=watts, device=where), calibration)
    finished = _Finished(target, top, to_stdout)
    with (
        finished,
        progress_bar() as progress,
        engine_for(
            file,
            engine=engine,
            device=device,
            provider=provider,
            threads=threads,
            input_shapes=shapes_from(inputs),
            factory=factory,
            batches=plan.batches,
            regime=regime,
            trust=trust,
            progress=progress,
        ) as artifact,
    ):
        if sensor == "auto":
            source = calibrated(
                sensor_from(sensor, watts_per_core=watts, device=artifact.device), calibration
            )
        result = measure(
            artifact,
            plan,
            source,
            keep=finished.keep,
            scheduled=lambda schedule: None if to_stdout else click.echo(schedule_line(schedule)),
            progress=progress,
            wait_s=wait_s,
        )
        require_valid(result)


class _Finished:
    """Keeps the profile so far on disk, and shows it at the end, however the end comes."""

    def __init__(self, target: Path | None, top: int, to_stdout: bool) -> None:
        self._target, self._top, self._to_stdout = target, top, to_stdout
        self._profile: Profile | None = None

    def keep(self, profile: "Profile") -> None:
        from perframe.profiler.result import write_profile

        self._profile = profile
        if self._target is not None:
            write_profile(profile, self._target)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._profile is None:
            return
        if self._to_stdout:
            from perframe.profiler.result import profile_to_json

            click.echo(profile_to_json(self._profile))
        else:
            from perframe.report.tables import profile_tables, show

            show(profile_tables(self._profile, self._top))
            if self._target is not None:
                click.echo(f"saved: {self._target}")
