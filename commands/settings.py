"""What options are where the command line leaves them out: `PERFRAME_*` variables, then perframe.toml, then defaults.

Variables and keys are called after the long form of the option: `perframe profile --window-s` is
`PERFRAME_PROFILE_WINDOW_S`, and `window-s` in the table `[profile]`. The values themselves are handed to click, as
`envvar` and `default_map`.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from perframe.errors import UsageError

FILE_NAME = "perframe.toml"

_LOG = logging.getLogger("perframe.settings")
# They let a file run code, which only who types the command may decide.
_BY_HAND_ONLY = frozenset({"factory", "trust"})
# Variables that are no options: where devices are locked, and what the tests are told.
_NO_OPTIONS = frozenset({"PERFRAME_LOCK_DIR", "PERFRAME_DATA", "PERFRAME_REQUIRE"})


def name_variables(command: click.Command, path: tuple[str, ...]) -> None:
    """Tell click which variable each option of a command is read from.

    Args:
        command: The command.
        path: Its name, after those of the groups it is in.
    """
    for key, option in options_of(command).items():
        option.envvar = _variable(path, key)
    for name, inner in inner_commands(command).items():
        name_variables(inner, (*path, name))


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command that may be set outside the command line, by their keys."""
    found = {
        _key(each): each for each in command.params if isinstance(each, click.Option) and each.expose_value
    }
    return {key: option for key, option in found.items() if key not in _BY_HAND_ONLY}


def inner_commands(command: click.Command) -> Mapping[str, click.Command]:
    """Return the commands of a group by name; none of a command that is no group."""
    return command.commands if isinstance(command, click.Group) else {}


def settings_file() -> Path | None:
    """Return the perframe.toml that holds here, relative to the working folder; `None` if there is none.

    It lies in the working folder or, within a repository, in a folder above it, up to the repository's root. Outside
    repositories no folder above counts: anybody may write into some of them.
    """
    here = Path.cwd()
    above = (here, *here.parents)
    root = next((folder for folder in above if (folder / ".git").exists()), here)
    for folder in above[: above.index(root) + 1]:
        if (file := folder / FILE_NAME).is_file():
            return Path(os.path.relpath(file))
    return None


def defaults_for(ctx: click.Context, names: Iterable[str]) -> dict[str, Any]:
    """Return what perframe.toml sets for some commands, as click's `default_map`.

    Args:
        ctx: Of the group of all commands.
        names: The commands.

    Raises:
        UsageError: A table, key or variable is not known, or a value is of the wrong kind.
        InputError: The file is not TOML.
    """
    group = ctx.command
    assert isinstance(group, click.Group), "commands are in the group of all"
    commands = {name: command for name in names if (command := group.get_command(ctx, name)) is not None}
    for name, command in commands.items():
        _refuse_unknown_variables(command, name)
    if (file := settings_file()) is None:
        return {}
    from perframe.analysis.toml_file import read_toml

    document = read_toml(file, "configuration")
    _LOG.info("%s is read", file)
    _refuse_unknown(file, "", document, group.list_commands(ctx))
    return {
        name: _defaults(command, document[name], (name,), file)
        for name, command in commands.items()
        if name in document
    }


def unknown_variables(ctx: click.Context) -> dict[str, str]:
    """Return the `PERFRAME_*` variables that are set and that nothing reads, each with what may have been meant.

    Args:
        ctx: Of the group of all commands.
    """
    group = ctx.command
    assert isinstance(group, click.Group), "commands are in the group of all"
    known = [
        variable
        for name in group.list_commands(ctx)
        if (command := group.get_command(ctx, name)) is not None
        for variable in _variables(command, (name,))
    ]
    return {
        variable: _nearest(variable, known, "perframe --help")
        for variable in sorted(os.environ)
        if variable.startswith(_variable((), "")) and variable not in _NO_OPTIONS.union(known)
    }


def origin_of(error: click.BadParameter) -> str | None:
    """Return where a value that click refuses was set; `None` for the command line."""
    ctx, parameter = error.ctx, error.param
    if ctx is None or ctx.parent is None or parameter is None or parameter.name is None:
        return None
    source = ctx.get_parameter_source(parameter.name)
    if source is ParameterSource.ENVIRONMENT:
        return str(parameter.envvar)
    in_file = (ctx.parent.default_map or {}).get(ctx.info_name or "", {})
    # A command may have a file of options of its own, given on the command line.
    return FILE_NAME if source is ParameterSource.DEFAULT_MAP and parameter.name in in_file else None


def checked_value(option: click.Option, value: Any, where: str, file: Path) -> Any:
    """Return a value of a TOML file as click's `default_map` takes it. Its range is left to click.

    Args:
        option: What it is for.
        value: As TOML has it.
        where: The key, for messages.
        file: The file, for messages.

    Raises:
        UsageError: It is of another kind, which click would convert in silence.
    """
    expected, kinds = _kind(option)
    values = value if option.multiple and isinstance(value, list) else [value]
    for each in values:
        # To Python, true is a number.
        if not isinstance(each, kinds) or isinstance(each, bool) != (bool in kinds):
            raise UsageError(
                f"{file}: {where}: expected {expected}, found {each!r}.",
                'Write it as TOML: 4, 0.5, true, "text".',
            )
    return values if option.multiple else value


def _key(option: click.Option) -> str:
    long = [name.removeprefix("--") for name in option.opts if name.startswith("--")]
    return long[0] if long else str(option.name)


def _variable(path: tuple[str, ...], key: str) -> str:
    return "_".join(("perframe", *path, key)).replace("-", "_").upper()


def _defaults(command: click.Command, table: Any, path: tuple[str, ...], file: Path) -> dict[str, Any]:
    where = f"[{'.'.join(path)}]"
    if not isinstance(table, dict):
        raise UsageError(
            f"{file}: {path[-1]}: expected a table, found {table!r}.", f"Write {where}, and keys below it."
        )
    options, inner = options_of(command), inner_commands(command)
    _refuse_unknown(file, where, table, [*options, *inner])
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in options:
            found[str(options[key].name)] = _value(options[key], value, f"{where} {key}", file)
        else:
            found[key] = _defaults(inner[key], value, (*path, key), file)
    return found


def _refuse_unknown(file: Path, where: str, found: Iterable[str], known: list[str]) -> None:
    for key in found:
        if key in _BY_HAND_ONLY:
            raise UsageError(
                f"{file}: {where} {key}: it runs code, and is taken from the command line only.",
                "Leave it out.",
            )
        if key not in known:
            shown = f"{where} {key}" if where else f"[{key}]"
            raise UsageError(f"{file}: {shown} is not known.", _nearest(key, known, "perframe --help"))


def _refuse_unknown_variables(command: click.Command, name: str) -> None:
    known = _variables(command, (name,))
    for variable in os.environ:
        if variable.startswith(_variable((name,), "")) and variable not in known:
            raise UsageError(
                f"{variable} is no variable of perframe {name}.",
                _nearest(variable, known, f"perframe {name} --help"),
            )


def _variables(command: click.Command, path: tuple[str, ...]) -> list[str]:
    found = [_variable(path, key) for key in options_of(command)]
    return found + [
        variable
        for name, inner in inner_commands(command).items()
        for variable in _variables(inner, (*path, name))
    ]


def _nearest(word: str, known: list[str], otherwise: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, 1, cutoff=0.7)
    return f"Did you mean {near[0]}?" if near else f"See {otherwise}."


def _value(option: click.Option, value: Any, where: str, file: Path) -> Any:
    given = checked_value(option, value, where, file)
    if not isinstance(option.type, click.Path):
        return given
    # A file is looked for beside the one that names it, wherever the command is run.
    paths = given if option.multiple else [given]
    found = [each if each == "-" else os.path.normpath(file.parent / each) for each in paths]
    return found if option.multiple else found[0]


def _kind(option: click.Option) -> tuple[str, tuple[type, ...]]:
    if option.is_flag:
        return "true or false", (bool,)
    if isinstance(option.type, click.types.IntParamType):
        return "a whole number", (int,)
    if isinstance(option.type, click.types.FloatParamType):
        return "a number", (int, float)
    if isinstance(option.type, click.types.StringParamType | click.Path | click.Choice):
        return "text", (str,)
    return "text or a list", (str, list)
