"""`kproxy bench api`: a lab that stays, and its API."""

from __future__ import annotations

from functools import partial

import click

from kproxy.backend import DEFAULT_MODE, load
from kproxy.cli import kernel as kernel_choice
from kproxy.cli.bench_common import print_results

_MOST_SERVICES = 60_000  # a lab has a /16 for cluster IPs


@click.command()
@click.option(
    "--mode",
    "chosen",
    multiple=True,
    default=(DEFAULT_MODE,),
    show_default=True,
    help="The proxy mode; may be repeated.",
)
@kernel_choice.option
@click.option(
    "--nodes", type=click.IntRange(1, 20), default=3, show_default=True, help="Nodes of the lab."
)
@click.option(
    "--objects",
    type=click.IntRange(1, _MOST_SERVICES),
    default=1000,
    show_default=True,
    help="How many Services, and as many ConfigMaps, to create over one connection.",
)
@click.option(
    "--watchers",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="How many watch at the same time.",
)
@click.option(
    "--changes",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="How many changes all of them are to see.",
)
@click.option(
    "--services",
    type=click.IntRange(1, _MOST_SERVICES),
    default=10_000,
    show_default=True,
    help="How many Services to list in the end.",
)
@click.option(
    "--runs", type=click.IntRange(1), default=1, show_default=True, help="Repeat it N times."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line instead.")
def api(
    chosen: tuple[str, ...],
    kernel: str,
    nodes: int,
    objects: int,
    watchers: int,
    changes: int,
    services: int,
    runs: int,
    as_json: bool,
) -> None:
    """Measure `kproxy up` and the Kubernetes API of its lab.

    \b
    up       until the lab and its API are ready, and the memory of its process
    apply    from kubectl apply until a pod is answered, without kubectl's own start
    created  Services, and ConfigMaps, in a second: one by one over one connection
    watch    until all watchers have seen a change: median, 99th percentile
    list     all Services in one answer

    \b
    Examples:
      kproxy bench api
      kproxy bench api --mode iptables --mode nftables --runs 3
      kproxy bench api --services 1000 --watchers 500 --json
    """
    if any(kernel_choice.is_needed(kernel, load(mode)) for mode in chosen):
        kernel_choice.rerun(kernel)
    from kproxy.bench.results import ApiResult, ApiSize
    from kproxy.bench.tables import API_HEADING, api_row
    from kproxy.kernel.measurement import measure_apart

    all_sizes = [
        ApiSize(
            mode=mode,
            nodes=nodes,
            objects=objects,
            watchers=watchers,
            changes=changes,
            services=max(services, objects),
        )
        for mode in chosen
        for _ in range(runs)
    ]
    measure = partial(measure_apart, "kproxy.bench.api", result=ApiResult)
    print_results(all_sizes, measure, API_HEADING, api_row, as_json=as_json)
