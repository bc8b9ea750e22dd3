"""`kproxy demo`: the examples, on a cluster of namespaces, proven with packets."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import click

from kproxy.backend import BackendOptions, load, modes
from kproxy.cli import kernel as kernel_choice
from kproxy.cli.examples import examples

if TYPE_CHECKING:
    from kproxy.lab import Lab
    from kproxy.report.findings import Section


LAB = "lab/demo.yaml"  # in examples/; a folder of its own, for it is no Kubernetes object


@click.command()
@click.option("--mode", type=click.Choice(modes()), default="iptables", help="The proxy mode.")
@kernel_choice.option
@click.option("--keep", is_flag=True, help="Leave the lab up until Ctrl-C, to look inside.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.option(
    "--iptables-variant",
    type=click.Choice(["auto", "nft", "legacy"]),
    default="auto",
    help="Which iptables. auto: the one in use here.",
)
@click.option(
    "--nftables-layout",
    type=click.Choice(["kube-proxy", "flat"]),
    default="kube-proxy",
    help="How the table looks in nftables mode: as kube-proxy's, or made for speed.",
)
@click.option(
    "--ipvs-local-fallback/--no-ipvs-local-fallback",
    default=True,
    help="With policy Local and no endpoint here, ipvs mode takes those of other nodes. Without: "
    "it refuses, as kube-proxy did before 1.25.",
)
def demo(
    mode: str,
    kernel: str,
    keep: bool,
    as_json: bool,
    iptables_variant: str,
    nftables_layout: str,
    ipvs_local_fallback: bool,
) -> None:
    """Build a cluster of namespaces and show what reaches whom.

    Three nodes, six pods and a client outside; the Services of examples/ as real rules; and
    real packets, whose fate is compared with what it must be. Needs root; the machine's own
    network is not touched, and nothing is left behind.

    \b
    Examples:
      kproxy demo
      kproxy demo --mode ipvs
      kproxy demo --mode nftables --nftables-layout flat
      kproxy demo --keep
      kproxy demo --json > demo.json

    \b
    Exit status:
      0  everything was as it must be
      1  something was not (it is named), or the lab cannot run here
    """
    if kernel_choice.is_needed(kernel, mode):
        kernel_choice.rerun()
    from kproxy.lab import Lab, load_spec

    started = time.monotonic()
    folder = examples()
    spec = load_spec(folder / LAB)
    load(mode)  # imported now, so that the lab's time is its own
    _say("building the lab ...")
    lab_started = time.monotonic()
    options = BackendOptions(
        iptables_variant=iptables_variant,
        nftables_layout=nftables_layout,
        ipvs_local_fallback=ipvs_local_fallback,
    )
    with Lab(spec, mode, options=options, publish=keep) as lab:
        lab_up_s = time.monotonic() - lab_started
        _say(f"lab up in {lab_up_s:.2f} s, applying {folder} ...")
        lab.apply(folder)
        sections = _walk(lab)
        total_s = time.monotonic() - started
        if as_json:
            _print_json(mode, sections, lab_up_s, total_s)
        else:
            _print_table(lab, sections)
        broken = _summary(sections, lab_up_s, total_s)
        if keep:
            _keep(lab)
    _say("the lab is gone")
    if broken:
        raise click.exceptions.Exit(1)


def _walk(lab: Lab) -> list[Section]:
    # Imports scapy and rich, a quarter of a second each; the lab is up by now.
    from kproxy.probe.tour import TOUR, walk
    from kproxy.report.findings import Section

    sections = []
    for number, (title, findings) in enumerate(walk(lab), 1):
        _say(f"[{number}/{len(TOUR)}] {title}")
        sections.append(Section(title=title, findings=findings))
    return sections


def _print_table(lab: Lab, sections: list[Section]) -> None:
    from kproxy.report.findings import print_sections

    owners = {
        address: host.name for host in lab.network.hosts.values() for address in host.addresses
    }
    print_sections(sections, name=lambda address: owners.get(address, ""))


def _print_json(mode: str, sections: list[Section], lab_up_s: float, total_s: float) -> None:
    import json

    from kproxy.report.findings import as_values

    values = {
        "mode": mode,
        "ok": all(finding.ok for section in sections for finding in section.findings),
        "lab_up_s": round(lab_up_s, 3),
        "total_s": round(total_s, 3),
        "findings": as_values(sections),
    }
    click.echo(json.dumps(values, indent=2))


def _summary(sections: list[Section], lab_up_s: float, total_s: float) -> int:
    """Say how it went; how many findings were not as expected."""
    findings = [finding for section in sections for finding in section.findings]
    broken = [finding for finding in findings if not finding.ok]
    _say(
        f"\n{len(findings) - len(broken)} of {len(findings)} as expected; "
        f"lab up in {lab_up_s:.2f} s, {total_s:.1f} s in all"
    )
    for finding in broken:
        _say(f"NOT AS EXPECTED: {finding.check}: {finding.client} asks {finding.asked}")
        for problem in finding.problems:
            _say(f"  {problem}")
    return len(broken)


def _keep(lab: Lab) -> None:
    from kproxy.kernel.uml import on_uml
    from kproxy.lab.names import published

    node, pod = published(lab.spec.name, "node-a"), published(lab.spec.name, "shell-c")
    commands = {"ipvs": "ipvsadm -Ln", "nftables": "nft list table ip kube-proxy"}
    look = commands.get(lab.mode or "", "iptables-save -t nat")
    # A user-mode kernel has no other terminals, unless the lab was started from a shell on it.
    where = "In the shell of that kernel (ipvs-kernel bash)" if on_uml() else "In another terminal"
    _say(
        f"\nThe lab stays up. {where}:\n"
        "  ip netns list\n"
        f"  ip netns exec {node} {look}\n"
        f"  ip netns exec {pod} bash -c 'exec 3<>/dev/tcp/10.96.0.10/80; echo >&3; cat <&3'\n"
        "Ctrl-C removes it."
    )
    enough = threading.Event()
    former = {
        number: signal.signal(number, lambda *_: enough.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    enough.wait()
    for number, handler in former.items():
        signal.signal(number, handler)


def _say(text: str) -> None:
    """Progress, for people: standard output is for the result."""
    click.echo(text, err=True)
