"""Backends that die, are removed and recover, and their connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kproxy.errors import BadInput
from kproxy.forwarding.network import Packet
from kproxy.kernel.process import run
from kproxy.lab import Lab
from kproxy.lab.objects import slices_for
from kproxy.probe import connect_many
from netns_tests.edge.edge_lab import (
    ELB,
    V4,
    V6,
    Held,
    answer,
    apply,
    listener,
    pod,
    pods,
    running,
    spec,
    web,
)
from netns_tests.run.running import until

PODS = {
    "node-a": (pod("web-a", "web"),),
    "node-b": (pod("web-b", "web"),),
    "node-c": (pod("shell"),),
}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running(spec("vpc", PODS)) as up:
        yield up


def uplink(lab: Lab, node: str, state: str) -> None:
    lab.nodes[node].namespace.run(lambda: run(["ip", "link", "set", "eth0", state]))


FAULTS: list[tuple[str, str, Callable[[Lab], object], Callable[[Lab], object]]] = [
    (
        "Local",
        "refuses",
        lambda lab: lab.stop_proxy("node-a"),
        lambda lab: lab.start_proxy("node-a"),
    ),
    ("Local", "silent", lambda lab: uplink(lab, "node-a", "down"), lambda _lab: None),
    ("Cluster", "silent", lambda lab: uplink(lab, "node-a", "down"), lambda _lab: None),
]


@pytest.mark.parametrize(("policy", "how", "fail", "repair"), FAULTS)
def test_a_dead_node_is_taken_out(
    lab: Lab, policy: str, how: str, fail: Callable[[Lab], object], repair: Callable[[Lab], object]
) -> None:
    apply(lab, web(policy))
    address = lab.balancers["lb"].public[V4]
    everyone = listener(lab).healthy
    with Held(lab) as held:
        for _ in range(len(everyone)):
            held.open("outside", address)
        fail(lab)
        until("one is out of service", lambda: listener(lab).healthy == everyone[1:])
        assert listener(lab, "UDP").healthy == (everyone[1:] if policy == "Local" else everyone)
        reason = listener(lab).backends[0].reason
        assert reason == ("Connection refused" if how == "refuses" else "no answer in time")
        if policy == "Local":
            assert pods(lab, "outside", address, 3) == ["web-b"] * 3
            assert answer(held.sockets[1]) == "web-b"  # a connection from before
        repair(lab)
        if how == "refuses":
            until("all serve again", lambda: listener(lab).healthy == everyone)
            assert answer(held.sockets[0]) == "web-a"  # the node kept its rules


def test_without_a_healthy_backend_it_refuses(lab: Lab) -> None:
    apply(lab, web())
    for node in ("node-a", "node-b"):
        lab.stop_proxy(node)
    until("none is healthy", lambda: not any(each.healthy for each in lab.balancer_state()))
    balancer = lab.balancers["lb"]
    packets = [
        Packet(client=client, address=address, port=80, protocol=protocol)
        for client, way in (("outside", balancer.public), ("node-c", balancer.addresses))
        for address in way.values()
        for protocol in ("TCP", "UDP")
    ]
    assert [str(seen) for seen in connect_many(lab, packets)] == ["refused"] * len(packets)
    lab.start_proxy("node-b")
    until("all are healthy", lambda: all(each.healthy for each in lab.balancer_state()))
    assert pods(lab, "outside", balancer.public[V6], 2) == ["web-b"] * 2


def test_without_checks_all_are_in(lab: Lab) -> None:
    lab.stop_proxy("node-a")
    apply(lab, web(annotations={f"{ELB}health-check-flag": "off"}))
    assert listener(lab).healthy == ("node-a", "node-b")
    apply(lab, web())
    assert listener(lab).healthy == ("node-b",)


def test_a_backend_that_leaves_is_drained(lab: Lab) -> None:
    made = web()
    apply(lab, made)
    address = lab.balancers["lb"].public[V4]
    with Held(lab) as held:
        first, second = (held.open("outside", address) for _ in range(2))
        lab.apply(slices_for(made, [lab.pods["web-b"]]))
        assert listener(lab).healthy == ("node-b",)
        assert listener(lab).draining == (f"{lab.nodes['node-a'].addresses[V4]}:30080",)
        assert pods(lab, "outside", address, 3) == ["web-b"] * 3
        assert [answer(first), answer(second)] == ["web-a", "web-b"]
        apply(lab, made)
        assert listener(lab).draining == ()


def test_a_drain_has_an_end() -> None:
    made = web()
    with running(spec("vpc", PODS), drain_s=0.0) as lab, Held(lab) as held:
        apply(lab, made)
        address = lab.balancers["lb"].public[V4]
        first, second = (held.open("outside", address) for _ in range(2))
        lab.apply(slices_for(made, [lab.pods["web-b"]]))
        until("nothing drains", lambda: listener(lab).draining == ())
        assert [answer(first), answer(second)] == ["", "web-b"]


def test_bad_annotations_change_nothing(lab: Lab) -> None:
    apply(lab, web())
    before = lab.balancer_state()
    for bad, text in (
        ({f"{ELB}class": "best"}, "'best' is none of: union, performance, dnat"),
        ({f"{ELB}id": "lb-9"}, "there is no load balancer 'lb-9'"),
    ):
        (name,) = bad
        with pytest.raises(BadInput) as caught:
            lab.apply([web(annotations=bad)])
        assert caught.value.problems == [
            f"Service default/web: metadata.annotations[{name}]: {text}"
        ]
    assert [each.listener for each in lab.balancer_state()] == [each.listener for each in before]


def test_removal_leaves_no_rule(lab: Lab) -> None:
    balancer = lab.balancers["lb"]
    lab.replace([])
    apply(lab, web())
    lab.delete([("Service", "default", "web")])
    assert lab.balancer_state() == ()
    saved = balancer.namespace.run(lambda: run(["iptables-save"]) + run(["ip6tables-save"]))
    assert [line for line in saved.splitlines() if "DNAT" in line or "REJECT" in line] == []
    assert "EDGE-TCP-80" not in saved
    packet = Packet(client="outside", address=balancer.public[V4], port=80)
    assert [str(seen) for seen in connect_many(lab, [packet])] == ["refused"]
