"""perframe sweep: many profiles, resumable."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perframe.commands.options import (
    FILE,
    Finite,
    FiniteFloat,
    common,
    complete_sensor,
    one_shape_from,
    print_json,
    with_engine,
)
from perframe.commands.settings import checked_value

if TYPE_CHECKING:
    from perframe.analysis.sweep_plan import SweepPlan
    from perframe.engines.base import Regime
    from perframe.profiler.sensors.base import Sensor


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them."""

    name = "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """See `click.ParamType.convert`."""
        # A TOML file holds a list of numbers.
        numbers = value.split(",") if isinstance(value, str) else value
        try:
            if any(type(each) not in (str, int) for each in numbers):
                raise TypeError
            return tuple(int(each) for each in numbers)
        except (TypeError, ValueError):
            self.fail(f"{value!r}: expected whole numbers such as 1,2,4.", param, ctx)


def _planned(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Let a TOML file say what the command line leaves out."""
    if value is not None:
        from perframe.analysis.toml_file import read_toml

        known = {
            name.lstrip("-"): each
            for each in ctx.command.params
            if isinstance(each, click.Option)
            for name in each.opts
        }
        given = read_toml(value, "sweep plan")
        if unknown := sorted(set(given) - set(known)):
            raise click.BadParameter(f"{value}: {', '.join(unknown)} is no option of a sweep.", ctx, param)
        found = {known[key].name: checked_value(known[key], each, key, value) for key, each in given.items()}
        ctx.default_map = {**(ctx.default_map or {}), **found}
    return value


@click.command(name="sweep")
@click.option(
    "--plan",
    type=FILE,
    is_eager=True,
    callback=_planned,
    expose_value=False,
    help="TOML file of these options.",
)
@click.option(
    "--family",
    "families",
    type=click.Choice(("mobilenet-v1", "resnext50")),
    multiple=True,
    help="Repeatable.",
)
@click.option("--group-sizes", type=_Numbers(), default=(), help="E2GC: every constant group size G.")
@click.option("--groups", type=_Numbers(), default=(), help="FgGC: every constant number of groups g.")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FILE,
    multiple=True,
    help="Trained weights, instead of the untrained network of their architecture; repeatable.",
)
@click.option(
    "-b", "--batch", "batches", type=int, multiple=True, metavar="N", help="Batch size; repeatable [1]."
)
@click.option("--precision", "precisions", multiple=True, help="fp32, fp16, bf16 or int8; repeatable [fp32].")
@click.option("--images", type=FILE, help="What int8 is calibrated on, see perframe export.")
@with_engine
@click.option(
    "--regime",
    type=click.Choice(("inference", "training")),
    default="inference",
    show_default=True,
    help="training is the published protocol: forward and backward, 100 times over all windows, and the two passes"
    " timed apart; with --engine torch.",
)
@click.option(
    "--runs", type=int, default=2, show_default=True, help="Blocks, each of every network in random order."
)
@click.option("--windows", type=int, default=5, show_default=True, help="Windows per batch size and run.")
@click.option("--window-s", type=FiniteFloat(), help="Least seconds per window [follows from the sensor].")
@click.option("--warm-up-s", type=FiniteFloat(), default=10.0, show_default=True, help="Longest warm-up.")
@click.option("--fps", type=FiniteFloat(), help="Also at a camera's pace.")
@click.option("--layers/--no-layers", default=True, show_default=True, help="The separate per-layer pass.")
@click.option(
    "--sensor",
    default="auto",
    show_default=True,
    shell_complete=complete_sensor,
    help="See perframe profile.",
)
@click.option("--watts", type=Finite(0.0, 10_000.0, min_open=True), default=10.0, show_default=True)
@click.option("--calibration", type=FILE, help="See perframe profile.")
@click.option("--input", "inputs", multiple=True, metavar="CxHxW", help="Input size [3x224x224].")
@click.option("--width", type=FiniteFloat(), default=1.0, show_default=True, help="Of untrained networks.")
@click.option("--classes", type=int, default=1000, show_default=True, help="Of untrained networks.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, inputs and order.")
@click.option("--allow-other-processes", is_flag=True, help="Measure although others use the device.")
@click.option(
    "--wait-s",
    type=Finite(0.0),
    default=600.0,
    show_default=True,
    help="How long to wait for a device that others measure on.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be measured and how long that takes.")
@click.option("-o", "output", type=FILE, required=True, metavar="RESULTS/", help="Folder of the results.")
@common
def command(
    families: tuple[str, ...],
    group_sizes: tuple[int, ...],
    groups: tuple[int, ...],
    checkpoints: tuple[Path, ...],
    batches: tuple[int, ...],
    precisions: tuple[str, ...],
    images: Path | None,
    engine: str | None,
    device: str | None,
    provider: str | None,
    threads: int | None,
    regime: "Regime",
    runs: int,
    windows: int,
    window_s: float | None,
    warm_up_s: float,
    fps: float | None,
    layers: bool,
    sensor: str,
    watts: float,
    calibration: Path | None,
    inputs: tuple[str, ...],
    width: float,
    classes: int,
    seed: int,
    allow_other_processes: bool,
    wait_s: float,
    dry_run: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Measure many networks on one device, in random blocks, each result saved at once.

    Ended in whatever way, the same command goes on where it stopped.
    """
    from perframe.analysis.sweep import check_sweep, sweep
    from perframe.analysis.sweep_plan import SweepPlan, grid, in_precisions, with_checkpoints
    from perframe.engines.lower import PrecisionSpec
    from perframe.engines.registry import backend_named
    from perframe.profiler.plan import MeasurementPlan
    from perframe.profiler.sensors.calibrated import calibrated
    from perframe.profiler.sensors.registry import sensor_from
    from perframe.report.progress import progress_bar

    if (group_sizes or groups) and not families:
        raise click.UsageError("--group-sizes and --groups need a --family.")
    networks = with_checkpoints(
        grid(families, group_sizes, groups, width=width, classes=classes), checkpoints
    )
    wanted = tuple(
        PrecisionSpec(name, images if name == "int8" else None) for name in precisions or ("fp32",)
    )
    engine = engine or ("torch" if regime == "training" else "onnxruntime")
    plan = SweepPlan(
        configurations=in_precisions(networks, wanted),
        measurement=MeasurementPlan(
            batches=batches or (1,),
            windows=windows,
            window_s=window_s,
            warm_up_s=warm_up_s,
            layer_s=1.0 if layers else 0.0,
            seed=seed,
            fps=fps,
            allow_other_processes=allow_other_processes,
        ),
        runs=runs,
        engine=engine,
        device=device or backend_named(engine).default_device,
        provider=provider,
        threads=threads,
        regime=regime,
        sensor=sensor,
        watts=watts,
        calibration=calibration,
        input_shape=one_shape_from(inputs) or (3, 224, 224),
        width=width,
        classes=classes,
        seed=seed,
    )
    check_sweep(plan)
    source = calibrated(sensor_from(sensor, watts_per_core=watts, device=plan.device), calibration)
    if dry_run:
        _show_plan(plan, source, as_json)
        return
    with progress_bar() as progress:
        done = sweep(plan, source, output, progress, wait_s)
    if as_json:
        print_json(
            {
                "measured": done.measured,
                "kept": done.kept,
                "failures": [
                    {"name": each.name, "run": each.run, "error": each.error.message}
                    for each in done.failures
                ],
                "duration_s": done.duration_s,
                **asdict(done.spent),
                "builds_s": done.builds_s,
                "other_s": done.other_s,
                "overhead_s": done.overhead_s,
            }
        )
    else:
        from perframe.report.sweep import sweep_table
        from perframe.report.tables import show

        show(sweep_table(done, output))
    if done.failures:
        raise done.failures[0].error


def _show_plan(plan: "SweepPlan", sensor: "Sensor | None", as_json: bool) -> None:
    from perframe.analysis.sweep import sweep_bounds_s

    least_s, longest_s = sweep_bounds_s(plan, sensor)
    if as_json:
        print_json(
            {
                "networks": [each.name for each in plan.configurations],
                "batches": plan.measurement.batches,
                "runs": plan.runs,
                "least_s": least_s,
                "longest_warm_ups_s": longest_s,
            }
        )
    else:
        from perframe.report.sweep import plan_table
        from perframe.report.tables import show

        show(plan_table(plan, least_s, longest_s))
