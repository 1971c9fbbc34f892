"""The options of TensorRT's builds, which several commands share."""

import functools
import re
from typing import Any

import click

from perframe.commands.options import F

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def _size(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Read a number of bytes: 1073741824, 1024M or 1G, in powers of 1024."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,18})([KMGT]?)", value.upper(), re.ASCII)
    size = int(found[1]) << _UNITS[found[2]] if found else 0
    if not 0 < size < 2**63:
        raise click.BadParameter(f"{value} is not a size such as 512M or 2G.", param=parameter)
    return size


def with_tensorrt(function: F) -> F:
    """Give a command TensorRT's options; they come to it as one argument, `tensorrt`, None where none is given."""

    @functools.wraps(function)
    def collected(
        *args: Any,
        workspace: int | None,
        optimization_level: int | None,
        tf32: bool,
        sparsity: bool,
        version_compatible: bool,
        hardware_compatible: bool,
        dla_core: int | None,
        targets: tuple[str, ...],
        **others: Any,
    ) -> Any:
        from perframe.engines.base import TensorRtOptions

        options = TensorRtOptions(
            workspace_bytes=workspace,
            optimization_level=optimization_level,
            tf32=tf32,
            sparsity=sparsity,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            dla_core=dla_core,
            targets=tuple(dict.fromkeys(targets)),
        )
        return function(*args, tensorrt=None if options == TensorRtOptions() else options, **others)

    command: Any = collected
    for option in (
        click.option("--no-cache", is_flag=True, help="TensorRT: build anew, and keep nothing."),
        click.option(
            "--target",
            "targets",
            multiple=True,
            metavar="CC",
            help="TensorRT-RTX: compute capability to compile for, such as 8.6; repeatable [all it can].",
        ),
        click.option(
            "--dla-core", type=click.IntRange(0), metavar="N", help="TensorRT: run on an Orin's DLA."
        ),
        click.option("--hardware-compatible", is_flag=True, help="TensorRT: for all GPUs from Ampere on."),
        click.option("--version-compatible", is_flag=True, help="TensorRT: for later versions too."),
        click.option("--sparsity", is_flag=True, help="TensorRT: use 2:4 sparsity of the weights."),
        click.option("--tf32", is_flag=True, help="TensorRT: let fp32 be multiplied as TF32."),
        click.option(
            "--optimization-level",
            type=click.IntRange(0, 5),
            help="TensorRT: how long to search, 0 to 5 [TensorRT's].",
        ),
        click.option(
            "--workspace",
            callback=_size,
            metavar="SIZE",
            help="TensorRT: most memory of a kernel, such as 2G [all].",
        ),
    ):
        command = option(command)
    decorated: F = command
    return decorated
