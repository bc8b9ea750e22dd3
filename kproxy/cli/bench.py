"""`kproxy bench`: measurements."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from kproxy.bench.cluster import MOST_CHANGES, require_addresses
from kproxy.cli.bench_api import api
from kproxy.cli.bench_common import print_results, subject_options, subjects
from kproxy.cli.bench_source import source
from kproxy.versions import NEWEST_RELEASED, Version

if TYPE_CHECKING:
    from kproxy.bench.results import LabResult, LabSize, MininetResult, MininetSize

_MOST_SERVICES_IN_A_LAB = 60_000  # which has a /16 for cluster IPs


@click.group()
def bench() -> None:
    """Measure how long syncs and connections take, and how much memory is needed.

    \b
    Examples:
      kproxy bench sync
      kproxy bench latency --mode nftables
      kproxy bench source --mode nftables --variant flat
      kproxy bench control-plane
      kproxy bench lab
      kproxy bench api
      kproxy bench endpoints
    """


bench.add_command(api)
bench.add_command(source)


@bench.command()
@subject_options(sizes=(1000, 5000, 10_000))
@click.option(
    "--changes",
    type=click.IntRange(1, MOST_CHANGES),
    default=9,
    show_default=True,
    help="Number of changes of each kind.",
)
def sync(
    mode: str,
    emulate: Version | None,
    kernel: str,
    chosen: tuple[str, ...],
    sizes: tuple[int, ...],
    endpoints: int,
    runs: int,
    as_json: bool,
    changes: int,
) -> None:
    """Measure the time from objects to committed rules, in new namespaces.

    \b
    full    first sync of a proxy in an empty namespace, planning included
    change  one endpoint replaced by another: median and 99th percentile
    scale   one endpoint added to a Service, or one removed: the same two
    MiB     memory of the proxy process with all objects: at the end, at its peak

    \b
    Examples:
      kproxy bench sync
      kproxy bench sync --mode nftables --variant flat --changes 200
      kproxy bench sync --mode nftables --variant flat --services 1000000 --endpoints 1
      kproxy bench sync --mode ipvs --services 1000
      kproxy bench sync --services 1000 --variant nft --runs 5 --json
    """
    for each in sizes:
        require_addresses(each, endpoints)
    wanted = subjects(mode, kernel, chosen, sizes, runs)
    from kproxy.bench.results import SyncResult, SyncSize
    from kproxy.bench.tables import SYNC_HEADING, sync_row
    from kproxy.kernel.measurement import measure_apart

    all_sizes = [
        SyncSize(
            mode=mode,
            variant=variant,
            services=each,
            emulate=emulate or NEWEST_RELEASED,
            endpoints=endpoints,
            changes=changes,
        )
        for variant, each in wanted
    ]
    measure = partial(measure_apart, "kproxy.bench.sync", result=SyncResult)
    print_results(all_sizes, measure, SYNC_HEADING, sync_row, as_json=as_json)


@bench.command()
@subject_options(sizes=(10, 100, 1000, 10_000))
@click.option(
    "--connections",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    help="Number of connections through each of the three nodes.",
)
@click.option(
    "--asked",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Number of different Services to connect to, spread from the first to the last.",
)
def latency(
    mode: str,
    emulate: Version | None,
    kernel: str,
    chosen: tuple[str, ...],
    sizes: tuple[int, ...],
    endpoints: int,
    runs: int,
    as_json: bool,
    connections: int,
    asked: int,
) -> None:
    """Measure the time of connect() to a Service, in new namespaces.

    Prints median and 99th percentile in microseconds, through three nodes in turn:

    \b
    direct   no rules: the client connects to an endpoint
    plain    one DNAT rule, of nftables; on user-mode Linux, of iptables-legacy
    service  the rules of a proxy
    ratio    service to plain, of the medians

    \b
    Examples:
      kproxy bench latency
      kproxy bench latency --mode nftables --services 10000 --asked 10000
      kproxy bench latency --mode ipvs --connections 500
      kproxy bench latency --variant legacy --runs 5 --json
    """
    for each in sizes:
        require_addresses(each, endpoints)
    wanted = subjects(mode, kernel, chosen, sizes, runs)
    from kproxy.bench.results import LatencyResult, LatencySize
    from kproxy.bench.tables import LATENCY_HEADING, latency_row
    from kproxy.kernel.measurement import measure_apart

    all_sizes = [
        LatencySize(
            mode=mode,
            variant=variant,
            services=each,
            emulate=emulate or NEWEST_RELEASED,
            endpoints=endpoints,
            connections=connections,
            asked=asked,
        )
        for variant, each in wanted
    ]
    measure = partial(measure_apart, "kproxy.bench.latency", result=LatencyResult)
    print_results(all_sizes, measure, LATENCY_HEADING, latency_row, as_json=as_json)


@bench.command()
@subject_options(sizes=(100,), per_service=10, most=_MOST_SERVICES_IN_A_LAB)
@click.option(
    "--nodes", type=click.IntRange(1, 20), default=3, show_default=True, help="Nodes of the lab."
)
@click.option("--dual-stack", is_flag=True, help="Use Services of both families: twice the rules.")
@click.option(
    "--flips",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How often a Pod becomes not ready and ready again.",
)
def control_plane(
    mode: str,
    emulate: Version | None,
    kernel: str,
    chosen: tuple[str, ...],
    sizes: tuple[int, ...],
    endpoints: int,
    runs: int,
    as_json: bool,
    nodes: int,
    dual_stack: bool,
    flips: int,
) -> None:
    """Measure the time from objects, or a probe, to the rules of all nodes of a lab.

    \b
    apply  Pods that run elsewhere (--endpoints for each Service), and Services
    start  a Deployment of a real pod for each node, with readiness probes
    flip   one of its Pods fails its probe, or passes it again: median, p99

    \b
    Examples:
      kproxy bench control-plane
      kproxy bench control-plane --mode nftables --variant flat --flips 100
      kproxy bench control-plane --mode ipvs --json
    """
    wanted = subjects(mode, kernel, chosen, sizes, runs)
    from kproxy.bench.results import ControlPlaneResult, ControlPlaneSize
    from kproxy.bench.tables import CONTROL_PLANE_HEADING, control_plane_row
    from kproxy.kernel.measurement import measure_apart

    all_sizes = [
        ControlPlaneSize(
            mode=mode,
            variant=variant,
            services=each,
            emulate=emulate or NEWEST_RELEASED,
            pods=each * endpoints,
            nodes=nodes,
            dual_stack=dual_stack,
            flips=flips,
        )
        for variant, each in wanted
    ]
    measure = partial(measure_apart, "kproxy.bench.control_plane", result=ControlPlaneResult)
    print_results(all_sizes, measure, CONTROL_PLANE_HEADING, control_plane_row, as_json=as_json)


@bench.command()
@click.option(
    "--pods",
    "sizes",
    type=click.IntRange(1, 1000),
    multiple=True,
    default=(6, 100, 1000),
    show_default=True,
    help="Number of pods; may be repeated.",
)
@click.option(
    "--nodes", type=click.IntRange(1, 20), default=10, show_default=True, help="Nodes of the lab."
)
@click.option("--network", default="routed", show_default=True, help="The lab's network.")
@click.option(
    "--runs", type=click.IntRange(1), default=1, show_default=True, help="Repeat each N times."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line instead.")
def lab(sizes: tuple[int, ...], nodes: int, network: str, runs: int, as_json: bool) -> None:
    """Measure how long a lab without proxies takes to come up, to serve, and to go.

    \b
    build  namespaces, cables, addresses, routes, the pods' servers
    serve  until each pod has answered a connection
    down   until the kernel has taken down the last namespace
    floor  namespaces and a cable each, with nothing else

    Where mininet is installed, it is measured beside, with as many hosts as there are pods.

    \b
    Examples:
      kproxy bench lab
      kproxy bench lab --pods 300 --nodes 3 --network tunnel --runs 5
    """
    from kproxy.bench import mininet
    from kproxy.bench.results import LabResult, LabSize, MininetResult, MininetSize
    from kproxy.bench.tables import LAB_HEADING, lab_row
    from kproxy.errors import BadInput
    from kproxy.kernel.measurement import measure_apart
    from kproxy.lab.models import MODELS

    if network not in MODELS:
        raise BadInput(
            [f"--network: there is no network {network!r}; there are {', '.join(MODELS)}"]
        )
    version = mininet.version()
    all_sizes: list[LabSize | MininetSize] = []
    for pods in (each for each in sizes for _ in range(runs)):
        all_sizes.append(LabSize(pods=pods, nodes=nodes, network=network))
        if version:
            all_sizes.append(MininetSize(version=version, pods=pods, nodes=nodes))

    def measure(size: LabSize | MininetSize) -> LabResult | MininetResult:
        if isinstance(size, MininetSize):
            return measure_apart("kproxy.bench.mininet", size, MininetResult)
        return measure_apart("kproxy.bench.lab", size, LabResult)

    print_results(all_sizes, measure, LAB_HEADING, lab_row, as_json=as_json)
    if not version:
        click.echo(mininet.NOT_INSTALLED, err=as_json)


@bench.command()
def endpoints() -> None:
    """Count the bytes that one Pod's change sends to every node, as Endpoints and as slices.

    Needs no root, as it builds nothing.

    \b
    Examples:
      kproxy bench endpoints
    """
    from kproxy.controlplane.cost import table
    from kproxy.report.terminal import Paper

    head, _, *rows = ([each.strip() for each in line.split("|")[1:-1]] for line in table())
    Paper().table(head, rows)
