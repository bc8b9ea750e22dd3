"""kproxy is started in another mode on a live node: clients of Services must not notice."""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

import pytest
from msgspec import to_builtins

from kproxy.address import Family
from kproxy.api.types import Service, ServicePort
from kproxy.forwarding.network import Packet
from kproxy.kernel import conntrack, sysctl
from kproxy.kernel.ipvs import has_ipvs
from kproxy.kernel.process import run
from kproxy.lab import service
from kproxy.outcome import Connection, Outcome
from kproxy.probe import connect_many
from kproxy.testing import LabFactory, ProbedLab
from kproxy.versions import SINGLE_ENDPOINT_DNAT, Version
from netns_tests.conformance import dump
from netns_tests.modes import FLAT, Mode
from netns_tests.run.running import PATIENCE_S
from tests.warm_kproxy import run_kproxy

HOST_MODES = [
    Mode("iptables", "legacy"),
    Mode("iptables", "nft"),
    Mode("nftables"),
    Mode("nftables", layout="flat"),
]
IPVS = Mode("ipvs", "legacy")
PAIRS = [
    *permutations(HOST_MODES, 2),
    # The kernel that has ip_vs need not have NAT in nf_tables.
    pytest.param(HOST_MODES[0], IPVS, marks=pytest.mark.ipvs),
    pytest.param(IPVS, HOST_MODES[0], marks=pytest.mark.ipvs),
]

CLUSTER_IPS = {Family.IPV4: "10.96.0.10", Family.IPV6: "fd00:10:96::a"}
ECHO_PORT, ECHO_NODE_PORT, NODE_PORT = 7000, 30007, 30080
BEFORE_A_SECOND_SYN_S = 0.9  # a lost packet shows
# What is left of IPVS while it has connections: virtual servers, real servers without weight, their
# addresses, the chains that guard and masquerade these, and sets.
NEEDED = (
    r"-A -t|-a -t .* -w 0$|KUBE-IPVS-(FILTER|SOURCES)|"
    r"create KUBE-|add KUBE-(6-)?IPVS-IPS |[\da-f.:]+/\d+$"
)


class Echo:
    """Long-lived connections: a pod that echoes what it gets, and clients that keep sending."""

    def __init__(self, lab: ProbedLab, pod: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._clients: list[tuple[str, socket.socket]] = []
        self._accepted: list[socket.socket] = []
        self._stop = threading.Event()
        self._lab = lab
        with lab.pods[pod].namespace.entered():
            self._listeners = [
                socket.create_server((address, ECHO_PORT), family=number)
                for number, address in _numbered(lab.pods[pod].addresses)
            ]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Echo:
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ, "listener")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for each in (*(sock for _, sock in self._clients), *self._listeners, *self._accepted):
            each.close()
        self._selector.close()

    def connect(self, client: str, address: str, port: int) -> None:
        with self._lab.hosts[client].namespace.entered():
            sock = socket.create_connection((address, port), timeout=PATIENCE_S)
        self._clients.append((f"{client} -> {address}:{port}", sock))

    def ask_all(self, text: bytes) -> None:
        """Check that every connection that was ever made answers."""
        for name, sock in self._clients:
            try:
                sock.sendall(text)
                answer = sock.recv(len(text), socket.MSG_WAITALL)
            except OSError as error:
                pytest.fail(f"{name}: {error}")
            assert answer == text, name

    def _serve(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if key.data == "listener":
                    accepted = sock.accept()[0]
                    self._accepted.append(accepted)
                    self._selector.register(accepted, selectors.EVENT_READ, "connection")
                    continue
                try:
                    heard = sock.recv(4096)
                    sock.sendall(heard)
                except ConnectionResetError:
                    heard = b""
                if not heard:
                    self._selector.unregister(sock)


class Node:
    """A lab with one node and no proxy in it: `switch` runs kproxy as users do."""

    def __init__(self, lab: ProbedLab, folder: Path) -> None:
        self.lab = lab
        self._manifest = folder / "services.json"
        services = [
            _service("web", CLUSTER_IPS.values(), 80, 8080, NODE_PORT),
            _service("echo", _next(CLUSTER_IPS), 7, ECHO_PORT, ECHO_NODE_PORT),
        ]
        objects = [*lab.own_objects()]
        for each in services:
            objects += [each, *lab.slices(each)]
        items = [
            {
                "apiVersion": "discovery.k8s.io/v1" if kind == "EndpointSlice" else "v1",
                "kind": kind,
                **to_builtins(each),
            }
            for each in objects
            for kind in [type(each).__name__]
        ]
        self._manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def switch(self, mode: Mode, *flags: str) -> str:
        """Run kproxy in a mode; return what it wrote to its log."""
        argv = ["run", "--once", "--hostname-override=node-a"]
        argv += [f"--proxy-mode={mode.name}", f"--iptables-variant={mode.variant}"]
        argv += [f"--nftables-layout={mode.layout}", f"--manifests={self._manifest}"]
        argv += ["--cluster-cidr=10.244.0.0/16,fd00:10:244::/56", "--conntrack-max-per-core=0"]
        with self.lab.nodes["node-a"].namespace.entered():
            done = run_kproxy([*argv, *flags], env=os.environ, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def packets(self) -> list[Packet]:
        node = self.lab.nodes["node-a"].addresses
        return [
            packet
            for family in Family
            for packet in (
                Packet(client="visitor", address=CLUSTER_IPS[family], port=80),
                Packet(client="outside", address=node[family], port=NODE_PORT),
            )
        ]

    def ask(self) -> list[Connection]:
        """Make new connections, one for each packet."""
        return connect_many(self.lab, self.packets(), timeout_s=BEFORE_A_SECOND_SYN_S)

    def expected(self) -> list[Connection]:
        visitor, gateway = self.lab.pods["visitor"].addresses, self.lab.nodes["node-a"]
        return [
            Connection(outcome=Outcome.SUCCESS, pod="shop", source=source)
            for family in Family
            for source in (visitor[family], gateway.gateways[family])
        ]

    def route_localnet(self) -> str:
        with self.lab.nodes["node-a"].namespace.entered():
            return sysctl.read("net/ipv4/conf/all/route_localnet")

    def forget_connections(self) -> None:
        with self.lab.nodes["node-a"].namespace.entered():
            conntrack.forget(conntrack.flows(Family.IPV4))

    def kernel(self) -> str:
        """Return what the kernel's own tools print."""
        with self.lab.nodes["node-a"].namespace.entered():
            legacy = dump.ipvs("legacy") if has_ipvs() else dump.iptables("legacy")
            return legacy + dump.iptables("nft") + dump.nftables()


@pytest.fixture
def node(kproxy_lab: LabFactory, tmp_path: Path) -> Node:
    lab = kproxy_lab(pods={"shop": "node-a", "visitor": "node-a"}, mode=None)
    return Node(lab, tmp_path)


@contextmanager
def established(node: Node) -> Iterator[Echo]:
    """Make connections through cluster IP and node port, in both families."""
    with Echo(node.lab, "shop") as echo:
        addresses = node.lab.nodes["node-a"].addresses
        for family, cluster_ip in zip(Family, _next(CLUSTER_IPS), strict=True):
            echo.connect("visitor", cluster_ip, 7)
            echo.connect("outside", addresses[family], ECHO_NODE_PORT)
            echo.connect("node-a", cluster_ip, 7)
        yield echo


def switch_while_asked(node: Node, echo: Echo, mode: Mode, *flags: str) -> tuple[str, set[str]]:
    """Return the log of the switch, and the set of answers that new connections got meanwhile."""
    logs: list[str] = []
    thread = threading.Thread(target=lambda: logs.append(node.switch(mode, *flags)))
    thread.start()
    answers: set[str] = set()
    while thread.is_alive():
        answers |= {f"{p.client}: {a}" for p, a in zip(node.packets(), node.ask(), strict=True)}
        echo.ask_all(b"during")
    thread.join()
    assert logs, "kproxy failed"
    return logs[0], answers


@pytest.mark.parametrize(("former", "mode"), PAIRS, ids=str)
def test_a_switch_is_not_noticed_and_leaves_nothing(node: Node, former: Mode, mode: Mode) -> None:
    node.switch(mode)
    alone = _canonical(node.kernel())
    node.switch(mode, "--cleanup")
    node.switch(former)
    expected = node.expected()
    assert node.ask() == expected
    with established(node) as echo:
        if former.name == mode.name == "iptables":
            echo.connect("node-a", "127.0.0.1", ECHO_NODE_PORT)  # no other mode has that
        echo.ask_all(b"before")
        log, answers = switch_while_asked(node, echo, mode)
        packets = node.packets()
        assert answers == {f"{p.client}: {a}" for p, a in zip(packets, expected, strict=True)}
        assert node.ask() == expected
        echo.ask_all(b"after")
        if former.name == "ipvs":
            assert "open connections keep a part of what ipvs mode had left" in log
            needed = Counter(_canonical(node.kernel()))
            needed.subtract(alone)
            assert all(re.search(NEEDED, line) for line, count in needed.items() if count)
            assert min(needed.values()) == 0
            return
        assert _canonical(node.kernel()) == alone
        same_table = former.name == mode.name == "nftables"
        assert log.count(f"removed what {former.name} mode had left") == (not same_table)


@pytest.mark.parametrize(
    ("mode", "former", "version", "chains"),
    [  # of the two Services with one endpoint each, in both families
        (Mode("nftables"), Version.V1_36, Version.V1_37, 4),
        (Mode("nftables"), Version.V1_37, Version.V1_36, 4),
        (Mode("nftables"), Version.V1_37, Version.V1_38, 0),
        (FLAT, Version.V1_36, Version.V1_37, 0),
    ],
    ids=str,
)
def test_another_version_is_not_noticed_and_writes_only_what_differs(
    node: Node, mode: Mode, former: Version, version: Version, chains: int
) -> None:
    node.switch(mode, f"--emulate={version}")
    alone = _canonical(node.kernel())
    node.switch(mode, "--cleanup")
    node.switch(mode, f"--emulate={former}")
    expected = node.expected()
    with established(node) as echo:
        echo.ask_all(b"before")
        before = _numbered_rules(node)
        _, answers = switch_while_asked(node, echo, mode, f"--emulate={version}")
        packets = node.packets()
        assert answers == {f"{p.client}: {a}" for p, a in zip(packets, expected, strict=True)}
        assert node.ask() == expected
        echo.ask_all(b"after")
        assert _canonical(node.kernel()) == alone
        after = _numbered_rules(node)
    forms = {each: "dnat to" if each.has(SINGLE_ENDPOINT_DNAT) else "map" for each in Version}
    assert [forms[former] in rule for rule in before - after] == [True] * chains
    assert [forms[version] in rule for rule in after - before] == [True] * chains


def _numbered_rules(node: Node) -> set[str]:
    """Return the rules of nf_tables with their handles, which new rules do not share."""
    with node.lab.nodes["node-a"].namespace.entered():
        listing = run(["nft", "--handle", "--stateless", "list", "ruleset"])
    return {
        line.strip()
        for line in re.sub(r"counter packets \d+ bytes \d+", "", listing).splitlines()
        if re.search(r" # handle \d+$", line) and "{ #" not in line
    }


@pytest.mark.ipvs
def test_a_node_reaches_others_by_an_address_that_ipvs_still_holds(
    kproxy_lab: LabFactory, tmp_path: Path
) -> None:
    """Without a local detector no rule of a Service masquerades packets from that address."""
    pods = {"visitor": "node-a", "shop": "node-b"}
    node = Node(kproxy_lab(nodes=("node-a", "node-b"), pods=pods, mode=None), tmp_path)
    node.switch(IPVS, "--cluster-cidr=")
    with established(node) as echo:
        echo.ask_all(b"before")
        log = node.switch(HOST_MODES[0], "--cluster-cidr=")
        assert "open connections keep a part of what ipvs mode had left" in log
        for cluster_ip in _next(CLUSTER_IPS):
            echo.connect("visitor", cluster_ip, 7)
            echo.connect("node-a", cluster_ip, 7)
        echo.ask_all(b"after")


MARTIANS = (
    "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment"
    ' --comment "block incoming localnet connections"'
    " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT"
)
LOCALHOST_LEFT = (
    ":KUBE-FIREWALL",
    ":KUBE-PROXY-CANARY",
    "-A INPUT -j KUBE-FIREWALL",
    "-A OUTPUT -j KUBE-FIREWALL",
    f"-A KUBE-FIREWALL {MARTIANS} -j DROP",
)


@pytest.mark.parametrize(
    ("former", "mode"),
    [
        (HOST_MODES[0], HOST_MODES[2]),
        (HOST_MODES[1], HOST_MODES[3]),
        pytest.param(HOST_MODES[0], IPVS, marks=pytest.mark.ipvs),
    ],
    ids=str,
)
def test_connections_to_localhost_outlive_iptables_mode(
    node: Node, former: Mode, mode: Mode
) -> None:
    """No other mode has such addresses, so they need a part of what is left."""
    node.switch(mode)
    alone = _canonical(node.kernel())
    node.switch(mode, "--cleanup")
    node.switch(former)
    with established(node) as echo:
        echo.connect("node-a", "127.0.0.1", ECHO_NODE_PORT)
        echo.ask_all(b"before")
        log = node.switch(mode)
        assert "open connections keep a part of what iptables mode had left" in log
        echo.ask_all(b"after")
        left = Counter(_canonical(node.kernel()))
        left.subtract(alone)
        assert sorted(left.elements()) == sorted(LOCALHOST_LEFT)
        assert node.route_localnet() == "1"
    node.forget_connections()  # sooner than the kernel does
    assert "removed what iptables mode had left" in node.switch(mode)
    assert _canonical(node.kernel()) == alone
    assert node.route_localnet() == "0"


def _service(
    name: str, cluster_ips: Iterable[str], port: int, target_port: int, node_port: int
) -> Service:
    return service(
        name,
        cluster_ips=[*cluster_ips],
        ports=[ServicePort(port=port, target_port=target_port, node_port=node_port)],
        type="NodePort",
        selector={"app": "shop"},
    )


def _next(addresses: Mapping[Family, str]) -> list[str]:
    return [
        f"{address[:-1]}{'b' if family is Family.IPV6 else '1'}"
        for family, address in addresses.items()
    ]


def _numbered(addresses: Mapping[Family, str]) -> Iterator[tuple[int, str]]:
    for family, address in addresses.items():
        yield family.socket_family, address


def _canonical(text: str) -> list[str]:
    """Return a dump without tables and chains of the system, which are created by reading them."""
    system = r":(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)|\*.*"
    return sorted(line for line in text.splitlines() if not re.fullmatch(system, line))
