"""perframe completion: the script that makes a shell complete perframe's commands, options and files."""

import click
from click.shell_completion import get_completion_class

from perframe.commands.options import common, print_json

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    name="completion",
    epilog="""\b
bash  perframe completion bash > ~/.local/share/bash-completion/completions/perframe
zsh   perframe completion zsh > "${fpath[1]}/_perframe"
fish  perframe completion fish > ~/.config/fish/completions/perframe.fish""",
)
@click.argument("shell", type=click.Choice(_SHELLS))
@common
@click.pass_context
def command(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that makes SHELL complete commands, options, their values and files."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    script = kind(ctx.find_root().command, {}, "perframe", "_PERFRAME_COMPLETE").source().strip()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
