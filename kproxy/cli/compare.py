"""`kproxy compare`: modes side by side for given objects."""

from __future__ import annotations

import json

import click

from kproxy.cli.emulate import emulate_option
from kproxy.cli.mode_choice import ModeChoice
from kproxy.cli.page_file import html_option, write_page
from kproxy.cli.progress import say
from kproxy.errors import BadInput
from kproxy.versions import Version


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--mode",
    "modes",
    type=ModeChoice(),
    multiple=True,
    help="A mode to compare; to be repeated. Default: all that can be predicted.",
)
@click.option("--config", metavar="FILE", default="", help="A KubeProxyConfiguration for all.")
@emulate_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@html_option
def compare(
    files: tuple[str, ...],
    modes: tuple[str, ...],
    config: str,
    emulate: Version | None,
    as_json: bool,
    html: str | None,
) -> None:
    """Show what clients get from each address of your Services, mode by mode.

    FILEs are manifests (or folders) with Services, EndpointSlices and Nodes.
    Clients are a pod and a process on a node with an endpoint and on one
    without, an endpoint, and clients outside. Where modes differ, the answers
    are bold and numbered, and the reasons are below.

    Answers are predicted: nothing is sent or changed, and no root is needed.
    Packets are sent by `kproxy upgrade-check --packets`.

    \b
    Examples:
      kproxy compare cluster.yaml
      kproxy compare examples/cluster.yaml --mode iptables --mode nftables
      kproxy compare cluster.yaml --mode iptables --mode ipvs --emulate 1.36
      kproxy compare cluster.yaml --json
      kproxy compare cluster.yaml --html modes.html

    \b
    Exit status:
      0  compared, whatever differs
      2  bad input
    """
    from kproxy.backend.configuration import read_configuration
    from kproxy.cli.objects import read_manifests
    from kproxy.upgrade.side import Side, configured
    from kproxy.upgrade.side_by_side import side_by_side, values
    from kproxy.upgrade.side_by_side_report import page_of, print_comparison

    chosen = tuple(dict.fromkeys(modes)) or _predictable()
    if len(chosen) < 2:
        raise BadInput(["--mode: give at least two modes to compare"])
    objects = read_manifests(files)
    version = emulate or read_configuration(config or None, {"mode": chosen[0]}).config.emulate
    sides = [configured(Side(version=version, mode=mode), config or None) for mode in chosen]
    problems = [
        problem.at(config) for problem in dict.fromkeys(p for s in sides for p in s.read.problems)
    ]
    if problems:
        raise BadInput(problems)
    for notice in dict.fromkeys(each for side in sides for each in side.read.notices):
        say(notice.at(config))
    found = side_by_side(objects, sides)
    if not found.rows:
        raise BadInput([*found.left_out] or ["there is no Service in FILE..."])
    if as_json:
        click.echo(json.dumps(values(found), indent=2))
    else:
        print_comparison(found)
    if html:
        write_page(html, page_of(found))


def _predictable() -> tuple[str, ...]:
    from kproxy.backend import sound_modes

    return tuple(mode.name for mode in sound_modes() if mode.rules is not None)
