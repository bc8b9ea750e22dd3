"""The backend of the next connection, by the algorithm of the load balancer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.address import Family
from kproxy.api.types import Protocol
from kproxy.lab import Lab
from kproxy.lab.objects import slices_for
from netns_tests.edge.edge_lab import (
    ALIBABA,
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
    "node-a": (pod("web-a", "web"), pod("shop-1", "shop"), pod("shop-2", "shop")),
    "node-b": (pod("web-b", "web"), pod("shop-3", "shop")),
    "node-c": (pod("web-c", "web"),),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(spec("vpc", PODS)) as up:
        yield up


@pytest.mark.parametrize("family", [V4, V6])
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_round_robin(lab: Lab, protocol: Protocol, family: Family) -> None:
    lab.replace([])
    apply(lab, web())
    address = lab.balancers["lb"].public[family]
    assert pods(lab, "outside", address, 6, protocol) == ["web-a", "web-b", "web-c"] * 2


def test_weights_are_pods(lab: Lab) -> None:
    apply(lab, web(annotations={f"{ALIBABA}scheduler": "wrr"}, app="shop"))
    answers = pods(lab, "outside", lab.balancers["lb"].public[V4], 9)
    assert [each == "shop-3" for each in answers] == [False, True, False] * 3


def test_an_edit_elsewhere_takes_nobody_s_turn(lab: Lab) -> None:
    lab.replace([])
    apply(lab, web())
    address = lab.balancers["lb"].public[V4]
    assert pods(lab, "outside", address, 1) == ["web-a"]
    apply(lab, web(annotations={"example.com/note": "of no matter"}))
    assert pods(lab, "outside", address, 2) == ["web-b", "web-c"]


@pytest.mark.parametrize(
    "annotations",
    [
        {f"{ELB}lb-algorithm": "SOURCE_IP"},
        {f"{ELB}session-affinity-mode": "SOURCE_IP"},
        {f"{ALIBABA}persistence-timeout": "60"},
    ],
    ids=lambda value: next(iter(value)),
)
def test_persistence(lab: Lab, annotations: dict[str, str]) -> None:
    """A source keeps its backend over an update, unless the backend has been removed."""
    lab.replace([])
    made = web(annotations=annotations)
    apply(lab, made)
    address = lab.balancers["lb"].public[V4]
    for client, expected in (("outside", "web-a"), ("other", "web-b"), ("node-c", "web-c")):
        assert pods(lab, client, address, 3) == [expected] * 3
    lab.apply(slices_for(made, [lab.pods["web-b"], lab.pods["web-c"]]))
    assert pods(lab, "other", address, 3) == ["web-b"] * 3
    (chosen,) = set(pods(lab, "outside", address, 3))
    assert chosen in ("web-b", "web-c")


def test_least_connections(lab: Lab) -> None:
    lab.replace([])
    apply(lab, web(annotations={f"{ELB}lb-algorithm": "LEAST_CONNECTIONS"}, app="shop"))
    address = lab.balancers["lb"].public[V4]
    with Held(lab) as held:

        def loads() -> list[int]:
            return [each.connections for each in listener(lab).backends]

        def hold(expected: list[int]) -> None:
            held.open("outside", address)
            until("the load is known", lambda: loads() == expected)

        for expected in ([1, 0], [1, 1], [2, 1], [2, 2]):
            hold(expected)
        for sock in held.sockets[::2]:
            assert answer(sock).startswith("shop-")
            sock.close()
        until("the load is known", lambda: loads() == [0, 2])
        for expected in ([1, 2], [2, 2]):
            hold(expected)
