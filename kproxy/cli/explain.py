"""`kproxy explain`: what the proxy of one node does with a packet."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from kproxy.backend.configuration import checked_configuration
from kproxy.cli.emulate import emulate_option
from kproxy.cli.mode_choice import ModeChoice
from kproxy.cli.progress import say
from kproxy.errors import BadInput
from kproxy.report.width import width_of
from kproxy.versions import Version


@click.command()
@click.option("--config", metavar="FILE", default="", help="The node's KubeProxyConfiguration.")
@click.option(
    "--manifests",
    metavar="PATH",
    multiple=True,
    help="Services, EndpointSlices, Nodes, Pods ... as YAML or JSON: a file or a folder. May be "
    "repeated.",
)
@click.option("--kubeconfig", metavar="FILE", default="", help="Read the objects from its API.")
@click.option("--lab", metavar="NAME", default="", help="Read the objects from this lab.")
@click.option(
    "--node",
    metavar="NAME",
    default="",
    help="The node whose proxy is asked. Default: hostnameOverride, or the only Node.",
)
@click.option(
    "--node-ip",
    "node_ips",
    metavar="IP",
    multiple=True,
    help="An address of the node besides those of its Node object. May be repeated.",
)
@click.option(
    "--from",
    "sender",
    metavar="WHO",
    required=True,
    help="An IP address, a Pod (NAMESPACE/NAME), a Node, `node` for the node itself, `pod` for a "
    "pod on it, or `external`.",
)
@click.option(
    "--to",
    "place",
    metavar="IP:PORT/PROTO",
    required=True,
    help="The address that is asked, or svc/NAME.NAMESPACE:PORT for a cluster IP. A port may be "
    "given by its name.",
)
@click.option(
    "--mode",
    type=ModeChoice(),
    default=None,
    help="The proxy mode. Default: that of --config.",
)
@emulate_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def explain(
    config: str,
    manifests: tuple[str, ...],
    kubeconfig: str,
    lab: str,
    node: str,
    node_ips: tuple[str, ...],
    sender: str,
    place: str,
    mode: str | None,
    emulate: Version | None,
    as_json: bool,
) -> None:
    """Tell what the proxy of one node does with a packet, and why.

    The packet is the first one of a new connection. It is forwarded to one of
    the endpoints that are named, rejected (the client is told at once),
    dropped, or passed: then the proxy has nothing to do with it.

    Nothing is sent or changed, and no root is needed: the answer is predicted
    from the objects and the configuration.

    \b
    Examples:
      kproxy explain --manifests cluster.yaml --node node-a \\
          --from shop/web-1 --to 10.96.0.10:80/TCP
      kproxy explain --config kube-proxy.yaml --manifests cluster.yaml \\
          --node node-a --from external --to 192.168.10.11:30080/TCP --json
      kproxy explain --lab demo --node node-a --from node \\
          --to svc/kube-dns.kube-system:dns

    \b
    JSON: {"verdict": "forward", "endpoints": ["10.244.1.5:8080"],
           "masquerade": false, "reason": ["...", "..."]}

    \b
    Exit status:
      0  answered, whatever the verdict
      1  the API or the lab does not answer
      2  bad input
    """
    from kproxy.cli.objects import in_lab, read_api, read_manifests
    from kproxy.garbage import uncollected
    from kproxy.verdict.places import find_place
    from kproxy.verdict.question import NodeProxy
    from kproxy.verdict.report import lines, values

    _check_ips(node_ips)
    given: dict[str, Any] = {"mode": mode, "emulate": emulate}
    overrides = {name: value for name, value in given.items() if value}
    _check_source(manifests, kubeconfig, lab)
    if lab:
        _, kubeconfig, configs = in_lab(lab, node)
        config = config or (configs[0] if len(configs) == 1 else "")
    with uncollected():
        configuration = checked_configuration(config or None, overrides)
        for notice in configuration.read.notices:
            say(notice.at(config))
        objects = read_manifests(manifests) if manifests else read_api(kubeconfig)
        asked = find_place(place, objects, sender)
        answer = NodeProxy(objects, configuration, node, node_ips).answer(sender, asked)
    if as_json:
        click.echo(json.dumps(values(answer.verdict)))
        return
    for line in lines(answer, width_of(sys.stdout)):
        click.echo(line)


def _check_ips(texts: Sequence[str]) -> None:
    from kproxy.api.addresses import parse_ip

    wrong = [f"--node-ip: {text!r} is not an IP address" for text in texts if not parse_ip(text)]
    if wrong:
        raise BadInput(wrong)


def _check_source(manifests: tuple[str, ...], kubeconfig: str, lab: str) -> None:
    sources = {"--manifests": manifests, "--kubeconfig": kubeconfig, "--lab": lab}
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        named = " and ".join(given) or "no objects"
        raise BadInput([f"{named}: give one of {', '.join(sources)}"])
