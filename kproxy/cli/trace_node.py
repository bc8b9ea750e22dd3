"""`kproxy trace --node`: packets of other programs on this machine, followed hop by hop."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from kproxy.address import Family, family_of, host_port, split_host_port
from kproxy.api.addresses import parse_ip
from kproxy.cli.itinerary_text import lines_of, text_width
from kproxy.cli.progress import say
from kproxy.errors import BadInput, TimedOut, Unsupported
from kproxy.kernel.namespaces import all_namespaces, this_and
from kproxy.kernel.privilege import require_net_admin, require_net_raw
from kproxy.kernel.trace.wanted import PROTOCOLS, PacketFilter

if TYPE_CHECKING:
    from kproxy.explain.itinerary import Itinerary
    from kproxy.explain.names import Names
    from kproxy.explain.pcapng import Packet

_LAST_PORT = 65_535


def packet_filter(
    source: str | None,
    target: str | None,
    proto: str | None,
    *,
    family: Family | None = None,
    names: Names | None = None,
) -> PacketFilter:
    """Return the filter for packets between these ends: ADDRESS, ADDRESS:PORT, :PORT or, with
    `names`, svc/NAME, pod/NAME, node/NAME, each with a port or without. `family`: of the addresses
    of names; by default the first that both ends have. Raises BadInput.
    """
    if source is None and target is None:
        raise BadInput(
            ["--node: which packets? A busy node has many"],
            remedy="give the destination, as ADDRESS:PORT, :PORT or ADDRESS, or --from ADDRESS",
        )
    sources, source_port = _end(source or "", names)
    destinations, port = _end(target or "", names)
    ends = [each for each in (source, target) if each]
    if family and not sources and not destinations:
        raise BadInput([f"{' and '.join(ends)}: an address tells the family; leave out --family"])
    sender, address = _of_one_family(sources, destinations, family, ends)
    ports = source_port or port
    if proto == "icmp" and ports:
        raise BadInput([f"{source if source_port else target}: ICMP has no ports"])
    protocols: tuple[str, ...] = (proto.upper(),) if proto else PROTOCOLS
    if ports:
        protocols = tuple(each for each in protocols if each != "ICMP")
    return PacketFilter(
        protocols=protocols,
        source=sender,
        source_port=source_port,
        destination=address,
        destination_port=port,
    )


def names_of(manifests: Collection[str], kubeconfig: str) -> Names | None:
    """Return the names that objects give to addresses, None without objects. Raises BadInput,
    Unreachable.
    """
    if not manifests and not kubeconfig:
        return None
    from kproxy.cli.objects import read_api, read_manifests
    from kproxy.explain.names import Names

    return Names(read_manifests([*manifests]) if manifests else read_api(kubeconfig))


def on_this_node(
    wanted: PacketFilter,
    netns: Collection[str],
    count: int,
    time_s: float,
    *,
    everything: bool,
    as_json: bool,
    names: Names | None,
    keep: Callable[[list[Itinerary], list[Packet]], object],
) -> bool:
    """Wait for packets, print their ways, and return whether all were answered.

    `netns`: the namespaces to watch besides this one; all that are found, if it is empty. `keep`
    takes the ways, and the packets as they were seen in every place, if there were any.
    Raises BadInput, Unsupported, KernelRefused, and TimedOut if there were fewer than `count`.
    """
    try:
        require_net_admin()
        require_net_raw()
    except Unsupported as error:
        raise Unsupported(str(error), remedy="run as root (sudo) on the node") from None
    from kproxy.explain.watching import Watch

    itineraries: list[Itinerary] = []
    packets: list[Packet] = []

    def show() -> None:
        if as_json and itineraries:
            values = [each.values for each in itineraries]
            click.echo(json.dumps(values if count > 1 else values[0], indent=2))
        if itineraries:
            keep(itineraries, packets)

    with ExitStack() as stack:
        stack.callback(show)  # also after an interrupt, when nothing is watched any more
        found = this_and(netns) if netns else all_namespaces()
        for namespace in found.namespaces.values():
            stack.callback(namespace.close)
        watch = stack.enter_context(Watch(found.namespaces, wanted))
        places = ", ".join(found.namespaces)
        for problem in (*found.problems, *watch.problems):
            say(f"not watched: {problem}")
        say(f"watching {places}: waiting for {_words(wanted)} ...")
        for itinerary, caught in watch.packets(count, time_s):
            itineraries.append(names.named(itinerary) if names else itinerary)
            packets += caught
            if as_json:
                if count > 1:
                    say(f"{len(itineraries)} of {count} packets")
            else:
                lines = lines_of(itineraries[-1], text_width(), everything=everything)
                click.echo("\n".join([*lines, ""] if len(itineraries) < count else lines))
    if len(itineraries) < count:
        seen = f"{len(itineraries)} of {count} packets" if itineraries else "no packet"
        raise TimedOut(
            f"{seen} in {time_s:g} s: waited for {_words(wanted)} in {places}",
            remedy="look at the addresses: before the node translates them, as the client asks; "
            "a longer --time; a connection that is open already sends no first packet",
        )
    return all(each.answered for each in itineraries)


def _of_one_family(
    sources: list[str], destinations: list[str], family: Family | None, ends: list[str]
) -> tuple[str, str]:
    """Return an address of each that has any. Raises BadInput."""
    if not sources and not destinations:
        return "", ""
    for one in [family] if family else map(family_of, destinations or sources):
        sender, address = (
            next((each for each in addresses if family_of(each) is one), "")
            for addresses in (sources, destinations)
        )
        if (sender or not sources) and (address or not destinations):
            return sender, address
    wrong = f"no address of {family}" if family else "not of one IP family"
    raise BadInput([f"{' and '.join(ends)}: {wrong}"])


def _end(text: str, names: Names | None) -> tuple[list[str], int]:
    """Return addresses, none for any, and the port, 0 for any. Raises BadInput."""
    if not text:
        return [], 0
    try:
        return [_address(text)], 0
    except ValueError:
        pass
    if names and (found := names.meant(text)):
        return found
    address, port = ("", text[1:]) if text.startswith(":") else split_host_port(text) or ("", "")
    if port.isdecimal() and 0 < int(port) <= _LAST_PORT:
        try:
            return ([_address(address)] if address else []), int(port)
        except ValueError:
            pass
    if names:
        raise BadInput(
            [f"{text!r} is not an ADDRESS, svc/NAME, pod/NAME or node/NAME, with :PORT or without"]
        )
    raise BadInput(
        [f"{text!r} is not ADDRESS, ADDRESS:PORT or :PORT"],
        remedy="names need objects: --manifests or --kubeconfig",
    )


def _address(text: str) -> str:
    if (parsed := parse_ip(text)) is None:
        raise ValueError(text)
    return str(parsed)


def _words(wanted: PacketFilter) -> str:
    ends = [
        f"{word} {host_port(address, port) if address and port else address or f'port {port}'}"
        for word, address, port in (
            ("from", wanted.source, wanted.source_port),
            ("to", wanted.destination, wanted.destination_port),
        )
        if address or port
    ]
    return " ".join(["/".join(wanted.protocols), *ends])
