"""The verdicts are what the rules do that a mode would write, for random clusters and settings.

The rules come from the mode's renderer, which the recordings hold to kube-proxy's; the walkers know
nothing of plans.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from kproxy.address import Family, family_of
from kproxy.api.types import KubernetesObject, LoadBalancerIngress, Node, Service
from kproxy.backend.configuration import Configuration, checked_configuration
from kproxy.testing.random_cluster import RandomCluster
from kproxy.verdict.places import Place
from kproxy.verdict.question import NodeProxy
from tests.verdict import iptables_walk, ipvs_walk, nft_walk
from tests.verdict.recordings import GATEWAY, NODE, OWN, questions, seen
from tests.verdict.walking import Fate, Packet
from tests.verdict.walking import Node as At

SEEDS = range(8)
RIVALS = range(3)
EDITS = 30
CLAIMED = ("198.51.100.77", "10.96.0.1", "10.96.0.2", "10.96.0.3", "fd00:203::77", "fd00:10:96::1")
ANSWERING = (*OWN, "127.0.0.1", "::1")
OTHERS = 200  # questions about no Service, by chance
POD_INTERFACE = "veth7"
SETTINGS: tuple[Mapping[str, Any], ...] = (
    {"clusterCIDR": "10.244.0.0/16,fd00:10:244::/56"},
    {},
    {
        "detectLocalMode": "InterfaceNamePrefix",
        "detectLocal": {"interfaceNamePrefix": "veth"},
        "nodePortAddresses": ["192.168.10.0/24", "fd00:192::/64"],
    },
    {
        "clusterCIDR": "10.244.0.0/24",
        "iptables": {"masqueradeAll": True, "localhostNodePorts": False},
        "nftables": {"masqueradeAll": True},
        "nodePortAddresses": ["0.0.0.0/0"],
    },
)

Walk = Callable[[Packet, At], Fate]
Ruleset = Mapping[str, Mapping[str, tuple[str, ...]]]


def tables_of(ruleset: Ruleset) -> iptables_walk.Tables:
    return {
        table: {
            name: [iptables_walk.rule(shlex.split(rule)) for rule in ruleset[table][name]]
            for name in ruleset[table]
        }
        for table in ("filter", "nat")
    }


def iptables(ruleset: Ruleset) -> Walk:
    tables = tables_of(ruleset)
    return lambda packet, node: iptables_walk.walk(tables, packet, node)


def ipvs(ruleset: Ruleset) -> Walk:
    bound = (address for each in ruleset["addresses"].values() for address in each)
    lines = (line for server, reals in ruleset["ipvs"].items() for line in (server, *reals))
    kernel = ipvs_walk.Kernel(
        tables_of(ruleset),
        {name: frozenset(entries) for name, entries in ruleset["ipset"].items()},
        ipvs_walk.addresses(bound),
        ipvs_walk.servers(lines),
    )
    return lambda packet, node: ipvs_walk.walk(kernel, packet, node)


def nftables(ruleset: Ruleset) -> Walk:
    (objects,) = ruleset.values()
    table = nft_walk.table(objects)
    return lambda packet, node: nft_walk.walk(table, packet, node)


def rules_of(configuration: Configuration, proxy: NodeProxy, family: Family) -> Ruleset:
    render = configuration.mode.render
    assert render
    return render(proxy.plan(family), frozenset({*OWN, "127.0.0.1", "::1"}))


def with_pods(obj: KubernetesObject) -> KubernetesObject:
    """Return a Node with the CIDRs of its pods; other objects as they are."""
    if not isinstance(obj, Node):
        return obj
    number = obj.metadata.name.removeprefix("node-")
    cidrs = (f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64")
    return replace(obj, spec=replace(obj.spec, pod_cidrs=cidrs))


def with_rivals(obj: KubernetesObject, random: Random) -> KubernetesObject:
    """Return a Service with addresses that others have, too, in random order; others as they are.

    It may claim cluster IPs, its own among them.
    """
    if not isinstance(obj, Service):
        return obj
    balancer = replace(
        obj.status.load_balancer,
        ingress=tuple(LoadBalancerIngress(ip=each) for each in random.sample(CLAIMED, 2)),
    )
    spec = replace(obj.spec, external_ips=tuple(random.sample(CLAIMED, 3)))
    return replace(obj, spec=spec, status=replace(obj.status, load_balancer=balancer))


def places_of_services(proxy: NodeProxy) -> set[Place]:
    """Return all places of Services, among them node ports on the addresses of the node."""
    return {
        Place(address=address, port=frontend.port, protocol=service.protocol)
        for family in Family
        for service in proxy.plan(family).services.values()
        for frontend in service.frontends
        for address in ([frontend.address] if frontend.address else ANSWERING)
    }


@pytest.mark.parametrize("mode", [iptables, nftables, ipvs], ids=lambda mode: mode.__name__)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_verdict_is_what_the_rules_do(seed: int, mode: Callable[[Ruleset], Walk]) -> None:
    cluster = RandomCluster(seed)
    for _ in range(EDITS):
        cluster.edit()
    assert_as_rendered(seed, mode, tuple(map(with_pods, cluster.objects.values())))


@pytest.mark.parametrize("mode", [iptables, nftables, ipvs], ids=lambda mode: mode.__name__)
@pytest.mark.parametrize("seed", RIVALS)
def test_the_verdict_is_what_the_rules_do_for_addresses_of_several_services(
    seed: int, mode: Callable[[Ruleset], Walk]
) -> None:
    cluster, random = RandomCluster(seed), Random(seed)
    for _ in range(EDITS):
        cluster.edit()
    objects = (with_rivals(with_pods(each), random) for each in cluster.objects.values())
    assert_as_rendered(seed, mode, tuple(objects))


def assert_as_rendered(
    seed: int, mode: Callable[[Ruleset], Walk], objects: Sequence[KubernetesObject]
) -> None:
    given = {
        **SETTINGS[seed // 2 % len(SETTINGS)],
        "mode": mode.__name__,
        "emulate": ("1.36", "1.37")[seed % 2],
    }
    configuration = checked_configuration(None, given)
    ours = NodeProxy(objects, configuration, NODE, [GATEWAY])
    walks = {family: mode(rules_of(configuration, ours, family)) for family in Family}
    node = At(frozenset(OWN), ours.plan(Family.IPV4).settings.localhost_node_ports)
    asked: list[tuple[Packet, Place]] = []
    others: list[tuple[Packet, Place]] = []
    places = places_of_services(ours)
    bound = {address for family in Family for address in ours.bound(family)}
    for question in questions(objects, POD_INTERFACE, bound):
        (asked if question[1] in places else others).append(question)
    assert asked
    wrong = []
    for packet, place in (*asked, *Random(seed).sample(others, OTHERS)):
        expected = walks[family_of(place.address)](packet, node)
        if (found := seen(ours, packet, place)) != expected:
            wrong.append(f"{packet}: the rules {expected}, kproxy {found}")
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:20])
