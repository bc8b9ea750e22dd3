"""Parts of rules, each as nft prints it."""

from __future__ import annotations

import pytest
from kproxy_nftables import words
from kproxy_nftables.wanted import goto
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.forwarding.plan import DetectLocal, LocalDetector
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables.listing import table_listing
from kproxy.kernel.nftables.objects import AnonymousSet, Rule, Set, Table, element
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.nftables.types import INTEGER, PORT, PROTOCOL, VERDICT, address, concatenation
from tests.forwarding import plans

IPV4, IPV6 = Family.IPV4, Family.IPV6
HERE = plans.settings("node-a")
BIT_31 = replace(HERE, masquerade_bit=31)
BRIDGE = LocalDetector(DetectLocal.BRIDGE, "br0")
PREFIX = LocalDetector(DetectLocal.PREFIX, "veth")

WORDS = [  # family, expressions, the output of nft; "there" is a chain
    (IPV4, (words.ct_state_new(), words.drop()), "ct state new drop"),
    (IPV4, (words.ct_status_dnat(), words.drop()), "ct status dnat drop"),
    (IPV4, (words.goto("there"),), "goto there"),
    (IPV4, (words.jump("there"),), "jump there"),
    (IPV4, (words.mark(HERE),), "meta mark set meta mark | 0x00004000"),
    (IPV4, (words.mark(BIT_31),), "meta mark set meta mark | 0x80000000"),
    (IPV4, (words.unmark(HERE),), "meta mark set meta mark ^ 0x00004000"),
    (
        *(IPV4, (words.marked(HERE), words.drop())),
        "meta mark & 0x00004000 != 0x00000000 drop",
    ),
    (IPV4, (expr.masquerade(),), "masquerade fully-random"),
    (IPV4, (expr.reject(IPV4),), "reject"),
    (IPV6, (expr.reject(IPV6),), "reject"),
    (IPV4, (words.protocol_is("TCP"), words.drop()), "meta l4proto tcp drop"),
    (IPV4, (words.protocol_is("UDP"), words.drop()), "meta l4proto udp drop"),
    (IPV4, (words.protocol_is("SCTP"), words.drop()), "meta l4proto sctp drop"),
    (IPV4, (words.not_loopback(IPV4), words.drop()), "ip daddr != 127.0.0.0/8 drop"),
    (IPV6, (words.not_loopback(IPV6), words.drop()), "ip6 daddr != ::1 drop"),
    *[
        (family, (words.saddr_within(family, cidr), words.drop()), f"{ip} saddr {printed} drop")
        for family, ip, cidr, printed in [
            (IPV4, "ip", "10.244.0.0/16", "10.244.0.0/16"),
            (IPV4, "ip", "10.240.0.0/13", "10.240.0.0/13"),
            (IPV4, "ip", "10.244.0.9/32", "10.244.0.9"),
            (IPV4, "ip", "0.0.0.0/0", "0.0.0.0/0"),
            (IPV6, "ip6", "fd00:244::/56", "fd00:244::/56"),
            (IPV6, "ip6", "fd00:244:0:80::/57", "fd00:244:0:80::/57"),
            (IPV6, "ip6", "fd00:244::9/128", "fd00:244::9"),
        ]
    ],
    (
        *(IPV4, (words.from_local_pod(IPV4, plans.CLUSTER_CIDR, negate=True), words.drop())),
        "ip saddr != 10.244.0.0/16 drop",
    ),
    (IPV4, (words.from_local_pod(IPV4, BRIDGE), words.drop()), 'iifname "br0" drop'),
    (
        *(IPV4, (words.from_local_pod(IPV4, BRIDGE, negate=True), words.drop())),
        'iifname != "br0" drop',
    ),
    (IPV4, (words.from_local_pod(IPV4, PREFIX), words.drop()), 'iifname "veth*" drop'),
    (
        *(IPV4, (words.from_local_pod(IPV4, PREFIX, negate=True), words.drop())),
        'iifname != "veth*" drop',
    ),
    (IPV4, (expr.fib_is_local(source=True), words.drop()), "fib saddr type local drop"),
    (IPV4, (expr.fib_is_local(source=False), words.drop()), "fib daddr type local drop"),
    (
        *(IPV4, (*words.saddr_outside(IPV4, ["10.0.0.0/8", "192.0.2.1"]), words.drop())),
        "ip saddr != { 10.0.0.0/8, 192.0.2.1 } drop",
    ),
    (
        *(IPV6, (*words.saddr_outside(IPV6, ["fd00::/8", "2001:db8::1"]), words.drop())),
        "ip6 saddr != { 2001:db8::1, fd00::/8 } drop",
    ),
    (
        *(IPV4, (*words.daddr_within(IPV4, ["10.96.0.0/12", "172.30.0.0/16"]), words.drop())),
        "ip daddr { 10.96.0.0/12, 172.30.0.0/16 } drop",
    ),
    (
        IPV4,
        (*words.daddr_within(IPV4, ["10.96.0.0/12"]), words.drop()),
        "ip daddr 10.96.0.0/12 drop",
    ),
    *[
        (family, rule, printed.replace("IP", ip))
        for family, ip in ((IPV4, "ip"), (IPV6, "ip6"))
        for rule, printed in [
            (
                (words.destination(family), expr.lookup("by-frontend", 0)),
                "IP daddr . meta l4proto . th dport vmap @by-frontend",
            ),
            (
                (words.protocol_and_port(), expr.lookup("by-port", 0)),
                "meta l4proto . th dport vmap @by-port",
            ),
            (
                (words.both_addresses_and_port(family), expr.lookup("pairs"), words.drop()),
                "IP saddr . IP daddr . meta l4proto . th dport @pairs drop",
            ),
            (
                (
                    words.destination_and_source(family),
                    *(expr.lookup("ranges", inverted=True), words.drop()),
                ),
                "IP daddr . meta l4proto . th dport . IP saddr != @ranges drop",
            ),
            ((words.saddr(family) + expr.lookup("one"), words.drop()), "IP saddr @one drop"),
            ((words.daddr(family) + expr.lookup("one"), words.drop()), "IP daddr @one drop"),
            ((words.saddr(family), expr.remember("clients")), "update @clients { IP saddr }"),
        ]
    ],
    (IPV4, (words.dnat_to(IPV4, "10.244.1.5", 8080),), "dnat to 10.244.1.5:8080"),
    (IPV6, (words.dnat_to(IPV6, "fd00:244::5", 8080),), "dnat to [fd00:244::5]:8080"),
    *[
        (
            family,
            (
                words.protocol_is("TCP") + words.random_slot(1),
                words.endpoint_map(family, [words.address_bytes(to) + words.port_bytes(8080)]),
                words.dnat(family),
            ),
            f"meta l4proto tcp dnat {ip} to numgen random mod 1 map {{ 0 : {to} . 8080 }}",
        )
        for family, ip, to in ((IPV4, "ip", "10.244.1.5"), (IPV6, "ip6", "fd00:244::5"))
    ],
    (
        IPV4,
        (
            words.random_slot(2),
            AnonymousSet(
                tuple(element(words.slot_bytes(slot), goto("there")) for slot in range(2)),
                *(INTEGER, VERDICT),
                target=0,
            ),
        ),
        "numgen random mod 2 vmap { 0 : goto there, 1 : goto there }",
    ),
]


def sets(family: Family) -> list[Set]:
    ip = address(family)
    return [
        Set("one", ip),
        Set("by-frontend", concatenation(ip, PROTOCOL, PORT), VERDICT),
        Set("by-port", concatenation(PROTOCOL, PORT), VERDICT),
        Set("pairs", concatenation(ip, ip, PROTOCOL, PORT)),
        Set("ranges", concatenation(ip, PROTOCOL, PORT, ip), ranges=True),
        Set("clients", ip, timeout_s=10),
    ]


@pytest.mark.parametrize(
    ("family", "parts", "printed"), WORDS, ids=[f"{row[0].value} {row[2]}" for row in WORDS]
)
def test_a_rule_is_printed(
    family: Family, parts: tuple[bytes | AnonymousSet, ...], printed: str
) -> None:
    table = Table(family, "words")
    with Namespace.create() as namespace, namespace.entered(), Session() as session:
        session.commit(
            [
                table.create(),
                *map(table.add_chain, ("there", "rules")),
                *map(table.add_set, sets(family)),
                *table.add_rule("rules", Rule(parts)),
                *table.add_rule("rules", Rule(parts, "it says 'why'")),
            ]
        )
        assert table_listing(family, "words")["chain rules"] == (
            printed,
            f"{printed} comment \"it says 'why'\"",
        )
