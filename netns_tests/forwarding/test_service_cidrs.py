"""ServiceCIDRs in nftables mode: new connections to an address in them that is no Service's cluster
IP are dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from kproxy.address import Family
from kproxy.api.types import KubernetesObject, Metadata, ServiceCIDR, ServiceCIDRSpec, ServicePort
from kproxy.forwarding.network import Packet
from kproxy.kernel.process import run
from kproxy.lab import service, slices_for
from kproxy.testing import Expectation, LabFactory, ProbedLab, delivered, dropped, refused
from netns_tests.forwarding.survey import build_lab
from netns_tests.modes import FLAT, IPTABLES, NFTABLES, Mode
from netns_tests.node import bench, filled, fresh_state

# The router takes all of 10.96.0.0/16 to node-a; packets that no rule stops there bounce.
KUBERNETES = ("10.96.0.0/20", "fd00:10:96::/112")
MORE = ("10.96.240.0/20",)
VIP = "203.0.113.1"
WORD = {Family.IPV4: "ip", Family.IPV6: "ip6"}


def service_cidr(name: str, *cidrs: str) -> ServiceCIDR:
    return ServiceCIDR(
        metadata=Metadata(name=name, namespace=""), spec=ServiceCIDRSpec(cidrs=cidrs)
    )


class Row(NamedTuple):
    """A row. `without` is the outcome without a ServiceCIDR, or in a mode that ignores it; None if
    the answers differ there (UDP is not informed of the outcome).
    """

    client: str
    address: str
    outcome: Expectation
    without: Expectation | None
    port: int = 80
    protocol: str = "TCP"


BY_POD_B = (delivered("pod-b"), delivered("pod-b"))
ROWS = [
    Row("visitor-a", "10.96.0.99", dropped("node-a"), refused()),
    Row("visitor-a", "10.96.0.99", dropped("node-a"), None, protocol="UDP"),
    Row("visitor-c", "10.96.0.99", dropped("node-c"), refused()),
    Row("node-c", "10.96.0.99", dropped("node-c"), refused()),
    Row("outside", "10.96.0.99", dropped("node-a"), refused()),
    Row("visitor-a", "fd00:10:96::99", dropped("node-a"), refused()),
    Row("node-c", "fd00:10:96::99", dropped("node-c"), refused()),
    # Addresses in the other object, and in none.
    Row("visitor-c", "10.96.240.1", dropped("node-c"), refused()),
    Row("visitor-c", "10.96.100.1", refused(), refused()),
    # Allocated addresses.
    Row("visitor-a", "10.96.0.1", *BY_POD_B),
    Row("node-c", "fd00:10:96::1", *BY_POD_B),
    Row("visitor-a", "10.96.0.2", refused("node-a"), refused("node-a")),  # no endpoint
    Row("visitor-a", "10.96.0.1", refused("node-a"), refused(), port=81),
    Row("outside", VIP, *BY_POD_B),
]


def objects(lab: ProbedLab) -> list[KubernetesObject]:
    ports = [ServicePort(port=80, target_port=8080)]
    web = service(
        "web",
        cluster_ips=["10.96.0.1", "fd00:10:96::1"],
        ports=ports,
        type="LoadBalancer",
        load_balancer_ips=[VIP],
    )
    empty = service("empty", cluster_ips=["10.96.0.2"], ports=ports)
    return [web, *slices_for(web, [lab.pods["pod-b"]]), empty]


def check(lab: ProbedLab, *, known: bool) -> None:
    """Check by packets, connections and the oracle, at once, so that drops cost one time-out."""
    outcomes = {
        Packet(client=row.client, address=row.address, port=row.port, protocol=row.protocol): (
            row.outcome if known else row.without
        )
        for row in ROWS
        if known or row.without
    }
    packets = [*outcomes]
    seen, connected = lab.ask_many(packets), lab.connect_many(packets)
    for packet, *answers in zip(packets, seen, connected, strict=True):
        oracle = lab.predict(packet.client, packet.address, packet.port, packet.protocol)
        for answer in (*answers, oracle):
            assert answer == outcomes[packet], packet


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_packets_to_unallocated_cluster_ips_are_dropped(kproxy_lab: LabFactory, mode: Mode) -> None:
    lab = build_lab(kproxy_lab, mode)
    lab.apply(objects(lab))
    check(lab, known=False)
    lab.apply([service_cidr("kubernetes", *KUBERNETES), service_cidr("more", *MORE)])
    check(lab, known=True)
    lab.replace(objects(lab))
    check(lab, known=False)


def test_iptables_mode_does_not_look_at_them(kproxy_lab: LabFactory) -> None:
    lab = build_lab(kproxy_lab, IPTABLES[0])
    lab.apply([*objects(lab), service_cidr("kubernetes", *KUBERNETES), service_cidr("more", *MORE)])
    check(lab, known=False)


RULES = [  # family, CIDRs of objects -> the rule as kube-proxy writes it
    (Family.IPV4, ["10.96.0.0/12"], "10.96.0.0/12"),
    (Family.IPV4, ["10.96.0.0/13"], "10.96.0.0/13"),
    (Family.IPV4, ["10.96.0.0/12", "172.30.0.0/16"], "172.30.0.0/16,10.96.0.0/12"),
    (Family.IPV4, ["10.96.0.0/16", "10.96.8.0/24"], "10.96.0.0/16,10.96.8.0/24"),
    (Family.IPV4, ["10.96.0.0/16", "10.97.0.0/16"], "10.96.0.0/16,10.97.0.0/16"),
    (Family.IPV6, ["fd00:10:96::/112"], "fd00:10:96::/112"),
    (Family.IPV6, ["fd00:10:96::/112", "fd00:9::/108"], "fd00:10:96::/112,fd00:9::/108"),
]


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize(("family", "cidrs", "words"), RULES)
def test_the_rule_is_that_of_kube_proxy(
    mode: Mode, family: Family, cidrs: list[str], words: str
) -> None:
    ip = WORD[family]
    comment = 'comment "Drop traffic to unallocated ClusterIPs"'
    with bench(mode) as node:
        node.sync(service_cidr(f"object-{i}", cidr) for i, cidr in enumerate(cidrs))
        match = "ct state new " if mode == FLAT else ""
        theirs = f"{match}{ip} daddr {{ {words} }} drop {comment}"
        run(["nft", "-f", "-"], f"table {ip} theirs {{\n chain c {{\n {theirs}\n}}\n}}\n")
        (expected,) = rules(ip, "theirs", "c")
        for chain in (
            ("filter-forward", "filter-output") if mode == FLAT else ("cluster-ips-check",)
        ):
            assert rules(ip, "kube-proxy", chain)[1:] == [expected]
        other = WORD[family.other]
        assert comment not in run(["nft", "list", "table", other, "kube-proxy"])


def rules(family: str, table: str, chain: str) -> list[str]:
    """Return the rules as nft prints them."""
    listing = run(["nft", "list", "chain", family, table, chain])
    lines = [line.strip() for line in listing.splitlines()]
    return [
        line for line in lines if " " in line and not line.startswith(("table", "chain", "type"))
    ]


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_whatever_their_history_the_rules_are_those_of_a_new_proxy(mode: Mode) -> None:
    with bench(mode) as node:
        others = [*filled(node).objects.values()]
        for cidrs in (KUBERNETES, MORE, (*MORE, "fd00:9::/112"), ()):
            given = [*others, *([service_cidr("kubernetes", *cidrs)] if cidrs else [])]
            node.sync(given)
            assert node.state() == fresh_state(mode, given)
            assert node.proxy.damaged() == ()
