"""`kproxy kubeconfig`: how kubectl and client libraries reach a lab."""

from __future__ import annotations

from pathlib import Path

import click

from kproxy.cli.completing import complete_lab
from kproxy.cli.labs import living_lab
from kproxy.errors import BadInput


@click.command()
@click.argument("name", required=False, shell_complete=complete_lab)
@click.option("--write", metavar="FILE", help="Write it to this file, for its owner only.")
@click.option("--path", is_flag=True, help="Print the name of the lab's own file instead.")
@click.option("--inside", is_flag=True, help="The one for the lab's hosts and proxies.")
def kubeconfig(name: str | None, write: str | None, path: bool, inside: bool) -> None:
    """Print the kubeconfig of a lab. It holds a token: everything there may be done with it.

    \b
    Examples:
      kproxy kubeconfig > lab.kubeconfig
      kproxy kubeconfig shop --write ~/.kube/shop
      export KUBECONFIG=$(kproxy kubeconfig --path)
    """
    from kproxy.resident.places import write_private
    from kproxy.resident.records import INSIDE, KUBECONFIG

    if write and path:
        raise BadInput(["--path: nothing is written; give only one of --path and --write"])
    place = living_lab(name)
    file = place / (INSIDE if inside else KUBECONFIG)
    if not file.exists():
        raise BadInput([f"lab {place.name} serves no API"])
    if path:
        click.echo(str(file))
    elif write:
        write_private(Path(write), file.read_text(encoding="utf-8"))
    else:
        click.echo(file.read_text(encoding="utf-8"), nl=False)
