"""The command line: arguments -> one typed request -> one call -> what is shown -> exit code.

Every command imports what it needs when it runs, so that `perframe --help` loads neither torch, onnx nor
onnxruntime.
"""

import io
import json
import math
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import perframe
from perframe.errors import PerframeError

if TYPE_CHECKING:
    from perframe.engines.base import Regime
    from perframe.profiler.result import Profile

F = TypeVar("F", bound=Callable[..., Any])

_FAMILIES = ("mobilenet-v1", "resnext50")
_STDOUT = "-"


def main() -> None:
    """Run the command line and exit with the code of `perframe.errors`."""
    for name in ("SIGTERM", "SIGHUP"):
        # They end the work as Ctrl-C does: what is half-written goes, what was finished stays.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or pipe that cannot show a character gets a substitute, not a traceback.
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code. Errors go to stderr, in two lines."""
    debug = "--debug" in arguments
    try:
        command.main(arguments, prog_name="perframe", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "perframe"
        return _fail(error.format_message(), f"See {path} --help.", 2, debug)
    except (click.Abort, KeyboardInterrupt):
        return _fail(
            "Interrupted.", "What was finished is kept; run the command again for the rest.", 130, debug
        )
    except PerframeError as error:
        return _fail(error.message, error.hint, error.exit_code, debug)
    except MemoryError:
        return _fail(
            "Not enough memory.", "Close other programs, or take a smaller batch or model.", 6, debug
        )
    except RecursionError as error:
        return _fail(f"Nested too deeply: {error}.", "The file may be damaged or hostile.", 5, debug)
    except BrokenPipeError:
        # The reader of stdout has gone, as `perframe ... | head` does; Python would complain at exit.
        sys.stdout = None
        return 0
    except OSError as error:
        return _fail(
            f"{error.strerror or error}: {error.filename or 'the output'}.", "Is the disk full?", 6, debug
        )
    except Exception as error:
        traceback.print_exc()
        return _fail(f"A bug in perframe: {error!r}.", "Report it with the traceback above.", 1, False)
    return 0


def _fail(message: str, hint: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if sys.stderr is not None:
        print(f"error: {message}\nhint: {hint}", file=sys.stderr)  # noqa: T201
    return code


def _common(function: F) -> F:
    """Give a command the options that every command has."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables."),
    ):
        function = option(function)
    return function


def _with_network(function: F) -> F:
    """Give a command the options that say what network a file holds."""
    for option in (
        click.option(
            "--factory",
            metavar="PACKAGE.MODULE:CALLABLE",
            help="Builds the nn.Module of a checkpoint whose architecture is not recognised. Runs your code.",
        ),
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="[NAME:]CxHxW",
            help="Input size without the batch, such as 3x224x224.",
        ),
    ):
        function = option(function)
    return function


def _with_engine(function: F) -> F:
    """Give a command the options that say how an engine is built."""
    for option in (
        click.option(
            "--threads", type=click.IntRange(1, 1024), help="Threads per operator [the runtime's choice]."
        ),
        click.option("--provider", help="ONNX Runtime provider: cpu, cuda, tensorrt [fits the device]."),
        click.option("--device", help="cpu or cuda:N [cpu]."),
        click.option("--engine", help="Runtime to build for [onnxruntime]."),
    ):
        function = option(function)
    return function


class _Finite(click.FloatRange):
    """A float that is a number: "nan" lies in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


_FILE = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(perframe.__version__, prog_name="perframe")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def command() -> None:
    """What does a frame cost?

    Takes a CNN from checkpoint to ONNX to an engine, and measures latency, power and energy per frame, whole and
    per layer, on the device in front of you.
    """


@command.command()
@click.argument("family", type=click.Choice(_FAMILIES))
@click.option(
    "--group-size", type=click.IntRange(1), metavar="G", help="E2GC: the same group size everywhere."
)
@click.option(
    "--groups", type=click.IntRange(1), metavar="g", help="FgGC: the same number of groups everywhere."
)
@click.option(
    "--width", type=_Finite(), default=1.0, show_default=True, help="Multiplies every channel count."
)
@click.option("--classes", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the weights."
)
@click.option("--input", "inputs", multiple=True, metavar="CxHxW", help="Input size [3x224x224].")
@click.option("-o", "output", type=_FILE, required=True, metavar="FILE.pth.tar")
@_common
def new(
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
        input_shape=_one_shape(inputs),
    )
    if as_json:
        _print_json({"path": str(output), "name": architecture.name})
    else:
        click.echo(f"{output}: {architecture.name}, untrained, seed {seed}")


@command.command()
@click.argument("file", type=_FILE)
@_with_network
@click.option("--all", "every", is_flag=True, help="Also layers without MACs.")
@_common
def inspect(file: Path, inputs: tuple[str, ...], factory: str | None, every: bool, as_json: bool) -> None:
    """Show the architecture of a checkpoint or ONNX FILE and what each layer costs."""
    from dataclasses import asdict

    from perframe.engines.convert import inspect_file
    from perframe.report.progress import progress_bar

    with progress_bar() as progress:
        found = inspect_file(file, input_shapes=_shapes(inputs), factory=factory, progress=progress)
    if as_json:
        layers = [
            {**asdict(cost), "activations": cost.activations, "intensity": cost.intensity}
            for cost in found.costs
        ]
        _print_json({"model": asdict(found.model), "notes": list(found.notes), "layers": layers})
    else:
        from perframe.report.tables import inspection, show

        show(inspection(found.model, found.costs, found.notes, every=every))


@command.command()
@click.argument("checkpoint", type=_FILE)
@click.option("-o", "output", type=_FILE, required=True, metavar="MODEL.onnx")
@_with_network
@click.option("--parity/--no-parity", default=True, show_default=True, help="Compare with the framework.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the inputs compared on.",
)
@_common
def export(
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
            input_shape=_one_shape(inputs),
            factory=factory,
            parity=parity,
            seed=seed,
            progress=progress,
        )
    if as_json:
        _print_json(
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


@command.command()
@click.argument("model", type=_FILE)
@click.option("-o", "output", type=_FILE, required=True, metavar="ARTIFACT")
@_with_engine
@click.option("--input", "inputs", multiple=True, metavar="[NAME:]CxHxW", help="For symbolic dimensions.")
@_common
def build(
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
        input_shapes=_shapes(inputs),
    )
    if as_json:
        click.echo(sidecar_of(output).read_text(encoding="utf-8").rstrip())
    else:
        click.echo(
            f"{output}: {artifact.model.name} for {artifact.backend} {artifact.version} on {artifact.device}, "
            f"{len(artifact.layers)} steps, built in {artifact.build_s:.2f} s"
        )


@command.command()
@click.argument("file", type=_FILE)
@click.option(
    "-b", "--batch", "batches", type=int, multiple=True, metavar="N", help="Batch size; repeatable [1]."
)
@_with_engine
@_with_network
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
    type=_Finite(0.0, 10_000.0, min_open=True),
    default=10.0,
    show_default=True,
    help="Watts of one busy core, for the modelled sensor.",
)
@click.option("--calibration", type=_FILE, help="Gain and offset of this sensor, see perframe trace.")
@click.option(
    "--windows",
    type=click.IntRange(2, 10_000),
    default=10,
    show_default=True,
    help="Measured windows per batch size.",
)
@click.option("--window-s", type=_Finite(), help="Least seconds per window [follows from the sensor].")
@click.option(
    "--edge-error",
    type=_Finite(),
    default=0.005,
    show_default=True,
    help="Share of a window's energy that may be missed at its ends; sets the windows' length.",
)
@click.option("--warm-up-s", type=_Finite(), default=10.0, show_default=True, help="Longest warm-up.")
@click.option("--fps", type=_Finite(), help="Also run at a camera's pace: one inference every 1/FPS seconds.")
@click.option("--allow-other-processes", is_flag=True, help="Measure although others use the device.")
@click.option("--layers/--no-layers", default=True, show_default=True, help="The separate per-layer pass.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the random inputs."
)
@click.option("--wait-s", type=_Finite(0.0), default=0.0, help="Wait for a device that is in use.")
@click.option("--trust", is_flag=True, help="Open an engine whose bytes are not the ones that were built.")
@click.option("--top", type=click.IntRange(0), default=12, show_default=True, help="Modules shown; 0 = all.")
@click.option("-o", "output", type=click.Path(path_type=Path, allow_dash=True), metavar="RESULT.json")
@_common
def profile(
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

    to_stdout = as_json or output == Path(_STDOUT)
    target = None if output == Path(_STDOUT) else output
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
            input_shapes=_shapes(inputs),
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


@command.command()
@click.argument("file", type=_FILE)
@click.option("--time", metavar="COL", help="Time column.")
@click.option("--power", metavar="COL", help="Power column, or rail of a tegrastats log.")
@click.option("--gpu", metavar="ID", help="Which GPU, where a log holds several: index or UUID.")
@click.option("--from", "from_s", type=_Finite(), metavar="T", help="Begin of the span, on the file's clock.")
@click.option("--to", "to_s", type=_Finite(), metavar="T", help="End of the span.")
@click.option(
    "--load-period", type=_Finite(0.0, min_open=True), metavar="S", help="Period of a switching load."
)
@click.option("--meter", type=_FILE, metavar="METER.csv", help="An external meter's trace of the same run.")
@click.option(
    "--calibrate", type=_FILE, metavar="OUT.json", help="Write the gain and offset found with --meter."
)
@click.option("--calibration", type=_FILE, metavar="FILE.json", help="Apply gain and offset.")
@_common
def trace(
    file: Path,
    time: str | None,
    power: str | None,
    gpu: str | None,
    from_s: float | None,
    to_s: float | None,
    load_period: float | None,
    meter: Path | None,
    calibrate: Path | None,
    calibration: Path | None,
    as_json: bool,
) -> None:
    """Say what a recorded power trace tells about its sensor, with an honest mean.

    FILE is a CSV of times and watts (plain or .gz), an nvidia-smi CSV log, or a tegrastats log.
    """
    from perframe.profiler.trace import report_to_json, trace_command

    report, found = trace_command(
        file,
        time=time,
        power=power,
        gpu=gpu,
        from_s=from_s,
        to_s=to_s,
        load_period_s=load_period,
        meter=meter,
        calibrate=calibrate,
        calibration=calibration,
    )
    if as_json:
        click.echo(report_to_json(report))
    else:
        from perframe.report.trace import show_trace

        show_trace(report, found)


@command.command()
@click.option("--device", default="cpu", show_default=True, help="The device whose sensors are looked at.")
@click.option(
    "--characterise",
    "sensor",
    metavar="SENSOR",
    help="Switch a load on and off to find this sensor's update period, averaging window and delay, and keep them.",
)
@_common
def doctor(device: str, sensor: str | None, as_json: bool) -> None:
    """Say what this machine can build, run and measure, and what would mend the rest."""
    from dataclasses import asdict

    from perframe.engines.prepare import check_device
    from perframe.profiler.doctor import characterise_sensor, examine

    check_device(device)
    if sensor is not None:
        found, path = characterise_sensor(sensor, device)
        if as_json:
            _print_json({**asdict(found), "kept": str(path)})
        else:
            from perframe.report.tables import character_table, show

            show(character_table(sensor, found))
        return
    diagnosis = examine(device)
    if as_json:
        _print_json(asdict(diagnosis))
    else:
        from perframe.report.tables import diagnosis_table, show

        show(diagnosis_table(diagnosis))


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


def _shapes(texts: tuple[str, ...]) -> Any:
    from perframe.export.onnx_model import parse_input_shapes

    return parse_input_shapes(texts)


def _one_shape(texts: tuple[str, ...]) -> tuple[int, ...] | None:
    from perframe.engines.convert import only_shape

    return only_shape(_shapes(texts))


def _print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=1))
