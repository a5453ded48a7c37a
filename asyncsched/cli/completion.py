"""``completion SHELL``: the script that completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from asyncsched.cli.faults import OK

_WHERE = {
    "bash": 'eval "$(asyncsched completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(asyncsched completion zsh)"    # in ~/.zshrc',
    "fish": "asyncsched completion fish | source    # in ~/.config/fish/config.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script; the line to put into the shell's own file stands on stderr."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "asyncsched", "_ASYNCSCHED_COMPLETE").source())
    click.echo(_WHERE[shell], err=True)
    return OK
