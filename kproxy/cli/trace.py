"""`kproxy trace`: the way of one probe through a lab, hop by hop."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from kproxy.cli.completing import complete_lab
from kproxy.cli.emulate import emulate_without_config_option
from kproxy.cli.finite import FiniteRange
from kproxy.cli.kernel import is_needed, rerun
from kproxy.cli.kernel import option as kernel_option
from kproxy.cli.labs import living_lab
from kproxy.cli.mode_options import mode_options, take
from kproxy.cli.page_file import html_option, write_page
from kproxy.errors import BadInput

if TYPE_CHECKING:
    from kproxy.explain.itinerary import Itinerary
    from kproxy.explain.pcapng import Packet
    from kproxy.resident.tracing import Asked
    from kproxy.versions import Version

_OF_OWN_LABS = {"manifests", "mode", "emulate", "network", "kernel", "backend_option"}
_OF_OWN_LABS |= {"iptables_variant", "nftables_layout", "ipvs_local_fallback"}
_NOT_ON_A_NODE = {*_OF_OWN_LABS, "labfile", "lab", "http", "repeat"} - {"manifests"}
_ON_A_NODE = {"sender": "--from", "netns": "--netns", "count": "--count", "time_s": "--time"}
_ON_A_NODE["kubeconfig"] = "--kubeconfig"


@click.command()
@click.argument("source", metavar="FROM", required=False)
@click.argument("target", metavar="TO[:PORT]", required=False)
@click.argument("labfile", required=False)
@click.option(
    "--lab", metavar="NAME", help="The lab, if several are up.", shell_complete=complete_lab
)
@click.option(
    "--proto",
    type=click.Choice(["tcp", "udp", "sctp", "icmp"]),
    help="The protocol. Default: that of the port, or TCP; with --node, any.",
)
@click.option(
    "--family", type=click.Choice(["4", "6"]), help="The IP family. Default: the target's first."
)
@click.option(
    "--http",
    metavar="HOST[/PATH]",
    help="What to ask an ingress for. Default: / of the host that is asked.",
)
@click.option("--all", "everything", is_flag=True, help="Show all rules, also without an effect.")
@click.option(
    "--repeat",
    type=click.IntRange(1, 250),
    metavar="N",
    help="Send N probes; show how many fared how.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.option(
    "--pcap",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write the packets of all hosts to this file (pcapng), with the rules as comments.",
)
@click.option(
    "--svg",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write the way as a picture to this file.",
)
@html_option
@click.option(
    "--manifests",
    metavar="PATH",
    multiple=True,
    help="For LABFILE: what to apply. For --node: objects that give names to addresses. "
    "Repeatable.",
)
@click.option(
    "--kubeconfig", metavar="FILE", default="", help="For --node: the API with such objects."
)
@click.option("--mode", metavar="MODE", help="For LABFILE: the proxy mode. Default: iptables.")
@click.option("--network", metavar="NAME", help="For LABFILE: the network between the nodes.")
@click.option(
    "--node",
    "on_node",
    is_flag=True,
    help="Send nothing: wait on this machine for a packet that somebody else sends.",
)
@click.option("--from", "sender", metavar="ADDRESS[:PORT]", help="For --node: who sends it.")
@click.option(
    "--netns",
    metavar="NAME",
    multiple=True,
    help="For --node: watch this namespace of /run/netns besides the own one, not all. Repeatable.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="For --node: end after N packets. Default: 1.",
)
@click.option(
    "--time",
    "time_s",
    type=FiniteRange(0.1, 86_400),
    default=30,
    metavar="SECONDS",
    help="For --node: end after so long. Default: 30.",
)
@emulate_without_config_option
@kernel_option
@mode_options
@click.pass_context
def trace(
    context: click.Context,
    /,
    source: str | None,
    target: str | None,
    labfile: str | None,
    lab: str | None,
    proto: str | None,
    family: str | None,
    http: str | None,
    everything: bool,
    repeat: int | None,
    as_json: bool,
    pcap: str | None,
    svg: str | None,
    html: str | None,
    on_node: bool,
    manifests: tuple[str, ...],
    kubeconfig: str,
    sender: str | None,
    netns: tuple[str, ...],
    count: int,
    time_s: float,
    **own: Any,
) -> None:
    """Send one probe from FROM to TO and show its way, hop by hop, there and back.

    FROM is a host of the lab: a node, a pod, a client. TO is an address, a Service (web, svc/web,
    web.prod) or a host; PORT is a number, or the name of a Service's port, and may be left out if
    there is only one. Shown are the links, rules that did something, translations, routes and
    conntrack of every host, as its kernel tells them. The lab is one of `kproxy up`; or LABFILE is
    built for it and removed afterwards, which needs root.

    With --node, nothing is sent. FROM and TO are addresses; TO alone is enough, and so is :PORT.
    The first packet of a connection between them is followed through the namespaces of this
    machine, as far as they show it. This needs root, and leaves nothing behind. With --manifests or
    --kubeconfig, FROM and TO may be svc/NAME, pod/NAME or node/NAME, and addresses have names.

    \b
    Examples:
      kproxy trace shell web
      kproxy trace outside pod/front:80 --http shop.example.com/cart
      kproxy trace outside 192.168.10.11:30080 --all
      kproxy trace pod/shell svc/kube-dns:dns --proto udp --json
      kproxy trace shell web.prod:http --repeat 100
      kproxy trace outside node-a:30080 --pcap way.pcapng --html way.html
      kproxy trace shell web lab.yaml --manifests web.yaml --mode nftables
      kproxy trace --node 10.244.3.11 10.96.0.10:80
      kproxy trace --node :53 --proto udp --count 10 --time 60 --json
      kproxy trace --node svc/web:http --kubeconfig ~/.kube/config --html way.html

    \b
    Exit status:
      0  the probe was answered (with --repeat or --count: all were)
      1  it was not, or it cannot be traced here; with --node: too few were seen
      2  bad input
    """
    from kproxy.address import Family
    from kproxy.resident.tracing import Asked, ask_for_trace

    for flag, path in (("--pcap", pcap), ("--svg", svg)):
        if path and repeat:
            raise BadInput([f"{flag}: a file has one probe; leave out --repeat"])
        if path and not Path(path).parent.is_dir():
            raise BadInput([f"{flag} {path}: there is no folder {Path(path).parent}"])
    of_family = {"4": Family.IPV4, "6": Family.IPV6}[family] if family else None
    write = partial(_write_files, pcap=pcap, svg=svg, html=html, everything=everything)
    if on_node:
        from kproxy.cli.trace_node import names_of, on_this_node, packet_filter

        _refuse(context, _NOT_ON_A_NODE, "not with --node, which waits for the packets of others")
        if sender and target:
            raise BadInput([f"--from {sender}: FROM is given twice; leave out {source}"])
        if svg and count > 1:
            raise BadInput(["--svg: a file has one packet; leave out --count"])
        if manifests and kubeconfig:
            raise BadInput(["--manifests and --kubeconfig: give only one of them"])
        names = names_of(manifests, kubeconfig)
        ends = sender or (source if target else None), target or source
        wanted = packet_filter(*ends, proto, family=of_family, names=names)
        answered = on_this_node(
            wanted,
            netns,
            count,
            time_s,
            everything=everything,
            as_json=as_json,
            names=names,
            keep=write,
        )
        if not answered:
            raise click.exceptions.Exit(1)
        return
    _refuse(context, _ON_A_NODE, "only for --node")
    for name, value in (("FROM", source), ("TO[:PORT]", target)):
        if value is None:
            raise click.UsageError(f"Missing argument '{name}'.", context)
    assert source
    assert target
    asked = Asked(
        source=source,
        target=target,
        protocol=proto,
        family=of_family,
        http=http,
        count=repeat or 1,
        packets=pcap is not None,
    )
    if labfile is None:
        _refuse(context, _OF_OWN_LABS, "only for a LABFILE, which is not given")
        itineraries, packets = ask_for_trace(living_lab(lab), asked)
    else:
        if lab is not None:
            raise BadInput([f"--lab {lab}: {labfile} is a lab, too; give only one of them"])
        itineraries, packets = _in_lab_of_its_own(labfile, asked, manifests=manifests, **own)
    write(itineraries, packets)
    if as_json:
        values = [each.values for each in itineraries]
        click.echo(json.dumps(values if repeat else values[0], indent=2))
    else:
        _print(itineraries, everything=everything, repeated=repeat is not None)
    if not all(each.answered for each in itineraries):
        raise click.exceptions.Exit(1)


def _refuse(context: click.Context, names: Collection[str], why: str) -> None:
    """Raise BadInput if any of these parameters is given."""
    given = sorted(name for name in names if _is_given(context, name))
    if given:
        known = {"labfile": "LABFILE", **_ON_A_NODE}
        flags = ", ".join(known.get(name, f"--{name.replace('_', '-')}") for name in given)
        raise BadInput([f"{flags}: {why}"])


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _in_lab_of_its_own(
    labfile: str,
    asked: Asked,
    *,
    mode: str | None,
    emulate: Version | None,
    network: str | None,
    kernel: str,
    manifests: tuple[str, ...],
    **parameters: Any,
) -> tuple[list[Itinerary], list[Packet]]:
    """Build the lab, apply the manifests and trace. Raises BadInput, and what a lab raises."""
    from dataclasses import replace

    from kproxy.backend import DEFAULT_MODE, load
    from kproxy.cli.interrupts import removing_the_lab
    from kproxy.cli.progress import say
    from kproxy.cli.warnings import say_warnings

    chosen = load(mode or DEFAULT_MODE)
    options = take(parameters).options(chosen)
    if is_needed(kernel, chosen):
        rerun(kernel)
    from kproxy.explain.tracing import Tracer
    from kproxy.lab import Lab, load_spec

    spec = load_spec(labfile)
    spec = replace(spec, network=network or spec.network, emulate=emulate or spec.emulate)
    say_warnings()
    with removing_the_lab():
        say("building the lab ...")
        with Lab(spec, chosen.name, options=options) as lab, Tracer(lab) as tracer:
            for each in manifests:
                lab.apply(each)
            found = tracer.trace(asked.wanted, asked.count)
    return [each.itinerary for each in found], [*found[0].packets]


def _print(itineraries: list[Itinerary], *, everything: bool, repeated: bool) -> None:
    from kproxy.cli.itinerary_text import lines_of, summary_lines, text_width

    width = text_width()
    lines = (
        summary_lines(itineraries, width)
        if repeated
        else lines_of(itineraries[0], width, everything=everything)
    )
    click.echo("\n".join(lines))


def _write_files(
    itineraries: list[Itinerary],
    packets: list[Packet],
    *,
    pcap: str | None,
    svg: str | None,
    html: str | None,
    everything: bool,
) -> None:
    if pcap:
        from importlib.metadata import version

        from kproxy.explain.pcapng import pcapng

        _write("--pcap", pcap, pcapng(packets, f"kproxy {version('kproxy')}"))
    if svg:
        from kproxy.explain.picture import picture

        _write("--svg", svg, picture(itineraries[0]).encode())
    if html:
        from kproxy.cli.itinerary_page import page_of

        write_page(html, page_of(itineraries, everything=everything))


def _write(flag: str, path: str, data: bytes) -> None:
    from kproxy.cli.progress import say

    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise BadInput([f"{flag} {path}: {error.strerror}"]) from None
    say(f"wrote {path}")
