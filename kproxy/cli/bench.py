"""`kproxy bench`: measurements."""

from __future__ import annotations

import click

from kproxy.cli import kernel as kernel_choice


@click.group()
def bench() -> None:
    """Measure how long syncs take and how much memory the proxy needs."""


@bench.command()
@click.option("--mode", default="iptables", show_default=True, help="The proxy mode.")
@kernel_choice.option
@click.option(
    "--variant",
    "variants",
    type=click.Choice(["nft", "legacy"]),
    multiple=True,
    help="Of iptables; may be repeated. Both in iptables mode, else the one in use.",
)
@click.option(
    "--services",
    "sizes",
    type=click.IntRange(1, 60_000),
    multiple=True,
    default=(1000, 5000, 10_000),
    show_default=True,
    help="How many; may be repeated.",
)
@click.option("--endpoints", type=click.IntRange(1, 50), default=5, show_default=True)
@click.option("--changes", type=click.IntRange(1), default=9, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line instead.")
def sync(
    mode: str,
    kernel: str,
    variants: tuple[str, ...],
    sizes: tuple[int, ...],
    endpoints: int,
    changes: int,
    runs: int,
    as_json: bool,
) -> None:
    """Time from objects to committed rules, in namespaces made for it.

    \b
    full    first sync of a proxy in an empty namespace, planning included
    change  one endpoint replaced by another: median and maximum of --changes
    memory  of the proxy process with all objects: at the end, and at its peak

    \b
    Examples:
      kproxy bench sync
      kproxy bench sync --mode ipvs --services 1000
      kproxy bench sync --services 1000 --variant nft --runs 5 --json
    """
    if kernel_choice.is_needed(kernel, mode):
        kernel_choice.rerun()
    import msgspec

    from kproxy.bench.sync import Size, measure_apart

    if not as_json:
        click.echo("mode      variant  services  full s  change ms (max)  MiB (peak)")
    for variant in variants or (("nft", "legacy") if mode == "iptables" else ("auto",)):
        for services in sizes:
            size = Size(
                mode=mode,
                variant=variant,
                services=services,
                endpoints=endpoints,
                changes=changes,
            )
            for _ in range(runs):
                result = measure_apart(size)
                click.echo(
                    msgspec.json.encode(result).decode()
                    if as_json
                    else f"{mode:8}  {variant:7}  {services:8}  {result.full_s:6.2f}"
                    f"  {result.change_median_s * 1e3:7.1f} ({result.change_max_s * 1e3:.0f})"
                    f"    {result.resident_mib:.0f} ({result.peak_mib:.0f})"
                )
