"""All commands. A command's module is imported when that command is run, not before."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from io import StringIO
from typing import Any

import click

from kproxy import errors
from kproxy.cli.output import guarded_output
from kproxy.report.width import fitting, wrapped

COMMANDS = {
    "up": "Start a lab that stays: a cluster of network namespaces.",
    "down": "End a lab and remove all of it.",
    "ls": "List labs.",
    "status": "Show one lab: nodes, proxies, pods, Services, API, memory.",
    "ui": "Show a lab in a browser: live, with the way of each packet.",
    "shell": "Open a shell on a host of a lab, or run a command there.",
    "logs": "Print the log of a lab.",
    "doctor": "Find what is wrong with Services and nodes, with evidence and a remedy.",
    "clean": "Remove what dead labs have left.",
    "kubeconfig": "Print the kubeconfig of a lab.",
    "apply": "Create objects of a lab, or change them.",
    "get": "Show objects of a lab.",
    "delete": "Delete objects of a lab.",
    "scale": "Set how many pods of a Deployment run.",
    "exec": "Run a command in a pod of a lab.",
    "trace": "Show the way of one probe through a lab, hop by hop.",
    "completion": "Print the completion of this command line for a shell.",
    "render": "Print all rules that a node's proxy would load, from manifests.",
    "rules": "Show the rules of one Service in the order in which packets meet them.",
    "run": "Run as the service proxy of a node (or of a namespace).",
    "demo": "Build a small cluster of namespaces and show which Services can be reached.",
    "matrix": "Measure who reaches a Service from where, and why not.",
    "scenario": "Run documented cases of who reaches a Service, with their remedies.",
    "compare": "Show modes side by side: who gets which answer from your Services.",
    "explain": "Tell what the proxy of one node does with a packet, and why.",
    "upgrade-check": "Show what another version or mode of kube-proxy changes for your Services.",
    "bench": "Measure syncs and connections.",
}
# The module of a command; else it is that of its name. The command is the function of its name
# there. In both, `_` stands for `-`.
_MODULES = {
    **dict.fromkeys(("down", "ls", "status", "shell", "logs", "clean"), "labs"),
    **dict.fromkeys(("apply", "get", "delete", "scale"), "verbs"),
}

_LAB_OPTIONS = ("--lab", "--name")  # what names a lab in some commands
_MOST_PROBLEMS = 100  # that are printed: a wrong file may have one for each line


class _Formatter(click.HelpFormatter):
    """Also breaks the lines that click leaves as they are: examples, and lists of our own."""

    def getvalue(self) -> str:
        width = self.width + 2  # click leaves a margin of two columns
        lines = super().getvalue().split("\n")
        return "\n".join(line for each in lines for line in wrapped(each, width))


click.Context.formatter_class = _Formatter  # of all commands


class _LazyGroup(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = import_module(f"kproxy.cli.{_MODULES.get(cmd_name, name)}")
        command: click.Command = getattr(module, name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from signal import SIGINT  # takes a millisecond

            click.echo(err=True)
            sys.exit(128 + SIGINT)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"max_content_width": 80})
@click.version_option(package_name="kproxy", prog_name="kproxy")
def cli() -> None:
    """kube-proxy that you can hold in your hand.

    Real service rules inside network namespaces, proven with real packets.

    \b
    Examples:
      kproxy demo
      kproxy run --manifests examples/ --netns my-node
      kproxy run --help
    """


def run(arguments: Sequence[str] | None) -> None:
    """Run a command line and exit, see `kproxy.cli.main`."""
    try:
        with guarded_output():
            status = cli.main(args=arguments, prog_name="kproxy", standalone_mode=False)
    except click.ClickException as error:
        shown = StringIO()
        _naming_a_lab(error).show(shown)
        click.echo(fitting(shown.getvalue().rstrip(), sys.stderr), err=True)
        sys.exit(error.exit_code)
    except errors.BadInput as error:
        count = len(error.problems)
        first = error.problems[:_MOST_PROBLEMS]
        lines = [f"{count} problem{'s' * (count != 1)}, nothing was changed:", *first]
        if more := count - len(first):
            lines.append(f"... and {more} more")
        _complain("\n  ".join(lines), error.remedy)
        sys.exit(2)
    except errors.KproxyError as error:
        _complain("\n  ".join(str(error).splitlines()), error.remedy)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _naming_a_lab(error: click.ClickException) -> click.ClickException:
    """Let the error tell how this command names a lab, if it was named as by another command."""
    if not isinstance(error, click.NoSuchOption) or error.option_name not in _LAB_OPTIONS:
        return error
    for parameter in error.ctx.command.params if error.ctx else ():
        found = [each for each in parameter.opts if each in _LAB_OPTIONS]
        if isinstance(parameter, click.Argument):
            if parameter.required or parameter.name != "name":
                continue
            told = "the name of the lab needs no option here"
        elif found:
            told = f"here it is {found[0]}"
        else:
            continue
        return click.UsageError(f"No such option '{error.option_name}': {told}.", error.ctx)
    return error


def _complain(message: str, remedy: str) -> None:
    remedies = [f"  try: {remedy}"] if remedy else []
    click.echo(fitting("\n".join([f"kproxy: {message}", *remedies]), sys.stderr), err=True)
