"""Health check node ports, checked as by a load balancer: over real connections, from outside."""

from __future__ import annotations

import logging
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from kproxy.address import Family
from kproxy.api.types import Service, ServicePort
from kproxy.config import ProxyConfig
from kproxy.errors import BadInput
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec, service
from kproxy.lab.objects import NOT_READY, TERMINATING, selected, slices_for
from kproxy.serve import server
from netns_tests.modes import MODES, Mode

PORTS = (PortSpec(port=8080),)
SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a", pods=(PodSpec(name="shop-a", ports=PORTS, labels={"app": "shop"}),)
        ),
        NodeSpec(name="node-b", pods=(PodSpec(name="shell"),)),
    ),
    clients=(ClientSpec(name="outside"),),
    routes={"203.0.113.10/32": "node-a", "fd00:203::/64": "node-a"},
)
VIPS = ("203.0.113.10", "fd00:203::10")
PORT = 32000
ANSWER = (
    "HTTP/1.1 {status}\r\n"
    "Content-Type: application/json\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Load-Balancing-Endpoint-Weight: {count}\r\n"
    "Date: *\r\n"
    "Content-Length: {length}\r\n"
    "Connection: close\r\n"
    "\r\n"
    "{body}"
)
BODY = """{{
	"service": {{
		"namespace": "default",
		"name": "{name}"
	}},
	"localEndpoints": {count},
	"serviceProxyHealthy": true
}}"""


def shop(name: str = "shop", port: int = PORT, last: int = 10, **spec: Any) -> Service:
    fields: dict[str, Any] = {
        "type": "LoadBalancer",
        "external_traffic_policy": "Local",
        "health_check_node_port": port,
        "selector": {"app": "shop"},
    }
    return service(
        name,
        cluster_ips=(f"10.96.0.{last}", f"fd00:10:96::{last}"),
        ports=(ServicePort(port=80, target_port=8080),),
        load_balancer_ips=VIPS if name == "shop" else (),
        **(fields | spec),
    )


def answer(count: int, name: str = "shop") -> str:
    body = BODY.format(name=name, count=count)
    status = "200 OK" if count else "503 Service Unavailable"
    return ANSWER.format(status=status, count=count, length=len(body), body=body)


REFUSED = "refused"


def exchange(lab: Lab, address: str, sent: bytes, *, port: int = PORT) -> str:
    """Send bytes from the client outside; return all that is answered, with any date as `*`."""
    with lab.clients["outside"].namespace.entered():
        try:
            sock = socket.create_connection((address, port), timeout=5)
        except ConnectionRefusedError:
            return REFUSED
    with sock:
        sock.sendall(sent)
        return re.sub(r"Date: .* GMT", "Date: *", received(sock))


def received(sock: socket.socket) -> str:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


def ask(lab: Lab, node: str, family: Family = Family.IPV4, *, port: int = PORT) -> str:
    return exchange(
        lab, lab.nodes[node].addresses[family], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", port=port
    )


@pytest.fixture(params=MODES, ids=str)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    mode: Mode = request.param
    with Lab(SPEC, mode.name, options=mode.options) as lab:
        lab.apply([shop(), *lab.slices(shop())])
        yield lab


@pytest.fixture
def plain() -> Iterator[Lab]:
    with Lab(SPEC) as lab:
        lab.apply([shop(), *lab.slices(shop())])
        yield lab


def test_a_node_answers_for_its_own_endpoints(lab: Lab) -> None:
    """This is the whole life of a Service, in each mode: its rules must accept these packets."""
    for family, vip in zip(Family, VIPS, strict=True):
        assert ask(lab, "node-a", family) == answer(1)
        assert ask(lab, "node-b", family) == answer(0)
        if lab.mode == "ipvs":  # the address is the node's own there
            assert exchange(lab, vip, b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n") == answer(1)
    pods = selected(shop(), lab.pods.values())
    for conditions in (NOT_READY, TERMINATING):
        lab.apply(slices_for(shop(), pods, conditions={"shop-a": conditions}))
        assert ask(lab, "node-a") == answer(0)
    lab.apply(lab.slices(shop()))
    lab.stop_proxy("node-a")
    assert [ask(lab, "node-a", family) for family in Family] == [REFUSED, REFUSED]
    assert ask(lab, "node-b") == answer(0)
    reports = lab.apply([shop(port=PORT + 1)])
    assert set(reports) == {"node-b"}
    assert [ask(lab, node) for node in lab.nodes] == [REFUSED, REFUSED]
    assert ask(lab, "node-b", port=PORT + 1) == answer(0)
    assert [report.full for report in lab.start_proxy("node-a")] == [True, True]
    assert ask(lab, "node-a", port=PORT + 1) == answer(1)
    lab.delete([("Service", "default", "shop")])
    assert [ask(lab, node, port=PORT + 1) for node in lab.nodes] == [REFUSED, REFUSED]


def test_a_stopped_proxy_leaves_its_rules(plain: Lab) -> None:
    address = plain.pods["shop-a"].addresses[Family.IPV4]
    plain.stop_proxy("node-a")
    plain.stop_proxy("node-a")
    before = plain.plans(Family.IPV4)["node-a"]
    plain.delete([("Service", "default", "shop")])
    assert plain.plans(Family.IPV4)["node-a"] == before
    assert f'"source": "{plain.clients["outside"].addresses[Family.IPV4]}"' in exchange(
        plain, VIPS[0], b"\n", port=80
    )
    assert plain.start_proxy("node-a")
    assert plain.start_proxy("node-a") == []
    assert not plain.plans(Family.IPV4)["node-a"].services
    assert address not in str(plain.plans(Family.IPV4)["node-a"])
    with pytest.raises(BadInput, match="'node-x' is not a node; there are: node-a, node-b"):
        plain.stop_proxy("node-x")


def test_services_have_a_port_each(plain: Lab) -> None:
    more = [shop(f"more-{n}", PORT + n, 20 + n) for n in range(1, 30)]
    plain.apply([*more, *plain.slices(more[4])])
    assert ask(plain, "node-a", port=PORT + 5) == answer(1, "more-5")
    assert ask(plain, "node-a", port=PORT + 29) == answer(0, "more-29")
    plain.delete([("Service", "default", "more-5")])
    assert ask(plain, "node-a", port=PORT + 5) == REFUSED
    plain.apply([shop("more-6", PORT + 5, 26)])  # takes over a port at once
    assert ask(plain, "node-a", port=PORT + 5) == answer(0, "more-6")
    assert ask(plain, "node-a", port=PORT + 6) == REFUSED
    assert ask(plain, "node-a") == answer(1)


def test_only_node_port_addresses_answer() -> None:
    spec = ProxyConfig(node_port_addresses=("192.168.10.0/24",))
    with Lab(SPEC, config=spec) as lab:
        lab.apply([shop(), *lab.slices(shop())])
        node = lab.nodes["node-a"]
        assert ask(lab, "node-a") == answer(1)
        assert ask(lab, "node-a", Family.IPV6) == answer(1)  # no IPv6 CIDR is named: all of them
        gateway = node.gateways[Family.IPV4]
        assert exchange(lab, gateway, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == REFUSED


def test_a_port_that_is_taken_is_tried_again(plain: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with plain.nodes["node-b"].namespace.entered():
        other = socket.create_server(("", PORT + 1))
    with other, caplog.at_level(logging.ERROR, "kproxy"):
        plain.apply([shop("second", PORT + 1, 11)])
        assert ask(plain, "node-a", port=PORT + 1) == answer(0, "second")
        assert ask(plain, "node-b", Family.IPV6, port=PORT + 1) == answer(0, "second")
        plain.apply([])
        text = (
            "health check node port of default/second: cannot listen on any IPv4 address port "
            "32001, next try at the next sync: Address already in use"
        )
        assert [record.getMessage() for record in caplog.records] == [text, text]
    plain.apply([])
    assert ask(plain, "node-b", port=PORT + 1) == answer(0, "second")


GARBAGE = [
    (b"hello\r\n", "400 Bad Request"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\n", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nx\r\n\r\n", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),  # without a Host
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 20000, "431 Request Header Fields Too Large"),
]


@pytest.mark.parametrize(("sent", "status"), GARBAGE)
def test_garbage(plain: Lab, sent: bytes, status: str) -> None:
    back = exchange(plain, plain.nodes["node-a"].addresses[Family.IPV4], sent)
    assert back.startswith(f"HTTP/1.1 {status}\r\n")
    assert back.endswith(f"\r\n\r\n{status}")
    assert ask(plain, "node-a") == answer(1)


def test_methods_bodies_and_pieces(plain: Lab) -> None:
    address = plain.nodes["node-a"].addresses[Family.IPV4]
    head = exchange(plain, address, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head == answer(1).partition("{")[0]
    old = exchange(plain, address, b"GET / HTTP/1.0\r\n\r\n")
    assert old == answer(1).replace("1.1", "1.0", 1)
    body = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30000
    assert exchange(plain, address, body) == answer(1)
    with connections(plain, 1) as [sock]:
        for piece in (b"GET / HT", b"TP/1.1\r\nHost:", b" x\r\n", b"\r\n"):
            sock.sendall(piece)
            time.sleep(0.01)  # so that they travel apart
        assert received(sock).startswith("HTTP/1.1 200")
    with connections(plain, 1) as [sock]:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert received(sock).startswith("HTTP/1.1 200")


@contextmanager
def connections(lab: Lab, count: int) -> Iterator[list[socket.socket]]:
    """Yield `count` connections to node-a from outside, on which nothing was sent."""
    address = lab.nodes["node-a"].addresses[Family.IPV4]
    with ExitStack() as stack:
        with lab.clients["outside"].namespace.entered():
            socks = [
                stack.enter_context(socket.create_connection((address, PORT), timeout=20))
                for _ in range(count)
            ]
        yield socks


def test_silent_clients_are_cut_off_and_delay_no_other(
    plain: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TIMEOUT_S", 1.0)
    with connections(plain, server.CONNECTIONS_MAX + 20) as silent:
        silent[-1].sendall(b"GET / HTT")
        assert ask(plain, "node-a") == answer(1)
        assert received(silent[0]) == ""  # the oldest is closed for new ones
        assert received(silent[-1]) == ""  # after TIMEOUT_S
        assert ask(plain, "node-a") == answer(1)


def test_clients_that_vanish(plain: Lab) -> None:
    for sent in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        with connections(plain, 20) as socks:
            for sock in socks:
                sock.sendall(sent)
                reset_at_close = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
    assert ask(plain, "node-a") == answer(1)


def test_whoever_never_stops_sending(plain: Lab) -> None:
    with connections(plain, 1) as [sock]:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        endless = b"x" * (64 << 20)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            sock.sendall(endless)
    assert ask(plain, "node-a") == answer(1)


def test_stopping_cuts_off_those_who_wait(plain: Lab) -> None:
    with connections(plain, 1) as [sock]:
        sock.sendall(b"GET")
        assert ask(plain, "node-a") == answer(1)  # so that it was accepted
        plain.stop_proxy("node-a")
        assert received(sock) == ""
