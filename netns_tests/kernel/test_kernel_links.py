"""Links, addresses, routes and settings of a namespace."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kproxy.address import Family, family_of
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.lab.topology.cables import await_ready


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """Make left with to-right (10.0.0.1, fd00::1) and right with eth0 (no addresses), all up."""
    with Namespace.create("left") as left, Namespace.create("right") as right:
        with left.entered(), Links() as links:
            links.add_veth("to-right", peer="eth0", peer_namespace=right)
            links.up("lo")
            links.up("to-right")
            links.add_address("to-right", "10.0.0.1/24")
            links.add_address("to-right", "fd00::1/64")
        with right.entered(), Links() as links:
            links.up("lo")
            links.up("eth0")
        yield left, right


def test_a_pair_between_two_namespaces(pair: tuple[Namespace, Namespace]) -> None:
    left, right = pair
    with left.entered():
        assert _names() == ["lo", "to-right"]
        shown = run(["ip", "-brief", "address", "show", "to-right"])
        assert {"10.0.0.1/24", "fd00::1/64"} <= set(shown.split())
        assert "tentative" not in run(["ip", "-6", "addr", "show", "to", "fd00::/64"])
    with right.entered(), Links() as links:
        assert _names() == ["lo", "eth0"]
        links.delete("eth0")
        assert _names() == ["lo"]
    with left.entered():
        assert _names() == ["lo"]


def test_both_ends_are_made_with_the_one_queue_that_they_use(
    pair: tuple[Namespace, Namespace],
) -> None:
    """Else the kernel makes one for each CPU, and waits for all readers before it leaves one."""
    for namespace, name in zip(pair, ("to-right", "eth0"), strict=True):
        with namespace.entered():
            (link,) = json.loads(run(["ip", "-json", "-details", "link", "show", name]))
            assert (link["num_tx_queues"], link["num_rx_queues"]) == (1, 1)


def _names() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def test_ready_means_that_a_host_reaches_its_own_addresses(
    pair: tuple[Namespace, Namespace],
) -> None:
    """A kernel worker adds the routes to them; until then such packets leave by another one."""
    added = [f"fd00:77::{number:x}" for number in range(1, 201)]
    with pair[1].entered(), Links() as links:
        for address in added:
            links.add_address("eth0", f"{address}/128")
        await_ready(links, ["eth0"])
        local = run(["ip", "-6", "route", "show", "table", "local"])
        await_ready(links, ["lo", "eth0"])
        assert links.all_ready()
        assert not links.are_ready(["eth0", "nobody"])
    assert {line.split()[1] for line in local.splitlines() if line[:5] == "local"} >= set(added)


ROUTES = [  # route, the output of `ip route`
    (
        Route(destination="10.0.0.9/32", link="to-right"),
        "10.0.0.9 dev to-right proto static scope link",
    ),
    (
        Route(destination="10.0.0.9/32", link="to-right", source="10.0.0.1"),
        "10.0.0.9 dev to-right proto static scope link src 10.0.0.1",
    ),
    (
        Route(destination="10.7.0.0/16", link="to-right", via="10.0.0.2"),
        "10.7.0.0/16 via 10.0.0.2 dev to-right proto static",
    ),
    (
        Route(destination="0.0.0.0/0", link="to-right", via="10.0.0.2"),
        "default via 10.0.0.2 dev to-right proto static",
    ),
    (
        Route(destination="fd07::/64", link="to-right", via="fd00::2"),
        "fd07::/64 via fd00::2 dev to-right proto static metric 1024 pref medium",
    ),
    (
        Route(destination="::/0", link="to-right", via="fd00::2"),
        "default via fd00::2 dev to-right proto static metric 1024 pref medium",
    ),
]


@pytest.mark.parametrize(("route", "text"), ROUTES)
def test_routes(pair: tuple[Namespace, Namespace], route: Route, text: str) -> None:
    with pair[0].entered(), Links() as links:
        links.add_route(route)
        links.add_route(route)
        links.flush()
        assert _routes(route).count(text) == 1
        links.delete_route(route)
        links.flush()
        assert text not in _routes(route)


@pytest.mark.parametrize(
    ("destination", "first", "second"),
    [("10.7.0.0/16", "10.0.0.2", "10.0.0.3"), ("fd07::/64", "fd00::2", "fd00::3")],
)
def test_a_route_takes_the_place_of_another(
    pair: tuple[Namespace, Namespace], destination: str, first: str, second: str
) -> None:
    with pair[0].entered(), Links() as links:
        for via in (first, second):
            links.add_route(Route(destination=destination, link="to-right", via=via))
        links.flush()
        found = [
            line for line in _routes(Route(destination=destination, link="")) if destination in line
        ]
        assert len(found) == 1
        assert f"via {second} " in found[0]


def _routes(route: Route) -> list[str]:
    family = "-6" if family_of(route.destination) is Family.IPV6 else "-4"
    return [line.strip() for line in run(["ip", family, "route"]).splitlines()]


def test_refusals(pair: tuple[Namespace, Namespace]) -> None:
    with pair[0].entered(), Links() as links:
        links.add_veth("to-right", peer="eth1", peer_namespace=pair[1])
        with pytest.raises(KernelRefused, match="cannot add veth to-right: File exists"):
            links.flush()
        with pytest.raises(KernelRefused, match="no link called nobody"):
            links.up("nobody")
        links.add_address("to-right", "10.0.0.1/24")
        with pytest.raises(
            KernelRefused, match=r"cannot add 10\.0\.0\.1/24 to to-right: File exists"
        ):
            links.flush()
        links.add_route(Route(destination="1.0.0.0/8", link="to-right", via="9.9.9.9"))
        with pytest.raises(KernelRefused, match=r"route 1\.0\.0\.0/8 dev to-right via 9\.9\.9\.9"):
            links.flush()


UNPRIVILEGED = """
import os
from kproxy.kernel.links import Links
from kproxy.kernel import sysctl
from kproxy.address import Family, family_of
from kproxy.errors import Unsupported
os.setgid(65534); os.setuid(65534)
def up():
    with Links() as links:
        links.up("lo")
for attempt in (up, lambda: sysctl.write("net/ipv4/ip_default_ttl", 65)):
    try:
        attempt()
    except Unsupported as error:
        print(error, "|", error.remedy)
"""


def test_without_privilege() -> None:
    with Namespace.create() as namespace, namespace.entered():
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True
        )
    first, second = done.stdout.splitlines()
    assert first.startswith("cannot set lo up: Operation not permitted | run as root")
    assert second.startswith("cannot set net/ipv4/ip_default_ttl to 65: Permission denied | run as")


def test_settings() -> None:
    with Namespace.create() as namespace, namespace.entered():
        assert sysctl.read("net/ipv4/ip_forward") == "0"
        assert sysctl.write("net/ipv4/ip_forward", 1) is True
        assert sysctl.write("net/ipv4/ip_forward", "1") is False
        assert sysctl.read("net/ipv4/ip_forward") == "1"
        assert sysctl.write("net/ipv4/ip_local_port_range", "20000 30000") is True
        assert sysctl.write("net/ipv4/ip_local_port_range", "20000  30000") is False
        with pytest.raises(KernelRefused, match="cannot set net/ipv4/ip_forward to x: Invalid"):
            sysctl.write("net/ipv4/ip_forward", "x")
        with pytest.raises(Unsupported, match="this kernel has no setting net/ipv4/nonsense"):
            sysctl.read("net/ipv4/nonsense")
