"""Dumps what a service proxy left in the calling thread's namespace, as in the recordings.

It is read with the kernel's own tools and pyroute2, not by kproxy's code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pyroute2 import IPRoute

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import legacy_tables, sysctl
from kproxy.kernel.ipset_indexes import Indexes
from kproxy.kernel.iptables_legacy.layout import COUNTERS, LAYOUTS
from kproxy.kernel.iptables_legacy.table import entries_of
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_save import TABLES
from kproxy.kernel.process import run

# Values that the kernel chose for a set: sizes, and a random number.
_SET_SIZES = re.compile(r" (?:hashsize|maxelem|bucketsize|initval) \S+")

_GLOBAL = 0  # RT_SCOPE_UNIVERSE
_COMMANDS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_known: dict[tuple[object, ...], str] = {}
"""What the programs of the legacy variant have printed, see `_legacy`."""

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


def iptables(variant: Variant, sets: Iterable[str] = ()) -> str:
    """Return the tables of both families. Reading a legacy table creates it.

    `sets`: all ipsets that there are, for rules that refer to some.
    """
    if variant == "legacy":
        return "".join(_legacy(family, sets) for family in Family)
    return "".join(_printed(f"{name}-{variant}-save") for name in _COMMANDS.values())


def _legacy(family: Family, sets: Iterable[str]) -> str:
    """Return what the program prints. It is not started again for what it has printed before: the
    same bytes in the kernel, which tell a set by its number. On user-mode Linux its start takes
    most of the time of a dump.
    """
    layout = LAYOUTS[family]
    for table in TABLES:  # so that one process finds all of them
        legacy_tables.require(family, table)
    entries = tuple(
        (table, each[: layout.size - COUNTERS.size], each[layout.size :])
        for table in TABLES
        for _, each in entries_of(layout, legacy_tables.entries(family, table))
    )
    with Indexes() as indexes:
        numbers = indexes.in_rule(" ".join(f"{name} --match-set {name}" for name in sets))
    what = family, entries, numbers
    if what not in _known:
        _known[what] = _printed(f"{_COMMANDS[family]}-legacy-save")
    return _known[what]


def _printed(command: str) -> str:
    return _section(command.partition("-")[0], _chains_and_rules(_tables(command)))


def ipvs(variant: Variant) -> str:
    """Return virtual and real servers, sets, kube-ipvs0's addresses, and what `iptables` does."""
    servers = run(["ipvsadm", "--save", "--numeric"]).splitlines()
    sets = _SET_SIZES.sub("", run(["ipset", "save"])).splitlines()
    names = [line.split()[1] for line in sets if line.startswith("create ")]
    return (
        _section("ipvs", servers)
        + _section("ipset", sets)
        + _section("kube-ipvs0", _service_addresses())
        + iptables(variant, names)
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
    with IPRoute() as route:
        return [
            f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}"
            for index in route.link_lookup(ifname="kube-ipvs0")
            for each in route.get_addr(index=index, scope=_GLOBAL)
        ]


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
