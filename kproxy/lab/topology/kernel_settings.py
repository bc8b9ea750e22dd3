"""Kernel settings of a lab's hosts. Namespaces inherit some from the machine's first namespace, so
all settings that matter are seen to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kproxy.address import Family
from kproxy.kernel import sysctl
from kproxy.kernel.netns import Namespace

_AT_ONCE = 64  # namespaces for a root of `sysctl`: it is quick while it knows few
_BRIDGE_NETFILTER = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Hosts with the same settings. `strict` sets strict reverse path filtering of IPv4 (RFC 3704),
    which IPv6 does not have.
    """

    forwards: bool = False
    strict: bool = False
    filters_bridges: bool = False


def set_up_kernels(families: Iterable[Family], hosts: Iterable[tuple[Namespace, Kind]]) -> None:
    """Write the settings of new namespaces, in the order in which these were created, before links
    are made: they copy `default`.

    New namespaces are alike, so what the first and the last of a kind have had from the start,
    those between them have as well. Most settings are like that, and each takes 30 us to look at.
    """
    families = [*families]
    by_kind: defaultdict[Kind, list[Namespace]] = defaultdict(list)
    for namespace, kind in hosts:
        by_kind[kind].append(namespace)
    for kind, (first, *others) in by_kind.items():
        with first.entered():
            settings = [*_settings(families, kind)]
            needed = _write(settings)
        if others:
            with others.pop().entered():
                if _write(settings) != needed:  # somebody has changed what they inherit meanwhile
                    needed = settings
        for start in range(0, len(others), _AT_ONCE):
            with sysctl.own_root() as root:
                for namespace in others[start : start + _AT_ONCE]:
                    with namespace.entered():
                        for name, value in needed:
                            sysctl.write(name, value, root)


def _write(settings: Iterable[tuple[str, int | str]]) -> list[tuple[str, int | str]]:
    """Write settings and return those that were different."""
    return [(name, value) for name, value in settings if sysctl.write(name, value)]


def _settings(families: Iterable[Family], kind: Kind) -> Iterator[tuple[str, int | str]]:
    """Yield the settings for hosts of a kind; `ip_forward` is first, as it resets others."""
    yield "net/ipv4/ip_forward", int(kind.forwards)
    for scope in ("all", "default", "lo"):
        yield f"net/ipv4/conf/{scope}/rp_filter", int(kind.strict)
        for name in ("route_localnet", "accept_redirects", "accept_local"):
            yield f"net/ipv4/conf/{scope}/{name}", 0
        for name in ("arp_ignore", "arp_announce", "arp_filter"):
            yield f"net/ipv4/conf/{scope}/{name}", 0
        if kind.forwards:  # nobody else sends redirects
            yield f"net/ipv4/conf/{scope}/send_redirects", 0
    # No ICMP type is rate limited: every client must receive its refusal.
    yield "net/ipv4/icmp_ratemask", 0
    if Family.IPV6 in families:
        for scope in ("all", "default"):
            yield f"net/ipv6/conf/{scope}/disable_ipv6", 0
            yield f"net/ipv6/conf/{scope}/forwarding", int(kind.forwards)
            # Link-local addresses, which neighbour discovery needs, are usable at once.
            yield f"net/ipv6/conf/{scope}/accept_dad", 0
        # Nor are routers solicited. The kernel asks the interface only, whose settings are those of
        # `default`.
        yield "net/ipv6/conf/default/accept_ra", 0
        yield "net/ipv6/conf/lo/disable_ipv6", 0
        yield "net/ipv6/icmp/ratemask", ""
    if Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").exists():
        yield "net/netfilter/nf_conntrack_tcp_be_liberal", 0
    # Without br_netfilter no bridge is filtered; with it, a new namespace filters all bridges. Only
    # nodes and the router may have one.
    if kind.filters_bridges or (kind.forwards and Path("/proc/sys/net/bridge").exists()):
        for name in _BRIDGE_NETFILTER:
            yield f"net/bridge/{name}", int(kind.filters_bridges)
