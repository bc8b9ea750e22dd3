"""Cables (veth pairs) between the hosts of a lab, and the addresses at their ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace
from kproxy.lab.layout import Addresses
from kproxy.lab.names import UPLINK, interface

_READY_TIMEOUT_S = 30.0  # a guest among many busy processes did not make it in 5
FIRST_INDEX = 100  # of upper ends; never 2, the index of an `eth0`: see Links.add_veth
ANYWHERE = {Family.IPV4: "0.0.0.0/0", Family.IPV6: "::/0"}
_SINGLE = {Family.IPV4: 32, Family.IPV6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A cable from a host, at its upper end, to another one, at its lower end.

    `name` and `index` are those of the upper end's interface, `namespace` and `addresses` those of
    the host at the lower end.
    """

    name: str
    index: int
    namespace: Namespace
    addresses: Addresses


def cables_to(
    hosts: Iterable[str],
    addresses: Mapping[str, Addresses],
    namespaces: Mapping[str, Namespace],
    first_index: int,
) -> list[Cable]:
    """Return a cable to each host, with indexes in order from `first_index`."""
    return [
        Cable(
            name=interface(host),
            index=index,
            namespace=namespaces[host],
            addresses=addresses[host],
        )
        for index, host in enumerate(hosts, first_index)
    ]


def lead_to(links: Links, cables: Iterable[Cable], gateways: Addresses, peer: str = UPLINK) -> None:
    """Create cables whose upper ends have our gateway address and a route to the lower end's.

    `peer` is the name of the lower ends.
    """
    for cable in cables:
        plug(links, cable, peer)
        for family, address in cable.addresses.items():
            links.add_address(cable.name, single_cidr(family, gateways[family]))
            links.add_route(
                Route(
                    destination=single_cidr(family, address),
                    link=cable.name,
                    source=gateways[family],
                )
            )


def plug(links: Links, cable: Cable, peer: str, mac: str = "") -> None:
    """Create a cable whose lower end is called `peer` and has that MAC; set its upper end up."""
    links.add_veth(
        cable.name,
        peer=peer,
        peer_namespace=cable.namespace,
        index=cable.index,
        peer_mac=mac,
        up=True,
    )


def attach(
    links: Links,
    addresses: Addresses,
    gateways: Addresses,
    prefixes: Mapping[Family, int] = _SINGLE,
) -> None:
    """Set up the lower end of a cable: `eth0` is the link of the default route.

    `prefixes` has other lengths if the host has neighbours besides its gateway.
    """
    links.up("lo")
    links.up(UPLINK)
    for family, address in addresses.items():
        links.add_address(UPLINK, f"{address}/{prefixes[family]}")
        if prefixes is _SINGLE:
            links.add_route(Route(destination=single_cidr(family, gateways[family]), link=UPLINK))
        links.add_route(Route(destination=ANYWHERE[family], link=UPLINK, via=gateways[family]))


def single_cidr(family: Family, address: str) -> str:
    """Return the CIDR that has only this address."""
    return f"{address}/{_SINGLE[family]}"


def await_all_ready(namespaces: Mapping[str, Namespace], families: Collection[Family]) -> None:
    """Wait until all links carry packets of these families, for which kernel workers have something
    left to do.

    Raises KernelRefused after a timeout.
    """
    for name, namespace in namespaces.items():
        with namespace.entered(), Links() as links:
            _await(partial(links.all_ready, families), f"the links of {name} do not carry packets")


def await_ready(links: Links, names: Collection[str]) -> None:
    """Wait as `await_all_ready` does, but only for some links of one namespace."""
    _await(partial(links.are_ready, names), f"the links {', '.join(names)} do not carry packets")


def _await(ready: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while not ready():
        if time.monotonic() > deadline:
            raise KernelRefused(complaint)
        time.sleep(0.001)
