"""Which of a node's addresses count. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from kproxy.address import Family, family_of


def within(cidrs: Iterable[str], addresses: Iterable[str]) -> list[str]:
    """Return those of `addresses` that `local_addresses` would, if they were the interfaces'. Pure.

    Those of the other family than the CIDRs' are left out.
    """
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    return [
        address
        for address in in_order(addresses)
        if any(ipaddress.ip_address(address) in network for network in networks)
    ]


def of_node(family: Family, addresses: Iterable[str]) -> list[str]:
    """Return those of `addresses` that `node_addresses` would, if they were the interfaces'. Pure.

    Those of the other family are left out.
    """
    return [
        address
        for address in in_order(each for each in addresses if family_of(each) is family)
        if not (parsed := ipaddress.ip_address(address)).is_loopback
        and not (family is Family.IPV6 and parsed.is_link_local)
    ]


def in_order(addresses: Iterable[str]) -> list[str]:
    """Return them without repetitions, in the order of their numbers."""
    return sorted(set(addresses), key=lambda address: int(ipaddress.ip_address(address)))
