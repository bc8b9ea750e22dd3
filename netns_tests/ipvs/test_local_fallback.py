"""ipvs mode as in kube-proxy before Kubernetes 1.25: a Service with policy Local and no endpoint on
the node is refused, while it leads to other nodes now.
"""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.api.types import KubernetesObject, Protocol, ServicePort
from kproxy.kernel.ipvs import Ipvs, VirtualServer
from kproxy.lab import service
from kproxy.testing import LabFactory, delivered, refused
from kproxy.testing.node import new_node
from netns_tests.forwarding.survey import BOTH, PROTOCOLS, Case, Survey, build_lab
from netns_tests.modes import Mode
from netns_tests.node import Bench, fresh_state, random_cluster
from tests.proxy.objects import endpoints

pytestmark = pytest.mark.ipvs

BEFORE, SINCE = Mode("ipvs", "legacy", local_fallback=False), Mode("ipvs", "legacy")

CASES = [  # asks, policy, client, endpoints -> outcome
    Case("node-a", "Local", "outside", "pod-b", refused("node-a")),
    Case("node-a", "Local", "node-c", "pod-b", refused("node-a")),
    Case("node-a", "Local", "visitor-a", "pod-b", refused("node-a")),
    Case("node-a", "Local", "node-a", "pod-b", refused("node-a")),
    Case("node-a", "Local", "visitor-c", "pod-a", delivered("pod-a", source="visitor-c")),
    Case("node-a", "Local", "outside", "pod-a pod-b", delivered("pod-a", source="outside")),
    Case("node-a", "Cluster", "outside", "pod-b", delivered("pod-b", source="node-a")),
    Case("node-a", "Local", "outside", "", refused("node-a")),
    Case("VIP", "Local", "outside", "pod-b", refused("node-a")),
    Case("VIP", "Local", "visitor-c", "pod-b", refused("node-c")),
    Case("VIP", "Local", "outside", "pod-a", delivered("pod-a", source="outside")),
    Case("external IP", "Local", "outside", "pod-b", refused("node-a")),
    Case("external IP", "Local", "node-a", "pod-b", refused("node-a")),
    Case("external IP", "Local", "outside", "pod-a", delivered("pod-a", source="outside")),
    Case("cluster IP", "Local", "visitor-a", "pod-b", refused("node-a")),
    Case("cluster IP", "Local", "node-a", "pod-b", refused("node-a")),
    Case("cluster IP", "Local", "visitor-a", "pod-a", delivered("pod-a", source="visitor-a")),
    Case("cluster IP", "Cluster", "visitor-a", "pod-b", delivered("pod-b", source="visitor-a")),
]


@pytest.fixture(scope="module")
def survey() -> Survey:
    with LabFactory() as factory:
        return Survey(build_lab(factory, BEFORE), CASES)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("row", CASES, ids=str)
def test_everybody_agrees(survey: Survey, row: Case, family: Family, protocol: Protocol) -> None:
    seen = survey[row, family, protocol]
    assert seen.packet == seen.outcome
    assert seen.connection == seen.outcome
    assert seen.oracle == seen.outcome


def test_switching_a_node_leaves_what_a_fresh_start_would() -> None:
    objects = [*random_cluster().objects.values(), *elsewhere("10.244.9.5")]
    states = {BEFORE: fresh_state(BEFORE, objects)}
    with new_node():
        for mode in (SINCE, BEFORE, SINCE):
            node = Bench(mode)
            node.sync(objects)
            found = node.state()
            assert found == states.setdefault(mode, found)  # the first one is on a fresh node
    assert states[BEFORE] != states[SINCE]


def elsewhere(*addresses: str) -> list[KubernetesObject]:
    """Return a Service with both policies Local, and its endpoints, none of them on the node."""
    shop = service(
        "shop",
        cluster_ips=["10.96.9.1"],
        ports=[ServicePort(name="http", port=80, node_port=30999)],
        type="NodePort",
        external_traffic_policy="Local",
        internal_traffic_policy="Local",
    )
    return [shop, endpoints("shop", *addresses)]


@pytest.mark.parametrize(("mode", "reached"), [(BEFORE, set()), (SINCE, {"10.244.9.6"})])
def test_virtual_servers_are_there_with_or_without_real_ones(mode: Mode, reached: set[str]) -> None:
    with new_node():
        node = Bench(mode)
        node.sync(elsewhere("10.244.9.5"))
        node.sync(elsewhere("10.244.9.6"))
        with Ipvs() as ipvs:
            for address, port in (("10.96.9.1", 80), ("192.168.10.10", 30999)):
                found = ipvs.real_servers(VirtualServer("TCP", address, port))
                assert {real.address for real in found} == reached
        assert node.proxy.damaged() == ()
