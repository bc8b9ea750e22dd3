"""Rules that the usual tools have saved can be loaded again, with the longest names too."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from kproxy_nftables.names import TABLE

from kproxy.address import Family
from kproxy.api.types import KubernetesObject, Protocol, Service, ServicePort
from kproxy.forwarding.network import Packet
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nfacct import ensure_counter
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.process import run
from kproxy.lab import service, slices_for
from kproxy.testing import LabFactory
from netns_tests.modes import MODES, NFTABLES, Mode
from netns_tests.nftables.kernel_view import table_of
from netns_tests.node import bench, random_cluster

PROTOCOLS: Sequence[Protocol] = ("TCP", "UDP", "SCTP")
WITHOUT_SCTP: Sequence[Protocol] = ("TCP", "UDP")  # not every kernel has sockets for it
EDITS_TO_ALL_KINDS = 150  # until there are endpoints of each protocol, policy and affinity
LONGEST = 63  # characters of the name of a namespace, of a Service and of its port
IPTABLES = ("iptables", "ip6tables")


def nowhere() -> list[KubernetesObject]:
    """Return Services without endpoints: refused everywhere, or only for some clients."""
    return [
        service(
            f"{number}{'s' * (length - 1)}",
            namespace="n" * length,
            cluster_ips=[f"10.96.3.{number}", f"fd00:10:96::3:{number}"],
            ports=[
                ServicePort(
                    name=f"{protocol.lower()}{'p' * (length - len(protocol))}",
                    protocol=protocol,
                    port=80,
                    node_port=30900 + number,
                )
                for protocol in PROTOCOLS
            ],
            type="LoadBalancer",
            external_ips=(f"203.0.113.{number}", f"2001:db8:203::{number}"),
            load_balancer_ips=[f"203.0.113.{100 + number}", f"2001:db8:203::{100 + number}"],
            load_balancer_source_ranges=("198.51.100.0/24", "2001:db8::/32"),
            external_traffic_policy="Local" if number % 2 else "Cluster",
        )
        for number, length in enumerate((42, 43, 44, LONGEST, LONGEST), 1)
    ]


def saved(mode: Mode) -> dict[str, str]:
    """Return what is saved, by the command that loads it."""
    if mode.name == "nftables":
        return {"nft -f -": run(["nft", "list", "ruleset"])}
    tables = {
        f"{command}-{mode.variant}-restore": run([f"{command}-{mode.variant}-save"])
        for command in IPTABLES
    }
    if mode.name != "ipvs":
        return tables
    return {"ipset restore": run(["ipset", "save"])} | tables


def without_counters(text: str) -> list[str]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return sorted(line.split(" [")[0] if line.startswith(":") else line for line in lines)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_was_saved_can_be_loaded(mode: Mode) -> None:
    with bench(mode) as node:
        node.sync([*random_cluster().objects.values(), *nowhere()])
        texts = saved(mode)
    with Namespace.create() as namespace, namespace.entered():
        if mode.name != "nftables":
            for name in ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"):
                ensure_counter(name)
        for command, text in texts.items():
            run(command.split(), text)
        again = saved(mode)
    for command, text in texts.items():
        assert without_counters(again[command]) == without_counters(text)


def test_the_longest_name_is_cut() -> None:
    nft = next(mode for mode in MODES if isinstance(mode, Mode) and mode.name == "nftables")
    with bench(nft) as node:
        node.sync(nowhere()[-1:])
        listing = run(["nft", "list", "map", "ip", "kube-proxy", "no-endpoint-services"])
    whole = f"{'n' * LONGEST}/5{'s' * (LONGEST - 1)}:tcp"
    assert f'comment "{whole[:128]}"' in listing


def tables() -> dict[Family, dict[str, object]]:
    with Session() as session:
        return {family: table_of(session, family, TABLE) for family in Family}


def load_what_nft_saves() -> None:
    """Load the rules over themselves, then in place of them, and compare what the kernel has."""
    saved, before = run(["nft", "list", "ruleset"]), tables()
    run(["nft", "--check", "-f", "-"], saved)
    assert tables() == before
    run(["nft", "-f", "-"], saved)
    for family, table in tables().items():
        for name, held in before[family].items():  # nft adds each rule once more
            twice = (*held, *held) if isinstance(held, tuple) and "rules " in name else held
            assert table[name] == twice, name
    run(["nft", "-f", "-"], f"flush ruleset\n{saved}")
    assert tables() == before


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_what_nft_saves_can_be_loaded_over_the_live_rules(mode: Mode) -> None:
    with bench(mode) as node:
        node.sync([*random_cluster(EDITS_TO_ALL_KINDS).objects.values(), *nowhere()])
        load_what_nft_saves()


def all_kinds() -> list[Service]:
    """Return Services of both policies, with and without affinity, for both families."""
    return [
        service(
            f"{policy}-{affinity}".lower(),
            cluster_ips=[f"10.96.1.{number}", f"fd00:10:96::1:{number}"],
            ports=[
                ServicePort(
                    name=protocol.lower(),
                    protocol=protocol,
                    port=80,
                    target_port=8080,
                    node_port=30080 + number,
                )
                for protocol in PROTOCOLS
            ],
            type="NodePort",
            session_affinity=affinity,
            external_traffic_policy=policy,
        )
        for number, (policy, affinity) in enumerate(
            [("Cluster", "None"), ("Local", "None"), ("Cluster", "ClientIP"), ("Local", "ClientIP")]
        )
    ]


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_rules_that_nft_has_loaded_lead_to_the_same_pods(
    kproxy_lab: LabFactory, mode: Mode
) -> None:
    """Each Service has an endpoint on this node and on the other one."""
    lab = kproxy_lab(
        nodes=("node-a", "node-b"),
        pods={"shop": "node-a", "store": "node-b", "visitor": "node-a"},
        mode=mode.name,
        options=mode.options,
    )
    services = all_kinds()
    for each in services:
        lab.apply([each, *slices_for(each, [lab.pods["shop"], lab.pods["store"]])])
    node = lab.nodes["node-a"]
    packets = [
        Packet(client=client, address=address, port=port, protocol=protocol)
        for each in services
        for family, cluster_ip in zip(Family, each.spec.cluster_ips, strict=True)
        for protocol in WITHOUT_SCTP
        for client, address, port in (
            ("visitor", cluster_ip, 80),
            ("node-a", cluster_ip, 80),
            ("outside", node.addresses[family], each.spec.ports[0].node_port),
            ("visitor", node.addresses[family], each.spec.ports[0].node_port),
        )
    ]
    with node.namespace.entered():
        load_what_nft_saves()
    for answer in lab.connect_many(packets):
        assert answer.prediction
        assert answer.sources, str(answer)
        assert answer.sources.items() <= answer.prediction.sources.items(), str(answer)
