"""Any history of changes ends with the same contents of the table as a fresh start; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kproxy_nftables import flat_layout, kube_proxy_layout
from kproxy_nftables.contents import Changes, Contents, arranged
from kproxy_nftables.transaction import Fixed
from kproxy_nftables.wanted import NOTHING, Balancer, Wanted
from msgspec.structs import replace

from kproxy.forwarding.plan import (
    LoopbackNodePorts,
    NodeSettings,
    ServicePlan,
    ServicePortName,
)
from kproxy.kernel.netlink import attributes
from kproxy.kernel.nftables.objects import AnonymousSet, Rule, Set
from tests.forwarding import plans

HERE = replace(  # a node with all kinds of objects
    plans.settings("node-a"), loopback_node_ports=LoopbackNodePorts.REJECTED
)
Layout = Callable[[ServicePlan, NodeSettings], Wanted]
LAYOUTS = [
    pytest.param(kube_proxy_layout.wanted, False, id="kube-proxy"),
    pytest.param(flat_layout.wanted, True, id="flat"),
]

# Few values of each kind, so that service ports share them.
ADDRESSES = ("198.51.100.7", "198.51.100.8", "10.96.0.10")
CIDRS = ("203.0.113.0/24", "203.0.113.128/25", "10.244.0.0/16", "198.51.100.7/32", "0.0.0.0/0")
PODS = ("pod-a", "pod-a2", "pod-b", "pod-c", "node-a", "10.244.9.9:8080")


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), unique=True).map(tuple)


webs = st.builds(
    plans.Web,
    on=some(*PODS),
    external=st.sampled_from(("Cluster", "Local")),
    internal=st.sampled_from(("Cluster", "Local")),
    cluster_ip=st.sampled_from(("10.96.0.10", "10.96.0.11")),
    external_ips=some(*ADDRESSES),
    vips=some(*ADDRESSES),
    source_ranges=some(*CIDRS),
    node_port=st.sampled_from((30080, 30081)),
    affinity_timeout_s=st.sampled_from((0, 0, 10, 10800)),
)
# The changes between two syncs: name -> the new service port, None if it is removed.
steps = st.dictionaries(st.sampled_from("abcd"), st.none() | webs, max_size=3)


class Table:
    """The contents of a kernel that refuses objects which exist, are missing, or are still used."""

    def __init__(self, fixed: Fixed) -> None:
        self.fixed = fixed
        self.sets: dict[str, Set] = {}
        self.chains: dict[str, tuple[Rule, ...]] = {}
        self.elements: dict[str, dict[bytes, tuple[bytes, bytes]]] = {
            set_.name: {} for set_ in fixed.sets
        }

    def apply(self, changes: Changes) -> None:
        self.sets.update({set_.name: set_ for set_ in changes.sets})
        balancers = {
            balancer.name: flat_layout.balancer_rules(balancer, HERE)
            for balancer in changes.balancers
        }
        assert not (balancers.keys() | changes.new_chains) & self.chains.keys()
        assert changes.chains.keys() - changes.new_chains <= self.chains.keys()
        self.chains |= changes.chains | balancers
        for set_, elements in changes.removed_elements.items():
            for each in elements:
                key, _, _ = unpacked(each)
                del self.elements[set_][key]
        for set_, elements in changes.elements.items():
            for each in elements:
                key, data, comment = unpacked(each)
                assert key not in self.elements[set_], set_
                self.elements[set_][key] = data, comment
        for set_, elements in changes.unreachable_elements.items():
            for each in elements:
                del self.elements[set_][unpacked(each)[0]]
        for name in changes.removed_chains:
            del self.chains[name]
        for name in changes.removed_sets:
            del self.sets[name]
        assert {*self._used()} <= self._names()

    def contents(self) -> Mapping[str, object]:
        """Return the contents, with endpoints sorted, because their slots depend on history."""
        held: dict[str, object] = {}
        for name, elements in self.elements.items():
            held[name] = self._without_slots(name) if "endpoints-" in name else elements
        return {"chains": self.chains, "sets": self.sets, **held}

    def _without_slots(self, map_: str) -> Mapping[bytes, Sequence[bytes]]:
        frontends: dict[bytes, dict[int, bytes]] = {}
        for key, (data, _) in self.elements[map_].items():
            slot = int.from_bytes(key[-4:], "little")
            frontends.setdefault(key[:-4], {})[slot] = data
        for slots in frontends.values():
            assert sorted(slots) == [*range(len(slots))]
        return {frontend: sorted(slots.values()) for frontend, slots in frontends.items()}

    def _names(self) -> set[str]:
        return {*self.fixed.chains, *self.elements, *self.chains, *self.sets}

    def _used(self) -> Iterator[str]:
        for data, _ in chain.from_iterable(held.values() for held in self.elements.values()):
            yield from target(data)
        for rule in chain.from_iterable(self.chains.values()):
            for part in rule.expressions:
                if isinstance(part, AnonymousSet):
                    for each in part.elements:
                        yield from target(unpacked(each)[1])
                else:
                    yield from used_by(part)


def parts(data: bytes) -> dict[int, bytes]:
    return {kind: bytes(value) for kind, value in attributes(memoryview(data))}


def unpacked(element: bytes) -> tuple[bytes, bytes, bytes]:
    """Return key (of an interval: first and last), data and comment of an element."""
    (whole,) = parts(element).values()
    body = parts(whole)
    key = parts(body[1])[1] + parts(body.get(10, b"")).get(1, b"")
    return key, body.get(2, b""), body.get(6, b"")


def target(data: bytes) -> Iterator[str]:
    """Return the chain that a verdict leads to, "" for drop and for other data."""
    verdict = parts(parts(data).get(2, b""))
    if 2 in verdict:
        yield verdict[2].rstrip(b"\0").decode()


def used_by(expressions: bytes) -> Iterator[str]:
    for _, expression in attributes(memoryview(expressions)):
        head = parts(bytes(expression))
        kind, body = head[1].rstrip(b"\0").decode(), parts(head[2])
        if kind in ("lookup", "dynset"):
            yield body[1].rstrip(b"\0").decode()
        elif kind == "immediate":
            yield from target(body[2])


def want(layout: Layout, service: ServicePlan | None) -> Wanted:
    return layout(service, HERE) if service else NOTHING


@pytest.mark.parametrize(("layout", "flat"), LAYOUTS)
@given(history=st.lists(steps, min_size=1, max_size=8))
@settings(max_examples=150)
def test_changes_add_up_to_the_whole(
    layout: Layout, flat: bool, history: list[dict[str, plans.Web | None]]
) -> None:
    fixed = Fixed(HERE, flat=flat)
    contents, table = Contents(), Table(fixed)
    services: dict[ServicePortName, ServicePlan] = {}
    for step in history:
        for name, web in step.items():
            key = ServicePortName("shop", name, "http", "TCP")
            former = services.pop(key, None)
            if web:
                services[key] = plans.service_plan(replace(web, name=name), HERE)
            contents.change(key, want(layout, former), want(layout, services.get(key)))
        table.apply(contents.take_changes())
    fresh, whole = Contents(), Table(fixed)
    for key, service in services.items():
        fresh.change(key, NOTHING, layout(service, HERE))
    whole.apply(fresh.take_changes())
    assert table.contents() == whole.contents()
    for each, held in ((contents, table), (fresh, whole)):
        counts = each.element_counts
        assert {name: counts[name] for name in held.elements} == {
            name: len(elements) for name, elements in held.elements.items()
        }
        balancers = {balancer.name for balancer in each.balancers}
        assert each.rule_counts == {
            name: len(rules) for name, rules in held.chains.items() if name not in balancers
        }
        assert {*each.rule_counts, *balancers} == held.chains.keys()
        assert each.affinity_sets == held.sets.keys()
    assert not contents.take_changes()


def changes_between(layout: Layout, before: plans.Web, after: plans.Web) -> Changes:
    former, fresh = (plans.service_plan(web, HERE) for web in (before, after))
    contents = Contents()
    contents.change(former.name, NOTHING, layout(former, HERE))
    contents.take_changes()
    contents.change(former.name, layout(former, HERE), layout(fresh, HERE))
    return contents.take_changes()


ONE = plans.Web(on=("pod-a", "pod-b"), external_ips=(), vips=())
MORE = plans.Web(on=("pod-a", "pod-b", "pod-c"), external_ips=(), vips=())
HAIRPIN = {"hairpin-connections": 1, "hairpin-ips": 1}
REPLACED = plans.Web(on=("pod-a", "pod-c"), external_ips=(), vips=())


@pytest.mark.parametrize(
    ("before", "after", "removed", "written", "balancers"),
    [
        (ONE, ONE, {}, {}, set()),
        # One more endpoint for the cluster IP and the node port: new chains lead to it.
        (
            *(ONE, MORE, {"service-ips": 1, "service-nodeports": 1}),
            {
                "service-ips": 1,
                "endpoints-tcp": 1,
                "service-nodeports": 1,
                "nodeport-endpoints-tcp": 1,
            },
            {"lb-tcp-3", "nodeport-lb-tcp-3", "nodeport-masq-lb-tcp-3"},
        ),
        # The last slot is removed, or its endpoint moves into the gap.
        (
            MORE,
            ONE,
            {"service-ips": 1, "service-nodeports": 1},
            {"service-ips": 1, "service-nodeports": 1},
            {"lb-tcp-2", "nodeport-lb-tcp-2", "nodeport-masq-lb-tcp-2"},
        ),
        # Another endpoint in the place of a removed one.
        (
            *(ONE, REPLACED, {"endpoints-tcp": 1, "nodeport-endpoints-tcp": 1}),
            {"endpoints-tcp": 1, "nodeport-endpoints-tcp": 1},
            set(),
        ),
    ],
)
def test_what_a_change_costs_in_the_flat_layout(
    before: plans.Web,
    after: plans.Web,
    removed: dict[str, int],
    written: dict[str, int],
    balancers: set[str],
) -> None:
    """Only a few elements change, and chains only for a new number of endpoints."""
    changes = changes_between(flat_layout.wanted, before, after)
    assert {name: len(each) for name, each in changes.removed_elements.items()} == removed
    assert {name: len(each) for name, each in changes.elements.items()} == written
    assert {balancer.name for balancer in changes.balancers} == balancers
    assert (changes.chains, changes.sets, changes.removed_sets) == ({}, [], [])


def test_what_a_change_costs_in_kube_proxys_layout() -> None:
    """Only the chain with the endpoints changes."""
    changes = changes_between(kube_proxy_layout.wanted, ONE, MORE)
    assert [name.partition("-")[0] for name in changes.chains] == ["service"]
    assert {name for name, value in vars(changes).items() if value} == {"chains"}


@pytest.mark.parametrize(
    ("balancer", "name"),
    [
        (Balancer("lb", "TCP", 3, False), "lb-tcp-3"),
        (Balancer("masq-lb", "UDP", 12, False), "masq-lb-udp-12"),
        (Balancer("local-lb", "SCTP", 0, True), "nodeport-local-lb-sctp-0"),
    ],
)
def test_shared_chains_are_named_for_what_they_do(balancer: Balancer, name: str) -> None:
    assert balancer.name == name


places = st.lists(st.sampled_from([bytes([each]) for each in range(9)]), unique=True).map(tuple)


@given(places, places)
def test_endpoints_keep_their_slots(held: tuple[bytes, ...], wanted: tuple[bytes, ...]) -> None:
    """Only an endpoint whose slot is beyond the last one moves."""
    found = arranged(held, wanted)
    assert sorted(found) == sorted(wanted)
    for slot, endpoint in enumerate(held[: len(wanted)]):
        if endpoint in wanted:
            assert found[slot] == endpoint
