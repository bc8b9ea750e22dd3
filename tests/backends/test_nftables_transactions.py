"""Whatever transaction comes into force while a packet is matched, it finds its way; pure.

Such a packet goes on in the rules from before, but finds the elements from after.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kproxy_nftables import flat_layout, kube_proxy_layout
from kproxy_nftables.contents import Changes, Contents
from kproxy_nftables.frame import BASE_CHAINS
from kproxy_nftables.transaction import Fixed, Present, difference, from_nothing, replacement
from kproxy_nftables.wanted import NOTHING, Wanted
from kproxy_nftables.words import slot_bytes
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.forwarding.plan import NodeSettings, ServicePlan, ServicePortName
from kproxy.kernel.netlink import Request, attribute, attributes
from kproxy.kernel.nftables.objects import DIGEST, Table
from kproxy.kernel.nftables.types import entries
from tests.backends.test_nftables_contents import HERE, ONE, steps, target, unpacked
from tests.forwarding import plans

Layout = Callable[[ServicePlan, NodeSettings], Wanted]
LAYOUTS: Mapping[str, Layout] = {
    "kube-proxy": kube_proxy_layout.wanted,
    "flat": flat_layout.wanted,
}
DISPATCHING = {"service-ips", "service-nodeports", "firewall-ips", "no-endpoint-services"}
BALANCER = re.compile(r"(nodeport-)?(masq-lb|local-lb|lb)-(tcp|udp|sctp)-(\d+)")


class State:
    """Rules of a table, as digests by chain, and its elements, as data by key by set."""

    def __init__(self, former: State | None = None) -> None:
        self.chains: dict[str, list[bytes]] = {}
        self.elements: dict[str, dict[bytes, bytes]] = {}
        if former:
            self.chains = {name: [*rules] for name, rules in former.chains.items()}
            self.elements = {name: {**elements} for name, elements in former.elements.items()}

    def after(self, transaction: Iterable[Request]) -> State:
        found = State(self)
        for request in transaction:
            found._apply(str(request.what[0]), str(request.what[-1]), request.body)
        return found

    def present(self) -> Present:
        return Present(
            {name: name in BASE_CHAINS for name in self.chains},
            {name: rules for name, rules in self.chains.items() if rules},
            dict.fromkeys(self.elements, False),
            (),
        )

    def _apply(self, verb: str, name: str, body: bytes) -> None:
        match verb:
            case _ if name == "of a rule":
                return
            case "add chain":
                self.chains.setdefault(name, [])
            case "flush chain":
                self.chains[name].clear()
            case "delete chain":
                assert not self.chains.pop(name)
            case "add rule":
                user_data = dict(attributes(memoryview(body)[4:]))[7]
                self.chains[name].append(dict(entries(user_data))[DIGEST])
            case "add set" | "add map":
                self.elements.setdefault(name, {})
            case "delete set":
                del self.elements[name]
            case "flush set":
                self.elements[name].clear()
            case "add elements" | "delete elements":
                held = self.elements[name]
                packed = dict(attributes(memoryview(body)[4:]))[3]
                for _, each in attributes(packed):
                    key, data, _ = unpacked(attribute(1, bytes(each)))
                    if verb == "delete elements":
                        del held[key]
                    else:
                        assert key not in held
                        held[key] = data


def lost(before: State, after: State) -> Iterator[str]:
    """Say what a packet that is matched while the second state replaces the first would miss."""
    for name in DISPATCHING & before.elements.keys():
        found = after.elements[name]
        for key, data in before.elements[name].items():
            if key in found and found[key] != data:
                for chain_ in target(found[key]):
                    if chain_ and not before.chains.get(chain_):
                        yield f"{name}: {chain_} has no rules"
            for chain_ in target(data):
                if chain_ == "source-ranges-check":
                    if not any(each.startswith(key) for each in after.elements["source-ranges"]):
                        yield f"{name}: no source range"
                elif key in found:  # otherwise it is all the same: there is no such frontend
                    yield from _slots_lost(chain_, key, before, after)


def _slots_lost(chain_: str, frontend: bytes, before: State, after: State) -> Iterator[str]:
    if not (found := BALANCER.fullmatch(chain_)):
        return
    prefix, kind, protocol, count = found.groups(default="")
    local = kind == "local-lb"
    endpoints = after.elements[f"{prefix}{'local-' if local else ''}endpoints-{protocol}"]
    for slot in range(int(count)):
        if frontend[:-8] + frontend[-4:] + slot_bytes(slot) not in endpoints:
            yield f"{chain_}: slot {slot}"
    short_circuit = f"{prefix}short-circuit-ips"
    if local and frontend in before.elements[short_circuit]:
        if frontend not in after.elements[short_circuit]:
            yield f"{chain_}: short circuit"
        for there in target(before.elements[short_circuit][frontend]):
            yield from _slots_lost(there, frontend, before, after)


class Writer:
    """Service ports, and the table that was written for them in one layout."""

    def __init__(self, layout: str) -> None:
        self.table = Table(Family.IPV4, "kube-proxy")
        self._wanted = LAYOUTS[layout]
        self._fixed = Fixed(HERE, flat=layout == "flat")
        self._contents = Contents()
        self.services: dict[ServicePortName, ServicePlan] = {}

    def start(self) -> State:
        return State().after(from_nothing(self.table, self._fixed, Changes(), HERE))

    def step(self, webs: Mapping[str, plans.Web | None]) -> list[list[Request]]:
        for name, web in webs.items():
            key = ServicePortName("shop", name, "http", "TCP")
            former = self.services.pop(key, None)
            if web:
                self.services[key] = plans.service_plan(replace(web, name=name), HERE)
            before, after = (
                self._wanted(each, HERE) if each else NOTHING
                for each in (former, self.services.get(key))
            )
            self._contents.change(key, before, after)
        return [*difference(self.table, self._contents.take_changes(), HERE)]

    def take_over(
        self, services: Mapping[ServicePortName, ServicePlan], present: Present
    ) -> list[list[Request]]:
        for name, service in services.items():
            self._contents.change(name, NOTHING, self._wanted(service, HERE))
        changes = self._contents.take_changes()
        return [*replacement(self.table, present, self._fixed, changes, HERE)]


@pytest.mark.parametrize("layout", LAYOUTS)
@given(history=st.lists(steps, min_size=1, max_size=6))
@settings(max_examples=150)
def test_no_change_loses_a_packet(layout: str, history: list[dict[str, plans.Web | None]]) -> None:
    writer = Writer(layout)
    states = [writer.start()]
    for step in history:
        for transaction in writer.step(step):
            states.append(states[-1].after(transaction))
    assert [*chain.from_iterable(lost(*pair) for pair in pairwise(states))] == []


@pytest.mark.parametrize(("former", "layout"), [("flat", "kube-proxy"), ("kube-proxy", "flat")])
@given(step=steps)
@settings(max_examples=100)
def test_no_other_layout_loses_a_packet(
    former: str, layout: str, step: dict[str, plans.Web | None]
) -> None:
    writer, successor = Writer(former), Writer(layout)
    states = [writer.start()]
    for transaction in writer.step(step):
        states[0] = states[0].after(transaction)
    for transaction in successor.take_over(writer.services, states[0].present()):
        states.append(states[-1].after(transaction))
    assert [*chain.from_iterable(lost(*pair) for pair in pairwise(states))] == []
    (whole,) = Writer(layout).take_over(writer.services, State().present())
    assert vars(states[-1]) == vars(State().after(whole))


WITH_RANGES = replace(
    ONE, vips=("198.51.100.9",), source_ranges=("203.0.113.0/24", "10.244.0.0/16")
)


@pytest.mark.parametrize(
    ("before", "after", "verbs"),
    [
        (ONE, replace(ONE, on=("pod-a", "pod-c")), [{"delete elements", "add elements"}]),
        (
            *(ONE, replace(ONE, on=("pod-a",))),
            [
                {"add chain", "add rule"},
                {"delete elements", "add elements"},
                {"delete elements", "flush chain", "delete chain"},
            ],
        ),
        (
            WITH_RANGES,
            replace(WITH_RANGES, source_ranges=()),
            [{"delete elements"}, {"delete elements"}],
        ),
        (
            *(WITH_RANGES, replace(WITH_RANGES, source_ranges=("203.0.113.0/24",))),
            [{"delete elements"}],
        ),
        (ONE, None, [{"delete elements", "flush chain", "delete chain"}]),
    ],
)
def test_a_change_takes_as_few_transactions_as_it_can(
    before: plans.Web, after: plans.Web | None, verbs: list[set[str]]
) -> None:
    writer = Writer("flat")
    assert len(writer.step({"web": before})) == 1
    assert [
        {str(request.what[0]) for request in transaction}
        for transaction in writer.step({"web": after})
    ] == verbs
