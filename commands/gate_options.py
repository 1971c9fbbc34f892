"""The options of perframe gate."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from perframe.commands.options import FILE, Finite, FiniteFloat, complete_sensor, with_engine, with_network

F = TypeVar("F", bound=Callable[..., Any])

METRICS = ("epf", "epf-above-idle", "latency-p50", "latency-p99", "paced-epf")
"""As `perframe.analysis.metrics` has them, which --help shall not load."""

_MEASURING: tuple[Callable[[Any], Any], ...] = (
    with_engine,
    with_network,
    click.option(
        "--sensor",
        default="auto",
        show_default=True,
        shell_complete=complete_sensor,
        help="See perframe profile.",
    ),
    click.option("--watts", type=Finite(0.0, 10_000.0, min_open=True), default=10.0, show_default=True),
    click.option("--calibration", type=FILE, help="See perframe profile."),
    click.option(
        "--max-pairs",
        type=click.IntRange(6, 1000),
        default=20,
        show_default=True,
        help="Pairs of windows per batch size; 6 decide at the earliest.",
    ),
    click.option(
        "--budget-s",
        type=Finite(0.0, min_open=True),
        default=300.0,
        show_default=True,
        help="Seconds of measuring; what is not decided by then stays inconclusive.",
    ),
    click.option(
        "--window-s", type=FiniteFloat(), help="Least seconds per window [follows from the sensor]."
    ),
    click.option("--warm-up-s", type=FiniteFloat(), default=10.0, show_default=True, help="Longest warm-up."),
    click.option("--allow-other-processes", is_flag=True, help="Measure although others use the device."),
    click.option("--layers/--no-layers", default=True, show_default=True, help="Name what rose."),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of inputs and order."
    ),
    click.option("--wait-s", type=Finite(0.0), default=0.0, help="Wait for a device that is in use."),
    click.option("--trust", is_flag=True, help="Open an engine whose bytes are not those built."),
)


def with_maxima(function: F) -> F:
    """Give a command an absolute limit per metric."""
    for name in reversed(METRICS):
        example = "5ms" if name.startswith("latency") else "300mJ"
        function = click.option(f"--max-{name}", metavar=example, help=f"Largest {name} allowed.")(function)
    return function


def maxima_from(options: dict[str, Any]) -> dict[str, str | None]:
    """Return what was given of these, by metric."""
    return {name: options[f"max_{name.replace('-', '_')}"] for name in METRICS}


def with_measuring(function: F) -> F:
    """Give a command the options of `perframe profile` that make sense for two engines measured in turn."""
    for option in reversed(_MEASURING):
        function = option(function)
    return function


_OF_MEASURING = frozenset(each.name for each in click.command()(with_measuring(lambda: None)).params)
_OF_STORED = frozenset({"baselines", "run_spread", *(f"max_{name.replace('-', '_')}" for name in METRICS)})


def refuse_what_has_no_effect(ctx: click.Context, *, measuring: bool) -> None:
    """Refuse options of the other way to gate: whoever gives them expects something of them.

    Raises:
        UsageError: There is one.
    """
    for parameter in ctx.command.params:
        # perframe.toml and variables may set up both ways.
        if ctx.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE:
            continue
        if measuring and parameter.name in _OF_STORED:
            raise click.UsageError(f"{parameter.opts[-1]} is for stored profiles, not for --against.")
        if not measuring and parameter.name in _OF_MEASURING:
            raise click.UsageError(f"{parameter.opts[-1]} is for --against, which measures.")
