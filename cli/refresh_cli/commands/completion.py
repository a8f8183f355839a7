"""``completion``: completes commands, options and names in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from refresh_cli.app import RefreshCommand
from refresh_cli.errors import CliError

VARIABLE = "_REFRESH_COMPLETE"
"""Click completes if this variable is set."""
SHELLS = ("bash", "zsh", "fish")


def register(cli: click.Group) -> None:
    """Add the command of this module."""
    cli.add_command(completion)


@click.command("completion", cls=RefreshCommand)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion code for a shell.

    It completes commands, options and names of pipelines.

    \b
    bash: add  eval "$(refresh completion bash)"        to ~/.bashrc
    zsh:  add  eval "$(refresh completion zsh)"         to ~/.zshrc
    fish: run  refresh completion fish > ~/.config/fish/completions/refresh.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CliError("Completion is not available", shell, f"Choose one of {', '.join(SHELLS)}.")
    click.echo(kind(ctx.find_root().command, {}, "refresh", VARIABLE).source())
