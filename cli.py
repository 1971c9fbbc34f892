"""The command line: arguments -> one typed request -> one call -> what is shown -> exit code.

Every command is a file of its own in `perframe.commands`, named in the table below, and imports what it needs when it
runs, so that `perframe --help` loads neither torch, onnx nor onnxruntime.
"""

import errno
import importlib
import io
import keyword
import signal
import sys
import traceback

import click

import perframe
from perframe.commands.settings import defaults_for, name_variables, origin_of
from perframe.commands.verbosity import usual_verbosity, with_verbosity
from perframe.errors import PerframeError

# In the order of the work.
_COMMANDS = (
    "new",
    "inspect",
    "export",
    "build",
    "profile",
    "import",
    "trace",
    "sweep",
    "choose",
    "findings",
    "predict",
    "gate",
    "report",
    "plot",
    "doctor",
    "config",
    "schema",
    "completion",
)


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


@usual_verbosity()
def run(arguments: list[str]) -> int:
    """Run one command; return its exit code. Errors go to stderr, in two lines."""
    debug = "--debug" in arguments
    try:
        ended = command.main(arguments, prog_name="perframe", standalone_mode=False)
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "perframe"
        message = error.format_message()
        if isinstance(error, click.BadParameter) and (origin := origin_of(error)) is not None:
            message = f"{message.rstrip('.')}. It is set by {origin}."
        return _fail(message, f"See {path} --help.", 2, debug)
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
            f"{error.strerror or error}: {error.filename or 'the output'}.", _remedy(error), 6, debug
        )
    except Exception as error:
        traceback.print_exc()
        return _fail(f"A bug in perframe: {error!r}.", "Report it with the traceback above.", 1, False)
    # A command that ends with a verdict returns its code.
    return ended if isinstance(ended, int) else 0


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "Make room on the disk, or write elsewhere."
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR:
            return "Something else has that name: give another."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "Change its mode or owner, or write elsewhere."
    return "Check the path, and that its disk works and has room."


def _fail(message: str, hint: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if sys.stderr is not None:
        print(f"error: {message}\nhint: {hint}", file=sys.stderr)  # noqa: T201
    return code


class _Commands(click.Group):
    """The commands by name, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # A file whose name is a word of Python's could not be imported elsewhere.
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        found: click.Command = importlib.import_module(f"perframe.commands.{name}").command
        name_variables(found, (cmd_name,))
        return found


def _show_versions(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
    if not given:
        return
    from perframe.engines.installed import driver_version, installed_versions

    versions = {"perframe": perframe.__version__, **installed_versions()}
    if (driver := driver_version()) is not None:
        versions["nvidia-driver"] = driver
    click.echo("\n".join(f"{name} {version}" for name, version in versions.items()))
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_versions,
    help="Show the versions of perframe and of the runtimes, and exit.",
)
@with_verbosity
@click.pass_context
def command(ctx: click.Context) -> None:
    """What does a frame cost?

    Takes a CNN from checkpoint to ONNX to an engine, and measures latency, power and energy per frame, whole and
    per layer, on the device in front of you.
    """
    if ctx.invoked_subcommand is not None:
        ctx.default_map = defaults_for(ctx, [ctx.invoked_subcommand])
