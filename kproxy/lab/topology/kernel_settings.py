"""Kernel settings of a lab's hosts. Namespaces inherit some from the machine's first namespace, so
all settings that matter are written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kproxy.address import Family
from kproxy.kernel import sysctl

_BRIDGE_NETFILTER = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")


def set_up_kernel(
    families: Iterable[Family],
    *,
    forwards: bool,
    strict: bool = False,
    filters_bridges: bool = False,
) -> None:
    """Write the settings of the calling thread's namespace, before links are made: they copy
    `default`. `ip_forward` is first, as it resets others.

    `strict` sets strict reverse path filtering of IPv4 (RFC 3704), which IPv6 does not have.
    """
    sysctl.write("net/ipv4/ip_forward", int(forwards))
    for scope in ("all", "default", "lo"):
        sysctl.write(f"net/ipv4/conf/{scope}/rp_filter", int(strict))
        for name in ("route_localnet", "accept_redirects", "send_redirects"):
            sysctl.write(f"net/ipv4/conf/{scope}/{name}", 0)
        for name in ("accept_local", "arp_ignore", "arp_announce", "arp_filter"):
            sysctl.write(f"net/ipv4/conf/{scope}/{name}", 0)
    # No ICMP type is rate limited: every client must receive its refusal.
    sysctl.write("net/ipv4/icmp_ratemask", 0)
    if Family.IPV6 in families:
        for scope in ("all", "default"):
            sysctl.write(f"net/ipv6/conf/{scope}/disable_ipv6", 0)
            sysctl.write(f"net/ipv6/conf/{scope}/forwarding", int(forwards))
            # Link-local addresses, which neighbour discovery needs, are usable at once.
            for name in ("accept_dad", "dad_transmits", "accept_ra", "router_solicitations"):
                sysctl.write(f"net/ipv6/conf/{scope}/{name}", 0)
        sysctl.write("net/ipv6/conf/lo/disable_ipv6", 0)
        sysctl.write("net/ipv6/icmp/ratelimit", 0)
        sysctl.write("net/ipv6/icmp/ratemask", "")
    if Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").exists():
        sysctl.write("net/netfilter/nf_conntrack_tcp_be_liberal", 0)
    # Without br_netfilter no bridge is filtered; with it, a new namespace filters all bridges.
    if filters_bridges or Path("/proc/sys/net/bridge").exists():
        for name in _BRIDGE_NETFILTER:
            sysctl.write(f"net/bridge/{name}", int(filters_bridges))
