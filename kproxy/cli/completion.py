"""`kproxy completion`: what a shell needs to complete kproxy's command line."""

from __future__ import annotations

import sys

import click

from kproxy.report.width import fitting


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
def completion(shell: str) -> None:
    """Print the completion of commands, options and what is in labs, for a shell to read.

    \b
    Examples:
      source <(kproxy completion bash)     # in ~/.bashrc
      source <(kproxy completion zsh)      # in ~/.zshrc
    """
    from click.shell_completion import get_completion_class

    from kproxy.cli.commands import cli

    chosen = get_completion_class(shell)
    if chosen is None:
        raise click.ClickException(fitting(f"no completion for {shell}", sys.stderr))
    click.echo(chosen(cli, {}, "kproxy", "_KPROXY_COMPLETE").source())
