"""Routing without any Service: the next hop of a packet, and the source addresses of hosts.

It does what the kernels of a lab do with the routes that `Network` describes. A node has its pods
on links of their own and a default route to the router; a pod's default route is its node, a
client's the router.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from kproxy.address import Family, family_of
from kproxy.errors import BadInput
from kproxy.forwarding.network import Host, HostKind, Network

# Of answers about addresses: parsing them took a sixth of the time of predictions.
_REMEMBERED = 4096
HOP_LIMIT = 64  # of Linux: net.ipv4.ip_default_ttl, net.ipv6.conf.default.hop_limit


@lru_cache(_REMEMBERED)
def contains(cidr: str, address: str) -> bool:
    """Tell whether `cidr` (or single address) holds `address`; false across families."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


@lru_cache(_REMEMBERED)
def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def is_own(host: Host, address: str) -> bool:
    """Tell whether `address` is the host's own: of an interface, or loopback (addrtype LOCAL)."""
    return address in host.addresses or address in host.bound or is_loopback(address)


def next_hop(network: Network, host: Host, address: str) -> Host | None:
    """Return the host that gets a packet for `address` next.

    That is `host` itself if the address is its own; None if there is no route.
    """
    if is_own(host, address):
        return host
    match host.kind:
        case HostKind.POD:
            return network.hosts[host.node]
        case HostKind.CLIENT | HostKind.EDGE:
            return router_of(network)
        case HostKind.NODE:
            pod = _owner(network, address, HostKind.POD)
            return pod if pod and pod.node == host.name else router_of(network)
        case HostKind.ROUTER:
            return _routed(network, address)


def path(network: Network, start: Host, address: str) -> tuple[str, ...]:
    """Return the names of the hosts on the way from `start` to the one with `address`, inclusive.

    The way ends early where there is no route, or where the hop limit is used up.
    """
    here, names = start, [start.name]
    for _ in range(HOP_LIMIT):
        following = next_hop(network, here, address)
        if following is None or following is here:
            break
        here = following
        names.append(here.name)
    return tuple(names)


def source_for(network: Network, host: Host, address: str) -> str:
    """Return the source address of a process on `host` that connects to `address`, before any NAT.

    It is "" if the host has no address of that family.
    """
    if is_loopback(address):
        return "::1" if family_of(address) is Family.IPV6 else "127.0.0.1"
    if is_own(host, address):
        return address
    return address_towards(host, next_hop(network, host, address), address)


def address_towards(host: Host, neighbour: Host | None, like: str) -> str:
    """Return the address of `host` on its link to `neighbour`, of the family of `like`, or "".

    It is the source of the host's own packets on that link and what MASQUERADE puts there: the
    gateway address towards a pod of this node, else the primary address.
    """
    if neighbour and neighbour.kind is HostKind.POD:
        gateway = _same_family(host.gateways, like)
        if gateway:
            return gateway
    return primary_address(host, like)


def primary_address(host: Host, like: str) -> str:
    """Return the first address of `host` in the family of `like`, or ""."""
    return _same_family(host.addresses, like)


def router_of(network: Network) -> Host:
    """Return the router. Raises BadInput if the network does not have exactly one."""
    routers = network.routers
    if len(routers) != 1:
        raise BadInput([f"a network needs exactly one router, this one has {len(routers)}"])
    return routers[0]


def _routed(network: Network, address: str) -> Host | None:
    """Return the router's next hop: addresses of hosts first, then the longest matching prefix."""
    owner = _owner(network, address, HostKind.NODE, HostKind.POD, HostKind.CLIENT)
    if owner:
        return network.hosts[owner.node] if owner.kind is HostKind.POD else owner
    matching = [cidr for cidr in network.routes if contains(cidr, address)]
    if not matching:
        return None
    longest = max(matching, key=lambda cidr: ipaddress.ip_network(cidr).prefixlen)
    return network.hosts[network.routes[longest]]


def _owner(network: Network, address: str, *kinds: HostKind) -> Host | None:
    return next((host for host in network.owners.get(address, ()) if host.kind in kinds), None)


def _same_family(addresses: Iterable[str], like: str) -> str:
    wanted = family_of(like)
    return next((address for address in addresses if family_of(address) is wanted), "")
