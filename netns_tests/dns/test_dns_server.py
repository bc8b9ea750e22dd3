"""The cluster's DNS behind the Service kube-dns, asked by dig from another pod.

The server is in the namespace of the pod `dns`; queries and answers go through the rules of the
proxy.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import dns.message
import pytest

from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.dns import DnsServer, Records
from kproxy.dns import server as dns_server
from kproxy.kernel.process import run
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, service

SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a",
            pods=(PodSpec(name="dns", namespace="kube-system", labels={"k8s-app": "kube-dns"}),),
        ),
        NodeSpec(name="node-b", pods=(PodSpec(name="shell"),)),
    )
)
DNS_IPS = ("10.96.0.10", "fd00:10:96::a")
KUBE_DNS = service(
    "kube-dns",
    namespace="kube-system",
    cluster_ips=DNS_IPS,
    selector={"k8s-app": "kube-dns"},
    ports=(
        ServicePort(name="dns", port=53, protocol="UDP"),
        ServicePort(name="dns-tcp", port=53, protocol="TCP"),
    ),
)
HTTP = (ServicePort(name="http", port=80),)
MANY = 200


def headless(name: str, *endpoints: Endpoint) -> tuple[Service, EndpointSlice]:
    spec = ServiceSpec(cluster_ip="None", cluster_ips=("None",), ports=HTTP)
    return Service(metadata=Metadata(name=name), spec=spec), EndpointSlice(
        metadata=Metadata(name=f"{name}-1", labels={SERVICE_NAME_LABEL: name}),
        address_type="IPv4",
        endpoints=endpoints,
        ports=(EndpointPort(name="http", port=8080),),
    )


def records() -> Records:
    db, db_slice = headless(
        "db",
        Endpoint(addresses=("10.244.7.1",), hostname="db-0"),
        Endpoint(addresses=("10.244.7.2",)),
    )
    many, many_slice = headless(
        "many", *(Endpoint(addresses=(f"10.244.8.{last}",)) for last in range(MANY))
    )
    out = Service(
        metadata=Metadata(name="out"),
        spec=ServiceSpec(type="ExternalName", external_name="www.example.com"),
    )
    web = service("web", cluster_ips=("10.96.0.20", "fd00:10:96::20"), ports=HTTP)
    return Records(
        (KUBE_DNS, web, db, many, out),
        (db_slice, many_slice),
        upstream={"www.example.com": ("192.0.2.53",)},
    )


class Cluster:
    """A lab with a DNS server in it, which answers from `records`."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.records = records()
        self.server = DnsServer(lambda: self.records)
        pod = lab.pods["dns"]
        with pod.namespace.entered():
            self.server.listen(pod.addresses.values())
        self.server.start()

    def dig(self, *arguments: str) -> str:
        """Return what dig prints in the pod `shell`."""
        with self.lab.pods["shell"].namespace.entered():
            return run(["dig", "+tries=1", "+time=5", *arguments])

    def socket(self, kind: socket.SocketKind) -> socket.socket:
        """Return a socket in the pod `shell`, connected to the Service."""
        with self.lab.pods["shell"].namespace.entered():
            sock = socket.socket(socket.AF_INET, kind)
        sock.settimeout(5)
        sock.connect((DNS_IPS[0], 53))
        return sock


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Lab(SPEC) as lab:
        lab.apply([KUBE_DNS, *lab.slices(KUBE_DNS)])
        up = Cluster(lab)
        try:
            yield up
        finally:
            up.server.close()


WEB, DB, OUT = (f"{name}.default.svc.cluster.local" for name in ("web", "db", "out"))
SHORT = [  # question -> the lines that dig +short prints, in any order
    ([WEB, "A"], ["10.96.0.20"]),
    ([WEB, "AAAA"], ["fd00:10:96::20"]),
    ([WEB.upper(), "A"], ["10.96.0.20"]),
    ([DB, "A"], ["10.244.7.1", "10.244.7.2"]),
    ([f"db-0.{DB}", "A"], ["10.244.7.1"]),
    ([f"10-244-7-2.{DB}", "A"], ["10.244.7.2"]),
    ([f"_http._tcp.{WEB}", "SRV"], [f"0 50 80 {WEB}."]),
    ([f"_http._tcp.{DB}", "SRV"], [f"0 50 8080 db-0.{DB}.", f"0 50 8080 10-244-7-2.{DB}."]),
    (["-x", "10.96.0.20"], [f"{WEB}."]),
    (["-x", "fd00:10:96::20"], [f"{WEB}."]),
    (["-x", "10.244.7.1"], [f"db-0.{DB}."]),
    ([OUT, "CNAME"], ["www.example.com."]),
    ([OUT, "A"], ["www.example.com.", "192.0.2.53"]),
    (["dns-version.cluster.local", "TXT"], ['"1.1.0"']),
    ([WEB, "A", "+tcp"], ["10.96.0.20"]),
]


@pytest.mark.parametrize("server", DNS_IPS)
@pytest.mark.parametrize(("question", "expected"), SHORT)
def test_dig(cluster: Cluster, server: str, question: list[str], expected: list[str]) -> None:
    assert sorted(cluster.dig(f"@{server}", "+short", *question).split("\n")[:-1]) == sorted(
        expected
    )


STATUS = [  # question -> status, records in the authority section
    (["nobody.default.svc.cluster.local", "A"], "NXDOMAIN", 1),
    (["web.nowhere.svc.cluster.local", "A"], "NXDOMAIN", 1),
    (["-x", "10.96.0.99"], "NXDOMAIN", 1),
    ([WEB, "MX"], "NOERROR", 1),
    ([DB, "AAAA"], "NOERROR", 1),
    (["default.svc.cluster.local", "A"], "NOERROR", 1),
    (["www.example.org", "A"], "NXDOMAIN", 0),
]


@pytest.mark.parametrize(("question", "status", "authorities"), STATUS)
def test_there_is_nothing(
    cluster: Cluster, question: list[str], status: str, authorities: int
) -> None:
    said = cluster.dig(f"@{DNS_IPS[0]}", *question)
    assert f"status: {status}," in said
    assert f"ANSWER: 0, AUTHORITY: {authorities}," in said
    assert ("SOA" in said) == bool(authorities)


def test_the_zone_is_not_handed_out(cluster: Cluster) -> None:
    assert "; Transfer failed." in cluster.dig(f"@{DNS_IPS[0]}", "cluster.local", "AXFR")


def test_a_long_answer_is_truncated_and_asked_for_again_over_tcp(cluster: Cluster) -> None:
    question = (f"@{DNS_IPS[0]}", "many.default.svc.cluster.local", "A")
    cut = cluster.dig(*question, "+ignore")
    assert re.search(r"flags: qr aa tc rd ra; QUERY: 1, ANSWER: 0,", cut)
    whole = cluster.dig(*question)
    assert "Truncated, retrying in TCP mode." in whole
    assert f"ANSWER: {MANY}," in whole
    assert "(TCP)" in whole
    over_udp = cluster.dig(*question, "+bufsize=4096")  # in fragments
    assert f"ANSWER: {MANY}," in over_udp
    assert "(UDP)" in over_udp


def test_records_are_replaced_at_once(cluster: Cluster) -> None:
    before = cluster.records
    try:
        cluster.records = Records([service("new", cluster_ips=("10.96.0.77",), ports=HTTP)], [])
        name = "new.default.svc.cluster.local"
        assert cluster.dig(f"@{DNS_IPS[0]}", "+short", name) == "10.96.0.77\n"
        assert "NXDOMAIN" in cluster.dig(f"@{DNS_IPS[0]}", WEB)
    finally:
        cluster.records = before


QUERY = dns.message.make_query(WEB, "A", id=4711).to_wire()


def framed(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


def read_framed(sock: socket.socket) -> dns.message.Message:
    stream = sock.makefile("rb")
    (length,) = struct.unpack("!H", stream.read(2))
    return dns.message.from_wire(stream.read(length))


def test_garbage_harms_nobody(cluster: Cluster) -> None:
    with cluster.socket(socket.SOCK_DGRAM) as sock:
        for garbage in (b"", b"?", b"\xff" * 100, QUERY[:20]):
            sock.send(garbage)
        assert sock.recv(512) == QUERY[:2] + b"\x81\x01" + bytes(8)  # the last: FORMERR
        sock.send(QUERY)
        assert dns.message.from_wire(sock.recv(512)).answer
    with cluster.socket(socket.SOCK_STREAM) as sock:
        sock.sendall(framed(b"?") + framed(QUERY[:20]))
        assert read_framed(sock).rcode() == 1


def test_a_connection_carries_many_queries_however_they_are_cut(cluster: Cluster) -> None:
    with cluster.socket(socket.SOCK_STREAM) as sock:
        for byte in framed(QUERY):
            sock.send(bytes([byte]))
        assert read_framed(sock).id == 4711
    with cluster.socket(socket.SOCK_STREAM) as sock:
        count = 100
        for identity in range(count):
            sock.sendall(framed(struct.pack("!H", identity) + QUERY[2:]))
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as stream:
            answered = [
                dns.message.from_wire(stream.read(struct.unpack("!H", stream.read(2))[0])).id
                for _ in range(count)
            ]
            assert stream.read() == b""
        assert answered == [*range(count)]


def test_who_takes_no_answers_gets_no_more(cluster: Cluster) -> None:
    """The other clients are served meanwhile."""
    long_answer = framed(dns.message.make_query("many.default.svc.cluster.local", "A").to_wire())
    with cluster.socket(socket.SOCK_STREAM) as greedy:
        greedy.settimeout(1)
        with pytest.raises(TimeoutError):  # its queries pile up on its own side
            greedy.sendall(long_answer * 1_000_000)
        assert cluster.dig(f"@{DNS_IPS[0]}", "+short", "+tcp", WEB) == "10.96.0.20\n"


def test_the_longest_silent_connection_is_closed_at_the_limit(cluster: Cluster) -> None:
    def asked(sock: socket.socket) -> bool:
        sock.sendall(framed(QUERY))
        return bool(read_framed(sock).answer)

    with ExitStack() as stack:
        first, second, *others = (
            stack.enter_context(cluster.socket(socket.SOCK_STREAM))
            for _ in range(dns_server.CONNECTIONS_MAX)
        )
        for sock in (first, second, *others, first):
            assert asked(sock)
        assert asked(stack.enter_context(cluster.socket(socket.SOCK_STREAM)))
        assert second.recv(1) == b""
        assert asked(first)


def test_a_silent_connection_is_closed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_server, "IDLE_S", 0.1)
    with cluster.socket(socket.SOCK_STREAM) as sock:
        sock.sendall(framed(QUERY)[:-1])
        assert sock.recv(1) == b""
