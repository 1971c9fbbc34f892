"""perframe config: what options are set to, and by what."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click
from click.core import ParameterSource

from perframe.commands.options import common, print_json
from perframe.commands.settings import (
    defaults_for,
    inner_commands,
    options_of,
    settings_file,
    unknown_variables,
)
from perframe.errors import one_line


@dataclass(frozen=True)
class _Setting:
    """An option as a command would take it.

    Attributes:
        command: The command, such as "import trtexec".
        option: The option's key.
        value: What it is set to; `None` where nothing sets it and it has no default.
        source: `variable`, `file` or `default`.
        where: The variable or the file; `None` for a default.
    """

    command: str
    option: str
    value: Any
    source: str
    where: str | None


def _commands(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """What a shell may complete COMMAND to."""
    every = ctx.parent
    assert every is not None and isinstance(every.command, click.Group), "commands are in the group of all"
    return [name for name in every.command.list_commands(every) if name.startswith(incomplete)]


@click.command(name="config")
@click.argument("name", required=False, metavar="[COMMAND]", shell_complete=_commands)
@common
@click.pass_context
def command(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Show which options PERFRAME_* variables and perframe.toml set; with COMMAND, all of its options.

    Flags stand above variables, and these above perframe.toml, which is looked for in the working folder and in those
    above it, up to the repository's root. Variables that nothing reads are named.
    """
    every = ctx.parent
    assert every is not None and isinstance(every.command, click.Group), "commands are in the group of all"
    names = every.command.list_commands(every)
    if name is not None and name not in names:
        raise click.UsageError(f"No such command {name!r}.", ctx)
    every.default_map = defaults_for(every, names)
    found = [
        setting
        for each in ([name] if name else names)
        if (inner := every.command.get_command(every, each)) is not None
        for setting in _settings(click.Context(inner, parent=every, info_name=each), each)
        if name is not None or setting.source != "default"
    ]
    file = settings_file()
    unknown = unknown_variables(every)
    if as_json:
        settings = [asdict(each) for each in found]
        print_json(
            {
                "file": None if file is None else str(file),
                "settings": settings,
                "unknown_variables": list(unknown),
            }
        )
        return
    rows = [
        (
            f"{each.command} --{each.option}",
            "–" if each.value is None else json.dumps(each.value),
            each.where or each.source,
        )
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    click.echo(f"file: {file or 'none'}")
    for row in rows:
        cells = (one_line(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    for variable, meant in unknown.items():
        click.echo(f"{one_line(variable)}: nothing reads this variable. {meant}")


def _settings(ctx: click.Context, path: str) -> Iterator[_Setting]:
    for key, option in options_of(ctx.command).items():
        # What click itself would take if the command were run without flags.
        value, source = option.consume_value(ctx, {})
        if source is ParameterSource.DEFAULT:
            yield _Setting(path, key, _plain(option.to_info_dict().get("default")), "default", None)
            continue
        ctx.set_parameter_source(str(option.name), source)
        value = _plain(option.type_cast_value(ctx, value))
        if source is ParameterSource.ENVIRONMENT:
            yield _Setting(path, key, value, "variable", str(option.envvar))
        else:
            yield _Setting(path, key, value, "file", str(settings_file()))
    for name, inner in inner_commands(ctx.command).items():
        yield from _settings(click.Context(inner, parent=ctx, info_name=name), f"{path} {name}")


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
