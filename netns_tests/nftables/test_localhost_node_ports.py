"""Rules that reject packets to node ports on loopback addresses, and what is left of them.

The listeners that serve such node ports are in test_localhost_proxy.py.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from typing import Literal

import pytest
from kproxy_nftables import NftablesOptions
from kproxy_nftables.backend import NftablesBackend
from kproxy_nftables.localhost_listeners import ADDRESS
from msgspec import structs
from scapy.layers.sctp import SCTP, SCTPChunkInit

from kproxy.address import Family
from kproxy.backend import Delta
from kproxy.config import ProxyConfig
from kproxy.forwarding.plan import LoopbackNodePorts, Plan
from kproxy.kernel.nftables.session import Session, TableReader
from kproxy.kernel.process import run
from kproxy.testing import LabFactory
from kproxy.testing.node import new_node
from kproxy.versions import Version
from netns_tests.conformance import dump
from netns_tests.conformance.comparison import State, parse
from tests.forwarding import plans
from tests.forwarding.plans import WEB_6, Web

IGNORED, REJECTED, SERVED = LoopbackNodePorts
Layout = Literal["kube-proxy", "flat"]
LAYOUTS: tuple[Layout, ...] = ("kube-proxy", "flat")
WEB = {Family.IPV4: Web(on=("pod-a", "pod-b")), Family.IPV6: WEB_6}
WORD = {Family.IPV4: "ip", Family.IPV6: "ip6"}
PORT = 30080
KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
FULL = Delta(full=True)
GATE = "KubeProxyNFTablesLocalhostNodePorts"


def plan(fate: LoopbackNodePorts, family: Family = Family.IPV4, *, protocol: str = "TCP") -> Plan:
    node = structs.replace(plans.settings("node-a", family=family), loopback_node_ports=fate)
    return plans.plan([structs.replace(WEB[family], protocol=protocol)], node)


@contextmanager
def backend(layout: Layout, family: Family = Family.IPV4) -> Iterator[NftablesBackend]:
    """Yield a backend for the node of the calling thread, as a new proxy would have it."""
    options = NftablesOptions(nftables_layout=layout)
    with closing(NftablesBackend(family, options)) as made:
        yield made


@pytest.fixture
def _node() -> Iterator[None]:
    with new_node():
        yield


pytestmark = pytest.mark.usefixtures("_node")


def counters(family: Family = Family.IPV4) -> dict[str, int]:
    """Return the named counters of the table, by the ends of their names."""
    with Session() as session:
        found = TableReader(session, family, "kube-proxy").counters()
    return {name.removeprefix("localhost-nodeport-rejected-"): found[name] for name in found}


def ask(family: Family, protocol: str, port: int = PORT) -> bytes:
    """Send a line to a port on the loopback address; return the answer, or raise."""
    with socket.socket(family.socket_family, KINDS[protocol]) as client:
        client.settimeout(10)
        client.connect((ADDRESS[family], port))
        client.send(b"?\n")
        return client.recv(10)


@contextmanager
def listening(family: Family, protocol: str, port: int = PORT) -> Iterator[socket.socket]:
    """Let another process of the node have a port on its loopback address."""
    with socket.socket(family.socket_family, KINDS[protocol]) as server:
        server.bind((ADDRESS[family], port))
        if protocol == "TCP":
            server.listen()
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("protocol", KINDS)
def test_packets_are_refused_and_counted(layout: Layout, family: Family, protocol: str) -> None:
    """They never get to a process that listens there.

    In IPv6 a TCP client sends two packets: Linux 6.18 takes no notice of a refusal that comes while
    connect() is still at work, as over lo.
    """
    with backend(layout, family) as ours, listening(family, protocol) as server:
        ours.sync(plan(IGNORED, family, protocol=protocol), FULL)
        with socket.socket(family.socket_family, KINDS[protocol]) as client:
            client.connect((ADDRESS[family], PORT))  # its process answers
        ours.sync(plan(REJECTED, family, protocol=protocol), FULL)
        assert ours.rejected_packets() == {"TCP": 0, "UDP": 0, "SCTP": 0}
        for _ in range(2):
            before = ours.rejected_packets()
            with pytest.raises(ConnectionRefusedError):
                ask(family, protocol)
            counted = ours.rejected_packets()
            assert counted.pop(protocol) > before.pop(protocol)
            assert counted == before
        total = ours.rejected_packets()[protocol]
        if protocol == "TCP":
            server.accept()[0].close()  # of the client that came before
            server.settimeout(0)
            with pytest.raises(BlockingIOError):
                server.accept()
        else:
            with pytest.raises(BlockingIOError):
                server.recv(10)
        with (
            listening(family, protocol, PORT + 1),
            socket.socket(family.socket_family, KINDS[protocol]) as client,
        ):
            client.connect((ADDRESS[family], PORT + 1))  # no node port
            client.send(b"?")
        assert ours.rejected_packets() == {**counted, protocol: total}


def test_every_address_of_127_is_concerned() -> None:
    with backend("kube-proxy") as ours, socket.socket() as server:
        server.bind(("127.9.9.9", PORT))
        server.listen()
        ours.sync(plan(REJECTED), FULL)
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.9.9.9", PORT))


@pytest.mark.parametrize("family", Family)
def test_sctp(family: Family) -> None:
    """The kernel need not have SCTP to refuse it."""
    with (
        backend("kube-proxy", family) as ours,
        socket.socket(family.socket_family, socket.SOCK_RAW, socket.IPPROTO_SCTP) as client,
    ):
        ours.sync(plan(SERVED, family, protocol="SCTP"), FULL)
        packet = SCTP(sport=40000, dport=PORT) / SCTPChunkInit(init_tag=1, a_rwnd=65535)
        client.sendto(bytes(packet), (ADDRESS[family], 0))
        assert ours.rejected_packets() == {"UDP": 0, "SCTP": 1}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counters_are_kept(layout: Layout) -> None:
    """Full syncs, repairs, Services that go, and other proxies of either layout keep them."""
    with backend(layout) as ours:
        ours.sync(plan(REJECTED), FULL)
        with pytest.raises(ConnectionRefusedError):
            ask(Family.IPV4, "TCP")
        before = {"tcp": 1, "udp": 0, "sctp": 0}
        ours.sync(plan(REJECTED), FULL)
        assert counters() == before
        former = plan(REJECTED)
        (name,) = former.services
        nothing = structs.replace(former, services={})
        ours.sync(nothing, Delta(before={name: former.services[name]}))
        assert counters() == before
        with listening(Family.IPV4, "TCP"), socket.socket() as client:
            client.connect(("127.0.0.1", PORT))  # no node port any more
        ours.sync(plan(REJECTED), Delta(before={name: None}))
        run(["nft", "flush chain ip kube-proxy localhost-nodeport-reject-udp"])
        assert not ours.intact()
        ours.sync(plan(REJECTED), FULL)
        assert counters() == before
    for other in (*LAYOUTS, layout):
        with backend(other) as ours:
            ours.sync(plan(REJECTED), FULL)
            assert counters() == before
            assert ours.intact()
            with pytest.raises(ConnectionRefusedError):
                ask(Family.IPV4, "TCP")
            before["tcp"] += 1


def state() -> State:
    """Return the table as nft prints it, with counters, but without what they have counted."""
    return parse(dump.nftables())


def fresh_state(fate: LoopbackNodePorts, layout: Layout, family: Family) -> State:
    with new_node(), backend(layout, family) as ours:
        ours.sync(plan(fate, family), FULL)
        return state()


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize(
    "fates", [*product(LoopbackNodePorts, repeat=2), (REJECTED, SERVED, IGNORED, REJECTED)], ids=str
)
def test_any_start_takes_over_from_any_other(
    fates: tuple[LoopbackNodePorts, ...],
    first: Layout,
    second: Layout,
    family: Family,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also one that serves TCP from one that rejected it: elements lead to a chain that goes."""
    with backend(first, family) as ours:
        ours.sync(plan(fates[0], family), FULL)
        if fates[0] is REJECTED:
            with pytest.raises(ConnectionRefusedError):
                ask(family, "TCP")
    for fate in fates[1:]:
        with backend(second, family) as ours:
            with caplog.at_level(logging.DEBUG, "kproxy"):
                ours.sync(plan(fate, family), FULL)
            assert "created again" not in caplog.text  # with new counters
            assert state() == fresh_state(fate, second, family)
            assert ours.intact()


def test_the_table_of_before_is_that_of_a_proxy_without_the_gate() -> None:
    with backend("kube-proxy") as ours:
        ours.sync(plan(IGNORED), FULL)
        assert "localhost" not in run(["nft", "list", "ruleset"])
        assert counters() == {}
        assert ours.rejected_packets() == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_changes_of_services_are_followed(layout: Layout) -> None:
    """Elements come and go with service ports: a table with history is like a new one."""
    with backend(layout) as ours:
        node = plan(REJECTED).settings
        webs = [Web(name="a"), Web(name="b", cluster_ip="10.96.0.11", node_port=PORT, on=())]
        before = plans.plan(webs, node)
        ours.sync(before, FULL)
        kept = plans.plan(webs[1:], node)
        (gone,) = before.services.keys() - kept.services.keys()
        ours.sync(kept, Delta(before={gone: before.services[gone]}))
        with pytest.raises(ConnectionRefusedError), listening(Family.IPV4, "TCP"):
            ask(Family.IPV4, "TCP")  # the other one has this node port as well
        found = state()
        assert ours.intact()
    with new_node(), backend(layout) as fresh:
        fresh.sync(kept, FULL)
        assert state() == found


_MAP = "ip kube-proxy localhost-nodeport-reject-ports"
_CHAIN = "ip kube-proxy localhost-nodeport-reject-tcp"
_FLUSH = f"flush chain {_CHAIN}"
_DELETE_COUNTER = "delete counter ip kube-proxy localhost-nodeport-rejected-tcp"
DAMAGE = [  # commands of another program
    f"flush map {_MAP}",
    f"add element {_MAP} {{ tcp . 22 : drop }}",
    _FLUSH,
    f"{_FLUSH}; add rule {_CHAIN} counter reject; {_DELETE_COUNTER}",
    f"flush map {_MAP}; {_FLUSH}; delete chain {_CHAIN}; {_DELETE_COUNTER}",
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("harm", DAMAGE)
def test_damage_is_noticed_and_repaired(layout: Layout, harm: str) -> None:
    with backend(layout) as ours:
        ours.sync(plan(REJECTED), FULL)
        assert ours.intact()
        run(["nft", harm])
        assert not ours.intact()
        ours.sync(plan(REJECTED), FULL)
        assert ours.intact()
        assert state() == fresh_state(REJECTED, layout, Family.IPV4)


def test_counters_of_others_in_our_table_go_when_it_is_written() -> None:
    with backend("kube-proxy") as ours:
        run(["nft", "add table ip kube-proxy; add counter ip kube-proxy mine"])
        ours.sync(plan(IGNORED), FULL)
        assert counters() == {}


def test_cleanup_leaves_nothing() -> None:
    with backend("kube-proxy") as ours:
        before = run(["nft", "list", "ruleset"])
        ours.sync(plan(REJECTED), FULL)
        ours.cleanup()
        assert run(["nft", "list", "ruleset"]) == before


def test_an_older_version_removes_everything(kproxy_lab: LabFactory) -> None:
    """As 1.36 knows no such objects, its tables must look as if there had never been any."""
    lab = kproxy_lab(mode="nftables", config=ProxyConfig(feature_gates={GATE: True}))
    node = lab.nodes["node-a"].namespace
    with node.entered():
        assert counters().keys() == {"tcp", "udp", "sctp"}
    lab.restart_proxies(emulate=Version.V1_36)
    with node.entered():
        old = state()
        assert counters() == {}
    plain = kproxy_lab(mode="nftables", emulate="1.36")
    with plain.nodes["node-a"].namespace.entered():
        assert state() == old
    lab.restart_proxies(emulate=Version.V1_37)
    with node.entered():
        assert counters() == {"tcp": 0, "udp": 0, "sctp": 0}
