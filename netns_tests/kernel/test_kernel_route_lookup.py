"""Routing decisions, asked of the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.errors import KernelRefused
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.kernel.route_lookup import FoundRoute, route_of

COMMANDS = """\
link set lo up
link add eth0 type veth peer name eth1
link set eth0 up
link set eth1 up
address add 192.0.2.1/24 dev eth0
address add 2001:db8::1/64 dev eth0 nodad
route add default via 192.0.2.254
route add 2001:db8:1::/48 via 2001:db8::fe
route add blackhole 198.51.100.0/24
route add unreachable 203.0.113.0/24
route add 10.0.0.0/8 dev eth0 table 100
rule add fwmark 7 lookup 100
"""


@pytest.fixture(scope="module", autouse=True)
def host() -> Iterator[None]:
    with Namespace.create() as namespace, namespace.entered():
        for line in COMMANDS.splitlines():
            family = ["-6"] if "2001:" in line else []
            run(["ip", *family, *line.split()])
        yield


FOUND = [  # destination, mark -> route
    ("192.0.2.9", 0, FoundRoute(kind="unicast", via="", dev="eth0", table="main")),
    ("8.8.8.8", 0, FoundRoute(kind="unicast", via="192.0.2.254", dev="eth0", table="main")),
    ("192.0.2.1", 0, FoundRoute(kind="local", via="", dev="lo", table="")),
    ("10.1.2.3", 0, FoundRoute(kind="unicast", via="192.0.2.254", dev="eth0", table="main")),
    ("10.1.2.3", 7, FoundRoute(kind="unicast", via="", dev="eth0", table="100")),
    ("2001:db8:1::5", 0, FoundRoute(kind="unicast", via="2001:db8::fe", dev="eth0", table="main")),
    ("2001:db8::1", 0, FoundRoute(kind="local", via="", dev="lo", table="")),
]


@pytest.mark.parametrize(("destination", "mark", "route"), FOUND)
def test_routes(destination: str, mark: int, route: FoundRoute) -> None:
    assert route_of(destination, mark=mark) == route


NONE = [  # destination, source, entry -> the kernel's words
    ("198.51.100.1", "", "", "Invalid argument"),  # a black hole
    ("203.0.113.1", "", "", "No route to host"),
    ("2001:db8:2::1", "", "", "Network is unreachable"),
    ("8.8.8.8", "192.0.2.9", "eth0", "No route to host"),  # it forwards nothing
]


@pytest.mark.parametrize(("destination", "source", "entry", "words"), NONE)
def test_no_route(destination: str, source: str, entry: str, words: str) -> None:
    with pytest.raises(KernelRefused, match=words):
        route_of(destination, source=source, entry=entry)
