"""Properties of every packet, whatever the Service, checked on generated ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from kproxy.address import Family, family_of
from kproxy.backend import rules_of
from kproxy.forwarding.network import HostKind, Network
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import Plan
from kproxy.outcome import Outcome
from tests.forwarding.plans import (
    CLUSTER_CIDR,
    HOSTS,
    NETWORK,
    NODES,
    POD_LINKS,
    Web,
    node_cidr,
    plan,
    settings,
)
from tests.forwarding.wording import packet

PODS = tuple(host.name for host in HOSTS if host.kind is HostKind.POD)
EXTERNAL = ("external-ip:80", "vip:80", *(f"{node}:30080" for node in NODES), "gw-b:30080")
IPV4_OF_NODES = {
    a for h in HOSTS if h.kind is HostKind.NODE for a in h.addresses if family_of(a) is Family.IPV4
}
K = TypeVar("K")
V = TypeVar("V")
POLICIES = ("Cluster", "Local")

pod_sets = st.lists(st.sampled_from(PODS), unique=True).map(tuple)
webs = st.builds(
    Web,
    on=pod_sets,
    external=st.sampled_from(POLICIES),
    internal=st.sampled_from(POLICIES),
    source_ranges=st.sampled_from(((), ("203.0.113.0/24",), ("10.244.0.0/16", "192.168.0.12"))),
)
clients = st.sampled_from(("outside", *NODES, *PODS))
modes = st.sampled_from(("iptables", "nftables"))
asks = st.sampled_from(("cluster-ip:80", *EXTERNAL, "vip:81", "pod-c:8080"))
OTHER = Web(
    name="api", on=("pod-c",), cluster_ip="10.96.0.11", external_ips=(), vips=(), node_port=30081
)


@st.composite
def worlds(draw: st.DrawFn, web: st.SearchStrategy[Web] = webs) -> dict[str, Plan]:
    """Generate plans of all nodes, which have the same settings."""
    services = [draw(web), OTHER]
    detector = draw(st.sampled_from((None, CLUSTER_CIDR, POD_LINKS, node_cidr(1))))
    masquerade_all = draw(st.booleans())
    cidrs: tuple[str, ...] = draw(st.sampled_from(((), ("192.168.0.0/24",))))
    return {
        node: plan(
            services,
            settings(
                node, detector=detector, masquerade_all=masquerade_all, node_port_addresses=cidrs
            ),
        )
        for node in NODES
    }


def backwards(mapping: Mapping[K, V]) -> dict[K, V]:
    return {key: mapping[key] for key in reversed(list(mapping))}


@given(plans=worlds(), client=clients, address=asks, mode=modes)
def test_only_reachable_endpoints_answer(
    plans: dict[str, Plan], client: str, address: str, mode: str
) -> None:
    asked = packet(client, address)
    prediction = predict(NETWORK, plans, asked, rules_of(mode))
    reachable = {
        endpoint.address
        for node in plans.values()
        for service in node.services.values()
        for endpoint in service.reachable
    }
    for name, source in prediction.sources.items():
        own = NETWORK.hosts[name].addresses
        assert reachable.intersection(own) or asked.address in own
        assert source
    assert bool(prediction.sources) == (prediction.outcome is Outcome.DELIVERED)
    assert prediction.unanswered <= set(prediction.sources)
    assert prediction.at in NETWORK.hosts


@given(plans=worlds(), client=clients, address=asks, mode=modes)
def test_order_does_not_matter(
    plans: dict[str, Plan], client: str, address: str, mode: str
) -> None:
    asked = packet(client, address)
    mirrored = Network(hosts=backwards(NETWORK.hosts), routes=backwards(NETWORK.routes))
    reordered = {
        node: structs.replace(former, services=backwards(former.services))
        for node, former in backwards(plans).items()
    }
    assert predict(NETWORK, plans, asked, rules_of(mode)) == predict(
        mirrored, reordered, asked, rules_of(mode)
    )


CLUSTER = st.builds(Web, on=pod_sets)
LOCAL = st.builds(Web, on=pod_sets, external=st.just("Local"))


@given(plans=worlds(CLUSTER), address=st.sampled_from(EXTERNAL), mode=modes)
def test_cluster_hides_clients_outside_and_always_answers(
    plans: dict[str, Plan], address: str, mode: str
) -> None:
    prediction = predict(NETWORK, plans, packet("outside", address), rules_of(mode))
    assert set(prediction.sources.values()) <= IPV4_OF_NODES
    assert prediction.answered


@given(plans=worlds(LOCAL), address=st.sampled_from(EXTERNAL), mode=modes)
def test_local_keeps_the_address_of_clients_outside(
    plans: dict[str, Plan], address: str, mode: str
) -> None:
    prediction = predict(NETWORK, plans, packet("outside", address), rules_of(mode))
    assert set(prediction.sources.values()) <= {"203.0.113.9"}
    assert prediction.answered
    asked_node = {"external-ip:80": "node-a", "vip:80": "node-a", "gw-b:30080": "node-b"}.get(
        address, address.partition(":")[0]
    )
    assert all(NETWORK.hosts[pod].node == asked_node for pod in prediction.sources)


@given(plans=worlds(), client=clients, mode=modes)
def test_cluster_ips_answer_every_client_that_reaches_them(
    plans: dict[str, Plan], client: str, mode: str
) -> None:
    """The client's own node translates, and it is on every way back."""
    assert predict(NETWORK, plans, packet(client, "cluster-ip:80"), rules_of(mode)).answered
