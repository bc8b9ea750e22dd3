"""Hosts of a lab have all settings that matter, whatever they inherit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links
from kproxy.kernel.netns import Namespace
from kproxy.lab.topology.cables import await_ready
from kproxy.lab.topology.kernel_settings import Kind, set_up_kernels

KINDS = (Kind(), Kind(forwards=True), Kind(forwards=True, strict=True))
FORWARDING = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
)
# Settings that a new namespace has otherwise, or may inherit otherwise.
WANTED = {
    **{f"net/ipv4/conf/{scope}/arp_ignore": "0" for scope in ("all", "default", "lo")},
    **{f"net/ipv4/conf/{scope}/accept_redirects": "0" for scope in ("all", "default", "lo")},
    **{f"net/ipv6/conf/{scope}/accept_dad": "0" for scope in ("all", "default")},
    "net/ipv4/icmp_ratemask": "0",
    "net/ipv6/icmp/ratemask": "",
}


@pytest.fixture
def namespaces() -> Iterator[list[Namespace]]:
    with ExitStack() as undo:
        yield [undo.enter_context(Namespace.create()) for _ in range(4 * len(KINDS))]


def test_all_hosts_of_a_kind_have_them(namespaces: list[Namespace]) -> None:
    hosts = list(zip(namespaces, KINDS * 4, strict=True))
    set_up_kernels(Family, hosts)
    for namespace, kind in hosts:
        with namespace.entered():
            assert settings() == WANTED
            for name in FORWARDING:
                assert sysctl.read(name) == str(int(kind.forwards))
            assert sysctl.read("net/ipv4/conf/default/rp_filter") == str(int(kind.strict))
            if kind.forwards:  # nobody else sends redirects
                for scope in ("all", "default", "lo"):
                    assert sysctl.read(f"net/ipv4/conf/{scope}/send_redirects") == "0"


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_link_asks_neither_routers_nor_for_duplicates(
    namespaces: list[Namespace], kind: Kind
) -> None:
    """Whatever the neighbour does, link-local addresses are usable at once and no others come."""
    host, neighbour = namespaces[:2]
    set_up_kernels(Family, [(host, kind), (neighbour, Kind())])
    with neighbour.entered(), Links() as theirs:
        theirs.add_veth("eth0", peer="eth0", peer_namespace=host, index=100, up=True)
        theirs.flush()
        with host.entered(), Links() as links:
            links.up("eth0")
            await_ready(links, ["eth0"])
            links.up("lo")
            links.flush()  # the kernel finishes what it does for an address before this
            assert sent("Icmp6OutMsgs") > 0  # reports of multicast groups
            assert sent("Icmp6OutNeighborSolicits") == 0
            assert sent("Icmp6OutRouterSolicits") == 0


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_what_they_inherit_may_change_meanwhile(namespaces: list[Namespace], changed: int) -> None:
    hosts = namespaces[:4]
    for namespace in hosts[changed:]:
        with namespace.entered():
            sysctl.write("net/ipv4/conf/all/arp_ignore", 1)
            sysctl.write("net/ipv4/conf/lo/arp_ignore", 1)
    set_up_kernels(Family, [(namespace, Kind()) for namespace in hosts])
    for namespace in hosts:
        with namespace.entered():
            assert settings() == WANTED


def sent(counter: str) -> int:
    """Return a counter of ICMPv6 in the thread's namespace."""
    lines = Path("/proc/thread-self/net/snmp6").read_text().splitlines()
    return {name: int(value) for name, value in map(str.split, lines)}[counter]


def settings() -> dict[str, str]:
    return {name: sysctl.read(name) for name in WANTED}
