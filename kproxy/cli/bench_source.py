"""`kproxy bench source`: a proxy that an API server feeds."""

from __future__ import annotations

import click

from kproxy.bench.cluster import MOST_CHANGES, require_addresses
from kproxy.cli.bench_common import print_results, subject_options, subjects
from kproxy.cli.finite import FiniteRange
from kproxy.versions import NEWEST_RELEASED, Version


@click.command()
@subject_options(sizes=(10_000,))
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
    "--idle",
    "idle_s",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    default=20,
    show_default=True,
    help="How long to look at the CPU time when nothing changes.",
)
@click.option(
    "--soak",
    "soak_s",
    type=FiniteRange(0),
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
    idle_s: float,
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
    wanted = subjects(mode, kernel, chosen, sizes, runs)
    from kproxy.bench.results import SourceResult, SourceSize
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
            idle_s=idle_s,
            soak_s=soak_s,
            watch_lists=watch_lists,
        )
        for variant, each in wanted
    ]
    different = []

    def measure(size: SourceSize) -> SourceResult:
        result = measure_apart("kproxy.bench.source", size, SourceResult)
        if not result.equal:
            different.append(size.label)
        return result

    print_results(all_sizes, measure, SOURCE_HEADING, source_row, as_json=as_json)
    if different:
        raise KernelRefused(f"not the rules of a fresh start: {', '.join(different)}")
