"""`kproxy upgrade-check`: what another version or mode of kube-proxy changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from kproxy.cli.interrupts import removing_the_lab
from kproxy.cli.mode_choice import ModeChoice
from kproxy.cli.page_file import html_option, write_page
from kproxy.cli.progress import say
from kproxy.errors import BadInput
from kproxy.upgrade.side import Side, configured, parse_side
from kproxy.versions import NEWEST_RELEASED, Version


class SideName(click.ParamType[Side]):
    """A version, or VERSION:MODE."""

    name = "side"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Side:
        if isinstance(value, Side):
            return value
        try:
            return parse_side(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_MANY = 50  # Services: more take a second or longer
_VERSIONS = "|".join(map(str, Version))


@click.command()
@click.option(
    "--from",
    "before",
    type=SideName(),
    metavar=f"[{_VERSIONS}][:MODE]",
    default=str(Version.V1_36),
    show_default=True,
    help="The kube-proxy there is.",
)
@click.option(
    "--to",
    "after",
    type=SideName(),
    metavar=f"[{_VERSIONS}][:MODE]",
    default=str(NEWEST_RELEASED),
    show_default=True,
    help="The kube-proxy there shall be.",
)
@click.option(
    "--manifests",
    metavar="PATH",
    multiple=True,
    required=True,
    help="Services, EndpointSlices, Nodes ... as YAML or JSON: a file or a folder. May be "
    "repeated. As from: kubectl get -A services,endpointslices,nodes -o yaml",
)
@click.option("--config", metavar="FILE", default="", help="The KubeProxyConfiguration in use.")
@click.option(
    "--mode",
    "modes",
    type=ModeChoice(),
    multiple=True,
    help="The proxy mode of both; may be repeated, for a report each. Default: that of --config.",
)
@click.option("--packets", is_flag=True, help="Ask in a lab as well. Needs root.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@html_option
def upgrade_check(
    before: Side,
    after: Side,
    manifests: tuple[str, ...],
    config: str,
    modes: tuple[str, ...],
    packets: bool,
    as_json: bool,
    html: str | None,
) -> None:
    """Show what another version or mode of kube-proxy changes for your Services.

    Compared are the configuration, feature gates, behaviours, the rules of each Service, and what
    becomes of packets: clients on nodes, in pods and outside ask every address of every Service.
    Their answers are predicted; with --packets a lab is built for each side, with a node and a pod
    for each of yours, and the same questions are asked there.

    No root is needed without --packets, and nothing is changed.

    \b
    Examples:
      kproxy upgrade-check --manifests cluster.yaml
      kproxy upgrade-check --from 1.36 --to 1.37 --config kube-proxy.yaml \\
          --manifests cluster.yaml --mode nftables
      kproxy upgrade-check --from 1.36:ipvs --to 1.37:nftables --manifests cluster.yaml
      kproxy upgrade-check --manifests cluster.yaml --json
      sudo kproxy upgrade-check --manifests cluster.yaml --packets --html report.html

    \b
    Exit status:
      0  compared, whatever differs
      1  one of both would refuse the configuration, or a packet was not
         treated as predicted
      2  bad input
    """
    if modes and (before.mode or after.mode):
        raise BadInput(["--mode: name the mode there, or as VERSION:MODE in --from and --to"])
    if config and not Path(config).is_file():
        raise BadInput([f"--config: there is no file {config}"])
    if html and len(modes) > 1:
        raise BadInput(["--html: only with one --mode"])
    pairs = [(replace(before, mode=mode), replace(after, mode=mode)) for mode in modes] or [
        (before, after)
    ]
    # Imports the lab, which `--help` does without.
    from kproxy.api.types import Service
    from kproxy.sources.files import Manifests
    from kproxy.upgrade.check import check
    from kproxy.upgrade.packets import Measured, Request, measure_both
    from kproxy.upgrade.page import page_of
    from kproxy.upgrade.report import disagreements, print_report, values

    decoded = Manifests(manifests).read()
    if decoded.problems:
        raise BadInput(list(decoded.problems))
    for notice in decoded.notices:
        say(notice)
    services = sum(isinstance(each, Service) for each in decoded.objects)
    if services > _MANY:
        say(f"comparing {services} Services ...")
    documents = []
    fine = True
    for one, other in pairs:
        sides = [configured(side, config or None) for side in (one, other)]
        report, model = check(decoded.objects, sides[0], sides[1], config)
        measured: list[Measured] = []
        if packets and model:
            requests = [
                Request(
                    side=f"{each.side.version}:{each.mode.name}",
                    config=config,
                    manifests=tuple(manifests),
                )
                for each in sides
            ]
            with removing_the_lab():
                measured = measure_both(requests, say)
        fine = fine and not report.refused
        fine = fine and not (measured and disagreements(report, measured))
        if as_json:
            documents.append(values(report, measured))
        else:
            print_report(report, measured)
        if html:
            write_page(html, page_of(report, measured))
    if as_json:
        click.echo(json.dumps(documents if len(documents) > 1 else documents[0], indent=2))
    if not fine:
        raise click.exceptions.Exit(1)
