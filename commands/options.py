"""What several commands share: options, and how their values are read."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from perframe.commands.verbosity import with_verbosity

if TYPE_CHECKING:
    from perframe.engines.lower import PrecisionSpec

F = TypeVar("F", bound=Callable[..., Any])

STDOUT = "-"
FILE = click.Path(path_type=Path)


def complete_engine(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return what a shell may complete the name of an engine to."""
    from perframe.engines.registry import backend_names

    return [name for name in backend_names() if name.startswith(incomplete)]


def complete_sensor(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return what a shell may complete the name of a sensor to."""
    from perframe.profiler.sensors.registry import sensor_names

    return [name for name in ("auto", "none", *sensor_names()) if name.startswith(incomplete)]


def common(function: F) -> F:
    """Give a command the options that every command has."""
    as_json = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document instead of tables."
    )
    return as_json(with_verbosity(function))


def with_network(function: F) -> F:
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


def with_precision(function: F) -> F:
    """Give a command the options that say in which precision a network is exported."""
    for option in (
        click.option(
            "--calibrator",
            type=click.Choice(("entropy", "minmax")),
            default="entropy",
            show_default=True,
            help="How int8's ranges follow from the images.",
        ),
        click.option(
            "--images", type=FILE, help="What int8 is calibrated on: a folder of pictures, .npy or .npz."
        ),
        click.option("--precision", type=click.Choice(("fp32", "fp16", "bf16", "int8")), help="[fp32]"),
    ):
        function = option(function)
    return function


def with_engine(function: F) -> F:
    """Give a command the options that say how an engine is built."""
    for option in (
        click.option(
            "--threads", type=click.IntRange(1, 1024), help="Threads per operator [the runtime's choice]."
        ),
        click.option("--provider", help="ONNX Runtime provider: cpu, cuda, tensorrt [fits the device]."),
        click.option("--device", help="cpu or cuda:N [the engine's own]."),
        click.option("--engine", shell_complete=complete_engine, help="Runtime to build for [onnxruntime]."),
    ):
        function = option(function)
    return function


def precision_from(name: str | None, images: Path | None, calibrator: str) -> "PrecisionSpec | None":
    """Return what the options of `with_precision` say; `None` where they leave the precision as it is.

    Raises:
        UsageError: They contradict each other.
    """
    from perframe.engines.lower import PrecisionSpec

    return None if name is None and images is None else PrecisionSpec(name or "fp32", images, calibrator)


class FiniteFloat(click.types.FloatParamType):
    """Any number but "nan" and the infinities."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType.convert`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Finite(click.FloatRange, FiniteFloat):
    """A finite number within bounds, which the help shows. "nan" lies in every range."""


def shapes_from(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]] | tuple[int, ...] | None:
    """Return what the values of --input say.

    Raises:
        UsageError: One of them is no shape.
    """
    from perframe.export.onnx_model import parse_input_shapes

    return parse_input_shapes(texts)


def one_shape_from(texts: tuple[str, ...]) -> tuple[int, ...] | None:
    """Return the one shape that the values of --input say.

    Raises:
        UsageError: One of them is no shape, or there are several.
    """
    from perframe.engines.convert import only_shape

    return only_shape(shapes_from(texts))


def print_json(document: object) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(document, indent=1))
