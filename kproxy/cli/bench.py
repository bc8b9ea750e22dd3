"""`kproxy bench`: measurements."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kproxy.backend import DEFAULT_MODE, load
from kproxy.bench.cluster import MOST_CHANGES, MOST_ENDPOINTS, MOST_SERVICES, require_addresses
from kproxy.cli import kernel as kernel_choice
from kproxy.cli.emulate import emulate_option
from kproxy.report.width import width_of
from kproxy.versions import NEWEST_RELEASED, Version

if TYPE_CHECKING:
    from kproxy.bench.results import (
        ControlPlaneSize,
        LabResult,
        LabSize,
        LatencySize,
        MininetResult,
        MininetSize,
        SourceSize,
        SyncSize,
    )

    _AnySize = SyncSize | SourceSize | LatencySize | ControlPlaneSize | LabSize | MininetSize

_MOST_SERVICES_IN_A_LAB = 60_000  # which has a /16 for cluster IPs

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Size = TypeVar("_Size", bound="_AnySize")
_Result = TypeVar("_Result")


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
      kproxy bench endpoints
    """


def _subject_options(
    sizes: tuple[int, ...], per_service: int = 5, most: int = MOST_SERVICES
) -> Callable[[_Command], _Command]:
    """Return a decorator that adds the options common to measurements: proxy and cluster size."""
    options = [
        click.option("--mode", default=DEFAULT_MODE, show_default=True, help="The proxy mode."),
        emulate_option,
        kernel_choice.option,
        click.option(
            "--variant",
            "chosen",
            type=click.Choice(["nft", "legacy", "kube-proxy", "flat"]),
            multiple=True,
            help="A variant of iptables or layout of nftables; may be repeated. "
            "Default: all of the mode.",
        ),
        click.option(
            "--services",
            "sizes",
            type=click.IntRange(1, most),
            multiple=True,
            default=sizes,
            show_default=True,
            help="Number of Services; may be repeated.",
        ),
        click.option(
            "--endpoints",
            type=click.IntRange(1, MOST_ENDPOINTS),
            default=per_service,
            show_default=True,
            help="Endpoints per Service.",
        ),
        click.option(
            "--runs",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Repeat every measurement N times.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object per line instead."
        ),
    ]

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@bench.command()
@_subject_options(sizes=(1000, 5000, 10_000))
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
    if kernel_choice.is_needed(kernel, load(mode)):
        kernel_choice.rerun(kernel)
    from kproxy.bench.results import SyncResult, SyncSize
    from kproxy.bench.subject import variants
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
        for variant in variants(mode, chosen)
        for each in sizes
        for _ in range(runs)
    ]
    measure = partial(measure_apart, "kproxy.bench.sync", result=SyncResult)
    _print(all_sizes, measure, SYNC_HEADING, sync_row, as_json=as_json)


@bench.command()
@_subject_options(sizes=(10_000,))
@click.option(
    "--changes",
    type=click.IntRange(1, MOST_CHANGES),
    default=30,
    show_default=True,
    help="Number of changes, one each 1.1 s.",
)
@click.option(
    "--events",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Then so many changes as fast as possible.",
)
@click.option(
    "--soak",
    "soak_s",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=0,
    help="Then 20 changes a second for so long.",
)
@click.option(
    "--watch-lists/--lists", default=True, help="What the API server has: watch lists, or not."
)
def source(
    mode: str,
    emulate: Version | None,
    kernel: str,
    chosen: tuple[str, ...],
    sizes: tuple[int, ...],
    endpoints: int,
    runs: int,
    as_json: bool,
    changes: int,
    events: int,
    soak_s: float,
    watch_lists: bool,
) -> None:
    """Measure `kproxy run` fed by a stand-in for an API server, with TLS.

    \b
    ready   from the start of the process to rules for all Services
    CPU     of the process until then, user and system
    change  from an event that is sent to its commit: median and 99th percentile
    idle    CPU when nothing changes, of one
    MiB     memory of the process: once ready, after all changes, at its peak

    It fails if the rules in the end are not those of a fresh start, and for modes
    that do not write to nf_tables, which tells of commits.

    \b
    Examples:
      kproxy bench source --mode nftables --variant flat
      kproxy bench source --mode nftables --variant flat --events 100000
      kproxy bench source --mode nftables --soak 900 --changes 5 --json
    """
    for each in sizes:
        require_addresses(each, endpoints)
    if kernel_choice.is_needed(kernel, load(mode)):
        kernel_choice.rerun(kernel)
    from kproxy.bench.results import SourceResult, SourceSize
    from kproxy.bench.subject import variants
    from kproxy.bench.tables import SOURCE_HEADING, source_row
    from kproxy.errors import KernelRefused
    from kproxy.kernel.measurement import measure_apart

    all_sizes = [
        SourceSize(
            mode=mode,
            variant=variant,
            services=each,
            emulate=emulate or NEWEST_RELEASED,
            endpoints=endpoints,
            changes=changes,
            events=events,
            soak_s=soak_s,
            watch_lists=watch_lists,
        )
        for variant in variants(mode, chosen)
        for each in sizes
        for _ in range(runs)
    ]
    different = []

    def measure(size: SourceSize) -> SourceResult:
        result = measure_apart("kproxy.bench.source", size, SourceResult)
        if not result.equal:
            different.append(size.label)
        return result

    _print(all_sizes, measure, SOURCE_HEADING, source_row, as_json=as_json)
    if different:
        raise KernelRefused(f"not the rules of a fresh start: {', '.join(different)}")


@bench.command()
@_subject_options(sizes=(10, 100, 1000, 10_000))
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
    if kernel_choice.is_needed(kernel, load(mode)):
        kernel_choice.rerun(kernel)
    from kproxy.bench.results import LatencyResult, LatencySize
    from kproxy.bench.subject import variants
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
        for variant in variants(mode, chosen)
        for each in sizes
        for _ in range(runs)
    ]
    measure = partial(measure_apart, "kproxy.bench.latency", result=LatencyResult)
    _print(all_sizes, measure, LATENCY_HEADING, latency_row, as_json=as_json)


@bench.command()
@_subject_options(sizes=(100,), per_service=10, most=_MOST_SERVICES_IN_A_LAB)
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
    if kernel_choice.is_needed(kernel, load(mode)):
        kernel_choice.rerun(kernel)
    from kproxy.bench.results import ControlPlaneResult, ControlPlaneSize
    from kproxy.bench.subject import variants
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
        for variant in variants(mode, chosen)
        for each in sizes
        for _ in range(runs)
    ]
    measure = partial(measure_apart, "kproxy.bench.control_plane", result=ControlPlaneResult)
    _print(all_sizes, measure, CONTROL_PLANE_HEADING, control_plane_row, as_json=as_json)


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

    _print(all_sizes, measure, LAB_HEADING, lab_row, as_json=as_json)
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


def _print(
    sizes: Iterable[_Size],
    measure: Callable[[_Size], _Result],
    heading: str,
    row: Callable[[_Result], str],
    *,
    as_json: bool,
) -> None:
    """Measure one size after another, and print a line for each."""
    import msgspec

    from kproxy.bench.tables import lines

    width = width_of()
    if not as_json:
        click.echo("\n".join(lines(heading, heading, width)))
    for size in sizes:
        with _progress(size):
            result = measure(size)
        if as_json:
            click.echo(msgspec.json.encode(result).decode())
        else:
            click.echo("\n".join(lines(row(result), heading, width)))


@contextmanager
def _progress(size: _AnySize) -> Iterator[None]:
    """Show on a terminal what is being measured, in a line that is removed afterwards."""
    if not sys.stderr.isatty():
        yield
        return
    click.echo(f"{size.label} ...", nl=False, err=True)
    try:
        yield
    finally:
        click.echo("\r\033[K", nl=False, err=True)
