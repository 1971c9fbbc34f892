"""What mkdocs adds to the pages: the reference, written from the code when the site is built.

The text of each page comes from a function of its own, which needs no mkdocs.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perframe.cli import command as perframe

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parents[1]
_NEEDS = re.compile(r"^( *)<!-- needs: (.+) -->$", re.MULTILINE)

# The modules whose docstrings hold the quality codes, and what they judge.
_QUALITY = {
    "perframe.profiler.checks": "Of a measurement",
    "perframe.profiler.import_checks": "Of an imported profile",
    "perframe.profiler.trace_checks": "Of a recorded power trace",
}
# The functions behind the commands, in the order of the work, and what is done to their results.
_FUNCTIONS = {
    "From a checkpoint to an engine": (
        "perframe.engines.convert.new_checkpoint",
        "perframe.engines.convert.inspect_file",
        "perframe.engines.convert.convert",
        "perframe.engines.prepare.build_engine",
        "perframe.engines.prepare.engine_for",
        "perframe.engines.prepare.engines_for",
    ),
    "Measuring": (
        "perframe.profiler.plan.MeasurementPlan",
        "perframe.profiler.sensors.registry.sensor_from",
        "perframe.profiler.session.profile",
        "perframe.profiler.checks.require_valid",
        "perframe.profiler.import_trtexec.import_trtexec",
    ),
    "Results": (
        "perframe.profiler.result.read_profile",
        "perframe.profiler.result.write_profile",
        "perframe.profiler.result.Profile",
        "perframe.analysis.results.read_results",
    ),
    "Answers": (
        "perframe.analysis.gate.read_runs",
        "perframe.analysis.gate.judge",
        "perframe.analysis.sweep.sweep",
        "perframe.analysis.candidates.candidates",
        "perframe.analysis.choose.choose",
        "perframe.analysis.findings.find",
        "perframe.analysis.predict.predict",
    ),
    "Errors": ("perframe.errors",),
}


def on_files(files: "Files", *, config: "MkDocsConfig") -> "Files":
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, write in PAGES.items():
        files.append(File.generated(config, path, content=write()))
    return files


def on_page_markdown(markdown: str, *, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Show what a block of commands needs, which in the source is a comment for the tests."""
    return _NEEDS.sub(r"\1*Needs \2.*\n", markdown)


def commands_page() -> str:
    """Return every command with its arguments and options."""
    return "\n\n".join(_commands_page()) + "\n"


def exit_codes_page() -> str:
    """Return the exit codes, from the docstring that the error classes stand below."""
    return "# Exit codes\n\n" + _docstring("perframe.errors")


def quality_codes_page() -> str:
    """Return the quality codes, from the docstrings of the modules that raise them."""
    head = (
        "# Quality codes\n\nA result carries what to know before believing it, in `quality` of each batch size: a "
        "code, a severity, a message and a remedy. One that is *invalid* makes `perframe` end with 8; the figures "
        "are kept and marked."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{_docstring(name)}" for name, title in _QUALITY.items())])


def files_page() -> str:
    """Return the fields of every file that perframe writes, from their JSON Schemas."""
    return "\n\n".join(_files_page()) + "\n"


def python_page() -> str:
    """Return the examples, and the directives by which mkdocstrings writes the Python API."""
    return "\n\n".join(_python_page()) + "\n"


def changelog_page() -> str:
    """Return the changelog as it is."""
    return (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/exit-codes.md": exit_codes_page,
    "reference/quality-codes.md": quality_codes_page,
    "reference/files.md": files_page,
    "reference/python.md": python_page,
    "changelog.md": changelog_page,
}
"""The pages that are written from the code, by their place in the site."""


def commands(ctx: click.Context | None = None) -> Iterator[click.Context]:
    """Yield a context of every command; of a group, those of its commands."""
    ctx = ctx or click.Context(perframe, info_name="perframe", **perframe.context_settings)
    if not isinstance(ctx.command, click.Group):
        yield ctx
        return
    for name in ctx.command.list_commands(ctx):
        inner = ctx.command.get_command(ctx, name)
        assert inner is not None, "a group knows the commands that it lists"
        yield from commands(click.Context(inner, parent=ctx, info_name=name))


def _commands_page() -> Iterator[str]:
    found = list(commands())
    shared = set.intersection(*({_names(each) for each in _options(ctx)} for ctx in found))
    yield "# Commands"
    yield (
        "An option that is not given is taken from a variable that is called after command and option, such as "
        "`PERFRAME_PROFILE_WINDOW_S` for `perframe profile --window-s`, else from the table of the command in "
        "`perframe.toml`, under the option's long name. What runs code, `--factory` and `--trust`, is taken from the "
        "command line only. `perframe config` shows what is set, and by what."
    )
    yield "## Every command"
    yield _table(
        ("option", "meaning"),
        ((each, _help(option)) for option in _options(found[0]) if (each := _names(option)) in shared),
    )
    for ctx in found:
        yield f"## {ctx.command_path}"
        yield f"```text\n{ctx.command_path} {' '.join(ctx.command.collect_usage_pieces(ctx))}\n```"
        yield _prose(ctx.command.help or "")
        if ctx.command.epilog:
            # It stands as it is written.
            yield f"```text\n{inspect.cleandoc(ctx.command.epilog.replace(chr(8), ''))}\n```"
        rows = [
            (_names(each), _values(each), _help(each)) for each in _options(ctx) if _names(each) not in shared
        ]
        if rows:
            yield _table(("option", "values", "meaning"), rows)


def _options(ctx: click.Context) -> list[click.Option]:
    return [
        each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option) and not each.hidden
    ]


def _names(option: click.Option) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _values(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{each}`" for each in option.type.choices)
    return f"`{option.metavar or option.type.name.removesuffix(' range').upper()}`"


def _help(option: click.Option) -> str:
    default = option.to_info_dict().get("default")
    if not option.show_default or default is None:
        return option.help or ""
    shown = ("on" if default else "off") if isinstance(default, bool) else f"`{default}`"
    return f"{option.help or ''} Default: {shown}.".strip()


def _prose(help_text: str) -> str:
    """Return the help of a command; the parts that click does not wrap become blocks."""
    parts = inspect.cleandoc(help_text).split("\n\n")
    lines = (each.removeprefix("\b\n") for each in parts)
    return "\n\n".join(
        f"```text\n{text}\n```" if raw.startswith("\b") else text
        for raw, text in zip(parts, lines, strict=True)
    )


def _python_page() -> Iterator[str]:
    yield "# Python API"
    yield (
        "The functions behind the commands. They raise the errors at the end of this page, print nothing, and import "
        "what is heavy when they need it. Quantities carry their SI unit in the name."
    )
    yield "## Examples"
    for path in sorted((_ROOT / "examples").glob("*.py")):
        yield f"### {path.name}"
        yield f"```python\n{path.read_text(encoding='utf-8')}```"
    for title, names in _FUNCTIONS.items():
        yield f"## {title}"
        yield from (f"::: {name}" for name in names)


def _files_page() -> Iterator[str]:
    from perframe.commands.schema import NAMES
    from perframe.report.schemas import schema

    yield "# Files"
    yield (
        "Every file is one JSON document whose `schema` names its kind and version; older versions stay readable. "
        "`perframe schema NAME` prints the JSON Schema (draft 2020-12) that these tables are made from. Numbers are "
        "in SI units, which the names end with; what is not known is `null`, never 0."
    )
    for name in NAMES:
        document = schema(name)
        yield f"## {document['title']}"
        yield _fields(document, name)
        for inner, definition in document.get("$defs", {}).items():
            yield f"### {inner} {{: #{_anchor(name, inner)} }}"
            yield _fields(definition, name)


def _fields(definition: Mapping[str, Any], name: str) -> str:
    parts = [definition["description"]] if "description" in definition else []
    rows = [
        (f"`{key}`", _type(each, name), each.get("description", ""))
        for key, each in definition.get("properties", {}).items()
    ]
    if rows:
        parts.append(_table(("field", "type", "meaning"), rows))
    return "\n\n".join(parts)


def _type(definition: Mapping[str, Any], name: str) -> str:
    if "$ref" in definition:
        inner = definition["$ref"].rpartition("/")[2]
        return f"[{inner}](#{_anchor(name, inner)})"
    if "const" in definition:
        return f"`{definition['const']}`"
    if "enum" in definition:
        return ", ".join(f"`{each}`" for each in definition["enum"])
    for key in ("anyOf", "oneOf"):
        if key in definition:
            return " or ".join(_type(each, name) for each in definition[key])
    kinds = definition.get("type", "any")
    if "prefixItems" in definition:
        return f"list ({', '.join(_type(each, name) for each in definition['prefixItems'])})"
    if kinds == "array":
        return f"list of {_type(definition['items'], name)}"
    if kinds == "object" and isinstance(definition.get("additionalProperties"), Mapping):
        return f"map to {_type(definition['additionalProperties'], name)}"
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _anchor(name: str, definition: str) -> str:
    return f"{name}-{definition}".lower()


def _docstring(module: str) -> str:
    text = inspect.getdoc(import_module(module))
    assert text, "these modules say what they hold"
    return text + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
