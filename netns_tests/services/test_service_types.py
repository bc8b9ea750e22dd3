"""Every type of Service, by packets, connections and name: the answering pod, and its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.testing import Answer, Expectation, ProbedLab, delivered, dropped, refused
from netns_tests.services.sctp import sctp_handshake
from netns_tests.services.service_lab import (
    BOTH,
    OUTSIDE,
    V4,
    V6,
    WEB,
    WWW,
    balancer_ips,
    curl,
    host,
    packet,
    resolve_all,
    stored,
    told,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A row. For `asks` see `packet`, for names see `host`.

    `ipvs` and `nftables` are the outcome in that mode if it is another one.
    """

    client: str
    service: str
    asks: str
    port: str
    outcome: Expectation
    ipvs: Expectation | None = None
    nftables: Expectation | None = None
    families: Sequence[Family] = BOTH

    def expected(self, lab: ProbedLab) -> Expectation:
        others = {"ipvs": self.ipvs, "nftables": self.nftables}
        outcome = others.get(lab.mode or "") or self.outcome
        pods = frozenset(host(lab, name) for name in outcome.pods)
        return replace(outcome, pods=pods, source=host(lab, outcome.source))

    def __str__(self) -> str:
        return f"{self.client} asks {self.asks} of {self.service}, {self.port}"


UNHEARD = delivered("shop-1", source="outside", answered=False)
ALL_WEB = delivered(*WEB)

CASES = [
    # ClusterIP: the pod sees who asked; several ports, and one number for several protocols.
    Case("shell", "web", "cluster IP", "80/TCP", delivered(*WEB, source="shell")),
    Case("shell", "web", "cluster IP", "80/UDP", delivered(*WEB, source="shell")),
    Case("shell", "web", "cluster IP", "443/TCP", delivered(*WEB, source="shell")),
    Case("node-a", "web", "cluster IP", "80/TCP", delivered(*WEB, source="node-a")),
    Case("web-1", "web", "cluster IP", "80/TCP", ALL_WEB),  # it may reach itself
    # No host routes it. In IPv4 Linux sends that error five times, and then once a second.
    Case("outside", "web", "cluster IP", "80/TCP", refused("router"), families=(V6,)),
    Case(
        *("shell", "web", "cluster IP", "81/TCP", refused("router")),
        ipvs=refused("node-a"),
        nftables=refused("node-a"),
        families=(V6,),
    ),
    # NodePort: any node will do, and the pod sees that one.
    Case("outside", "front", "node-a", "80/TCP", delivered(*WEB, source="node-a")),
    Case("outside", "front", "node-c", "80/TCP", delivered(*WEB, source="node-c")),
    Case("outside", "front", "node-c", "80/UDP", delivered(*WEB, source="node-c")),
    Case("shell", "front", "node-b", "80/TCP", delivered(*WEB, source="node-b")),
    Case("shell", "front", "cluster IP", "80/TCP", delivered(*WEB, source="shell")),
    # externalTrafficPolicy Local
    Case("outside", "front-local", "node-b", "80/TCP", delivered("shop-1", source="outside")),
    Case("outside", "front-local", "node-a", "80/TCP", dropped("node-a"), ipvs=UNHEARD),
    Case("shell", "front-local", "node-a", "80/TCP", delivered("shop-1", source="shell")),
    # LoadBalancer: the router takes its address to the first node.
    Case("outside", "api", "VIP", "80/TCP", delivered(*WEB, source="node-a")),
    Case("outside", "api", "VIP", "80/UDP", delivered(*WEB, source="node-a")),
    Case("shell", "api", "VIP", "80/TCP", delivered(*WEB, source="node-a")),
    Case("node-c", "api", "VIP", "80/TCP", delivered(*WEB, source="node-c")),
    Case("outside", "api", "node-b", "80/UDP", delivered(*WEB, source="node-b")),
    # externalIPs
    Case("outside", "public", "external IP", "80/TCP", delivered(*WEB, source="node-a")),
    Case("node-b", "public", "external IP", "80/TCP", delivered(*WEB, source="node-b")),
    # internalTrafficPolicy Local: none but the node's own, and IPVS never drops
    Case("node-b", "agent", "cluster IP", "80/TCP", delivered("shop-1", source="node-b")),
    Case("web@node-b", "agent", "cluster IP", "80/TCP", delivered("shop-1", source="web@node-b")),
    Case(
        *("shell", "agent", "cluster IP", "80/TCP", dropped("node-a")),
        ipvs=refused("node-a"),
    ),
    # trafficDistribution PreferSameZone: node-a is the only one in its zone.
    Case("shell", "near", "cluster IP", "80/TCP", delivered("web@node-a", source="shell")),
    Case("late", "near", "cluster IP", "80/TCP", delivered("web@node-b", "web@node-c")),
    # a named target port that differs from pod to pod
    Case("shell", "colour", "cluster IP", "80/TCP", delivered("blue-1", "green-1")),
    # one family
    Case("shell", "four", "cluster IP", "80/TCP", ALL_WEB, families=(V4,)),
    Case("shell", "six", "cluster IP", "80/TCP", ALL_WEB, families=(V6,)),
    # not ready: no endpoint, unless publishNotReadyAddresses
    Case("shell", "late", "cluster IP", "80/TCP", refused("node-a")),
    Case("shell", "early", "cluster IP", "80/TCP", delivered("late", source="shell")),
]

Seen = Mapping[tuple[Case, Family], tuple[Answer, Answer, Answer]]


@pytest.fixture(scope="module")
def seen(lab: ProbedLab) -> Seen:
    """Return the outcomes of all packets three times: of a packet, the oracle, a connection."""
    asked = {
        (case, family): packet(lab, case.client, case.service, case.asks, family, case.port)
        for case in CASES
        for family in case.families
    }
    found = told(lab, *asked.values())
    count = len(asked)
    answers = zip(found[:count], found[count : 2 * count], found[2 * count :], strict=True)
    return dict(zip(asked, answers, strict=True))


@pytest.mark.parametrize(
    ("case", "family"),
    [
        pytest.param(case, family, id=f"{case} {family.value}")
        for case in CASES
        for family in case.families
    ],
)
def test_who_answers(lab: ProbedLab, seen: Seen, case: Case, family: Family) -> None:
    by_packet, by_oracle, by_connection = seen[case, family]
    expected = case.expected(lab)
    assert by_packet == expected
    assert by_connection == expected
    assert by_oracle == expected


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize(
    ("client", "service", "asks", "source"),
    [("shell", "web", "cluster IP", "shell"), ("outside", "front", "node-b", "node-b")],
)
def test_sctp_beside_tcp_and_udp(
    lab: ProbedLab, client: str, service: str, asks: str, source: str, family: Family
) -> None:
    """They share a number. SCTP is tested by itself, as the prober does not support it."""
    to = packet(lab, client, service, asks, family, "80/SCTP")
    tcp = packet(lab, client, service, asks, family, "80/TCP")
    assert to.port == tcp.port
    met = sctp_handshake(lab, to, among=WEB)
    assert met.port == 8080
    assert met.source in lab.network.hosts[source].addresses


def test_names(lab: ProbedLab) -> None:
    """Names resolve as libc finds them in a pod."""
    web = sorted(stored(lab, "web").spec.cluster_ips)
    pods = sorted(address for name in WEB for address in lab.pods[name].addresses.values())
    expected = {
        "web": web,
        "web.default": web,
        "web.default.svc.cluster.local": web,
        "front": sorted(stored(lab, "front").spec.cluster_ips),
        "api": sorted(stored(lab, "api").spec.cluster_ips),
        "four": list(stored(lab, "four").spec.cluster_ips),
        "six": list(stored(lab, "six").spec.cluster_ips),
        "headless": pods,
        "world": sorted(OUTSIDE.values()),
        WWW: sorted(OUTSIDE.values()),
        "alias": web,
        "late": sorted(stored(lab, "late").spec.cluster_ips),  # ready or not
        "nobody": [],
    }
    assert resolve_all(lab, list(expected)) == expected


REACHED: Mapping[str, set[str]] = {  # URL -> the hosts that may answer
    "http://web": {*WEB},
    "http://web.default:443": {*WEB},
    "http://headless:8080": {*WEB},
    "http://front": {*WEB},
    "http://api": {*WEB},
    "http://public": {*WEB},
    "http://near": {"web@node-a"},
    "http://colour": {"blue-1", "green-1"},
    "http://early": {"late"},
    "http://alias": {*WEB},
    "http://world": {"outside"},
}


@pytest.mark.parametrize("family", BOTH)
def test_curl(lab: ProbedLab, family: Family) -> None:
    only = "http://six" if family is V6 else "http://four"
    expected = {**REACHED, only: {*WEB}}
    answered = curl(lab, family, list(expected))
    assert len(answered) == len(expected)
    for url, who in zip(expected, answered, strict=True):
        assert who in {host(lab, name) for name in expected[url]}, url


def test_what_was_allocated(lab: ProbedLab) -> None:
    """The manifests state no address or node port."""
    assert [len(stored(lab, name).spec.cluster_ips) for name in ("web", "four", "six")] == [2, 1, 1]
    assert stored(lab, "headless").spec.cluster_ips == ("None",)
    assert stored(lab, "world").spec.cluster_ips == ()
    numbers = {port.node_port for port in stored(lab, "front").spec.ports}
    assert len(numbers) == 1  # one for all protocols of a port
    assert numbers <= {*range(30000, 32768)}
    assert balancer_ips(lab, "api") == ["192.168.30.1", "fd00:192:30::1"]
