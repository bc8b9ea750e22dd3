"""Dumps what a service proxy left in the calling thread's namespace, as in the recordings.

It is read with the kernel's own tools, not by kproxy's code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import legacy_tables, sysctl
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_save import TABLES
from kproxy.kernel.process import run

# Values that the kernel chose for a set: sizes, and a random number.
_SET_SIZES = re.compile(r" (?:hashsize|maxelem|bucketsize|initval) \S+")

SYSCTLS = (
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/vs/conntrack",
    "net/ipv4/vs/conn_reuse_mode",
    "net/ipv4/vs/expire_nodest_conn",
    "net/ipv4/vs/expire_quiescent_template",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_announce",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)


def iptables(variant: Variant) -> str:
    """Return the tables of both families. Reading a legacy table creates it."""
    if variant == "legacy":  # so that one process finds all of them
        for family, table in product(Family, TABLES):
            legacy_tables.require(family, table)
    return "".join(
        _section(command, _chains_and_rules(_tables(f"{command}-{variant}-save")))
        for command in ("iptables", "ip6tables")
    )


def ipvs(variant: Variant) -> str:
    """Return virtual and real servers, sets, kube-ipvs0's addresses, and what `iptables` does."""
    servers = run(["ipvsadm", "--save", "--numeric"]).splitlines()
    sets = _SET_SIZES.sub("", run(["ipset", "save"])).splitlines()
    return (
        _section("ipvs", servers)
        + _section("ipset", sets)
        + _section("kube-ipvs0", _service_addresses())
        + iptables(variant)
    )


def nftables() -> str:
    """Return the tables of the nftables mode, "" for a family that has none."""
    return "".join(_nft_table(family) for family in ("ip", "ip6"))


def sysctls() -> str:
    """Return the settings a service proxy may write; a value is empty if the kernel lacks it."""
    return _section("sysctl", (f"{name} = {_setting(name)}" for name in SYSCTLS))


def _section(name: str, lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in [f"## {name}", *lines])


def _tables(command: str) -> str:
    """Return the tables. The existing ones take one process, each of the others one more."""
    saved = run([command])
    found = (re.search(rf"^\*{table}$.*?^COMMIT$", saved, re.DOTALL | re.M) for table in TABLES)
    return "\n".join(
        there[0] if there else run([command, "-t", table])
        for table, there in zip(TABLES, found, strict=True)
    )


def _chains_and_rules(saved: str) -> Iterator[str]:
    for line in saved.splitlines():
        if line.startswith(":"):
            yield line.split(maxsplit=1)[0]  # without policy and counters
        elif line.startswith(("*", "-A ")):
            yield line


def _service_addresses() -> list[str]:
    """Return the addresses of the link; none also if it does not exist."""
    try:
        shown = run(["ip", "-oneline", "address", "show", "dev", "kube-ipvs0", "scope", "global"])
    except KernelRefused:
        return []
    return re.findall(r"inet6? (\S+)", shown)


def _nft_table(family: str) -> str:
    try:
        return run(["nft", "--stateless", "list", "table", family, "kube-proxy"]) + "\n"
    except KernelRefused:
        return ""


def _setting(name: str) -> str:
    try:
        return sysctl.read(name)
    except Unsupported:
        return ""
