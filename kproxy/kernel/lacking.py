"""Errors that name what the kernel was built without, and the kernels that have it."""

from __future__ import annotations

import os
from typing import Literal

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.running import on_uml

_REMEDIES = {  # part, on user-mode Linux -> what to do
    ("legacy iptables", True): "use user-mode Linux 6.1 or 6.12, of Debian 12 or 13 (package "
    "user-mode-linux): 7.2 has neither legacy iptables nor nf_tables for IPv4 and IPv6",
    ("legacy iptables", False): "load ip_tables, iptable_nat, ip6_tables and ip6table_nat; if this "
    "kernel has no such modules, use --iptables-variant nft",
    ("ipsets", True): "use user-mode Linux 6.1 or 6.12, of Debian 12 or 13 (package "
    "user-mode-linux)",
    ("ipsets", False): "load ip_set, ip_set_hash_ip, ip_set_hash_ipport, ip_set_hash_ipportip, "
    "ip_set_hash_ipportnet and ip_set_bitmap_port; if this kernel has no such modules, use "
    "user-mode Linux (--kernel uml)",
    ("nf_tables", True): "use this machine's own kernel (--kernel host), which needs root, or "
    "iptables mode: no user-mode Linux of Debian has nf_tables for IPv4 and IPv6; 6.1 and 6.12, of "
    "Debian 12 and 13, have legacy iptables",
    ("nf_tables", False): "use a kernel that has CONFIG_NF_TABLES_IPV4 and CONFIG_NF_TABLES_IPV6",
}


def lacking(part: Literal["legacy iptables", "nf_tables", "ipsets"], family: Family) -> Unsupported:
    """Return the error that the running kernel has no such part."""
    kernel = "user-mode Linux" if on_uml() else "Linux"
    return Unsupported(
        f"this kernel ({kernel} {os.uname().release}) has no {part} for {family.value}",
        remedy=_REMEDIES[part, on_uml()],
    )


def require_nf_tables(family: Family) -> None:
    """Raise Unsupported if the kernel knows no table of the family. Nothing is changed."""
    from kproxy.kernel.nftables.objects import Table  # not needed in the legacy variant
    from kproxy.kernel.nftables.session import Session

    with Session() as session:
        try:
            session.rehearse([Table(family, "kproxy-rehearsal").create()])
        except KernelRefused:
            raise lacking("nf_tables", family) from None
