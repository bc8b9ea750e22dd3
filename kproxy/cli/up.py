"""`kproxy up`: starts a lab that stays."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from kproxy.backend import DEFAULT_MODE, report_faults
from kproxy.cli import kernel as kernel_choice
from kproxy.cli import object_source
from kproxy.cli.emulate import emulate_option
from kproxy.cli.log import log_to_stderr
from kproxy.cli.mode_choice import ModeChoice
from kproxy.cli.mode_options import mode_options, take
from kproxy.cli.paper import of_lab
from kproxy.errors import BadInput
from kproxy.report.width import fitting
from kproxy.versions import Version

if TYPE_CHECKING:
    from kproxy.resident.orders import Order

_NODES = 3


@click.command()
@click.argument("labfile", required=False)
@click.option("--name", help="The name of the lab. Default: that of LABFILE, or lab.")
@click.option(
    "--mode",
    type=ModeChoice(),
    help=f"The proxy mode. Default: that of --config, or {DEFAULT_MODE}.",
)
@emulate_option
@click.option("--network", metavar="NAME", help="The network between the nodes, such as vxlan.")
@click.option(
    "--nodes",
    type=click.IntRange(1),
    help=f"How many nodes, without LABFILE. Default: {_NODES}.",
)
@click.option(
    "--config",
    metavar="FILE",
    default="",
    help="A KubeProxyConfiguration for all nodes; --mode replaces its mode.",
)
@mode_options
@click.option(
    "--proxy",
    type=click.Choice(["kproxy", "none"]),
    default="kproxy",
    show_default=True,
    help="none: no proxy runs; start yours in `kproxy shell node-a`.",
)
@click.option(
    "--proxy-command",
    metavar="CMD",
    help="Run this on every node instead. {config}, the path of a KubeProxyConfiguration, "
    "{kubeconfig} and {node} are replaced in its words: kproxy run --config {config}",
)
@kernel_choice.option
@object_source.option
@click.option(
    "--api-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port of the Kubernetes API on loopback. Default: one that is free.",
)
@click.option("--ui", "page", is_flag=True, help="Then show it in a browser, as `kproxy ui` does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def up(**parameters: Any) -> None:
    """Start a lab that stays: a cluster of network namespaces, until `kproxy down`.

    Without LABFILE it has three nodes, a client outside and a pod `shell` to try things from. A
    process in the background runs it and serves the Kubernetes API; the command returns when both
    are ready. The machine's own network is not touched. Without root, and for ipvs mode if the
    kernel has no IPVS, all of it is on user-mode Linux.

    \b
    Examples:
      kproxy up
      kproxy up --nodes 5 --mode nftables
      kproxy up examples/lab/services.yaml --name shop
      kproxy up --proxy none
      kproxy up --source api
      kproxy up --ui

    \b
    Exit status:
      0  the lab is up
      1  it cannot run here
      2  bad input, or a lab of that name is up already
    """
    as_json, page = parameters.pop("as_json"), parameters.pop("page")
    if as_json and page:
        raise BadInput(["--json: a page does not end; give only one of --json and --ui"])
    report_faults()
    order = _order(**parameters)
    from kproxy.resident import background, cleaning, guest, places
    from kproxy.resident.records import MARK, read_record

    if guest.is_told():
        log_to_stderr(0, "text")
        guest.live(order)
    if MARK in os.environ:  # it would be killed as one of that lab's processes
        raise BadInput(
            ["this is a shell of a lab, and what is started here ends with that"],
            remedy="start it from a shell of the machine",
        )
    place = places.claim(order.spec.name)
    if place is None:
        name = order.spec.name
        first = read_record(places.place_of(name))
        since = f", process {first.pid}" if first else ", which is starting"
        raise BadInput(
            [f"lab {name} is up already{since}"],
            remedy=f"kproxy down {name}, or give this one another name with --name",
        )
    cleaning.end_processes(place.path)  # of a dead lab of that name
    place.empty()
    log_to_stderr(0, "text")
    status = background.start(place, order)
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    from kproxy.cli.lab_status import overview

    click.echo(fitting(overview(status), sys.stdout))
    if page:
        from kproxy.cli.ui import serve

        serve(place.path, 0)


def _needs_root(kernel: str) -> bool:
    """Tell whether only a guest lets us be root."""
    from kproxy.kernel.running import on_uml

    return kernel == "auto" and os.geteuid() != 0 and not on_uml()


def _order(
    labfile: str | None,
    name: str | None,
    mode: str | None,
    emulate: Version | None,
    network: str | None,
    nodes: int | None,
    config: str,
    proxy: str,
    proxy_command: str | None,
    kernel: str,
    source: str,
    api_port: int,
    **parameters: Any,
) -> Order:
    """Return what is to be run. Raises BadInput with what is wrong with it."""
    from kproxy.lab import load_spec, validation
    from kproxy.lab.layout import MAX_HOSTS
    from kproxy.resident import orders, places
    from kproxy.resident.commands import command_to_run

    problems = []
    if labfile and nodes:
        problems.append(f"--nodes: {labfile} has the nodes; give only one of them")
    if nodes and nodes > MAX_HOSTS:
        problems.append(f"--nodes: {nodes} are more than {MAX_HOSTS}")
    if proxy == "none" and proxy_command:
        problems.append("--proxy none: --proxy-command runs a proxy; give only one of them")
    if wrong := object_source.problem(source, others=proxy == "none" or bool(proxy_command)):
        problems.append(wrong)
    if name is not None and (problem := places.name_problem(name)):
        problems.append(f"--name: {problem}")
    if problems:
        raise BadInput(problems)
    command = command_to_run(proxy_command) if proxy_command else ()
    paper = of_lab(config, mode, emulate, take(parameters))
    read = load_spec(labfile) if labfile else None
    spec = read or orders.plain_spec(places.DEFAULT_NAME, nodes or _NODES)
    own = name or (spec.name if labfile else places.DEFAULT_NAME)
    spec = orders.ordered_spec(spec, name=own, network=network, emulate=emulate)
    found = [*validation.problems(spec)]
    if problem := places.name_problem(own):
        found.append(problem)
    if found:
        raise BadInput(found)
    others = proxy == "none" or bool(command)
    return orders.Order(
        spec=spec,
        mode=None if others else paper.mode.name,
        config=paper.config,
        options=None if others else paper.options,
        command=command,
        source=source,
        api_port=api_port,
        uml=kernel_choice.is_needed(kernel, paper.mode) or _needs_root(kernel),
        argv=(sys.executable, *sys.orig_argv[1:]),
        folder=os.getcwd(),
    )
