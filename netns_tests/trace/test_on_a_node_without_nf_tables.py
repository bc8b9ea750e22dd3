"""`kproxy trace --node` without nf_tables: legacy iptables does what that does elsewhere.

Each command takes seconds on that kernel, so most of what it shows is tested on the other one.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from kproxy.address import Family, host_port
from kproxy.backend import load
from kproxy.kernel import legacy_tables, sysctl
from kproxy.testing import LabFactory
from netns_tests.modes import Mode
from netns_tests.run.running import until
from netns_tests.trace.test_traces import CLUSTER_IPS, OTHER_IPS, V4, V6, built
from netns_tests.trace.watched import (
    NODE,
    SETTINGS,
    WATCHED,
    Node,
    ask,
    effects,
    hops,
    result,
)

pytestmark = pytest.mark.ipvs
_OURS = re.compile(rb"kproxy-trace-\d+")
MODES = [Mode("iptables", "legacy"), Mode("ipvs", "legacy")]


@pytest.fixture(scope="module", params=MODES, ids=str)
def node(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> Iterator[Node]:
    found = Node(built(kproxy_module_lab, request.param))
    yield found
    found.close()


def left(node: Node) -> list[object]:
    """Return what a command could leave on the hosts, but for an empty table raw."""
    found: list[object] = []
    for name in WATCHED:
        with node.host(name).namespace.entered():
            found += [sysctl.read(each) for each in SETTINGS]
            for family in (V4, V6):
                used = legacy_tables.names(family)
                rules = legacy_tables.entries(family, "raw") if "raw" in used else b""
                found += [[each for each in used if each != "raw"], _OURS.findall(rules)]
    return found


@pytest.mark.parametrize(
    ("family", "port", "kind"), [(V4, 80, socket.SOCK_STREAM), (V6, 53, socket.SOCK_DGRAM)]
)
def test_a_pod_asks_a_service(node: Node, family: Family, port: int, kind: int) -> None:
    """Both hooks have rules that the request meets, and so does the way back."""
    before = left(node)
    with node.tracing(host_port(CLUSTER_IPS[family], port), "--json") as process:
        ask(node.host("visitor"), CLUSTER_IPS[family], port, kind=kind)
        found = node.short(result(process))
    assert left(node) == before
    assert (found["outcome"], found["at"]) == ("delivered", "web")
    assert found["unseen"] == ["the rules of node-b that the request has met"]
    pod = node.lab.pods["web"].addresses[family]
    chosen, back = hops(found, "request")[1], hops(found, "reply")[2]
    assert chosen["before"]["destination"] == CLUSTER_IPS[family]
    assert chosen["after"]["destination"] == pod
    assert back["steps"]
    assert back["after"]["source"] == CLUSTER_IPS[family]
    if chosen["ipvs"]:
        assert chosen["ipvs"]["virtual_server"] == host_port(CLUSTER_IPS[family], port)
        assert chosen["ipvs"]["real_server"] == host_port(pod, 8080)
        assert chosen["ipvs"]["scheduler"] == "rr"
        assert "KUBE-SERVICES" in {step["chain"] for step in chosen["steps"]}
    else:
        assert "dnat" in effects(chosen)


def test_a_client_from_elsewhere_is_masqueraded(node: Node) -> None:
    address = node.lab.nodes[NODE].addresses[V4]
    with node.tracing(f"{address}:30080", "--json", watched=(NODE,)) as process:
        ask(node.host("outside"), address, 30080)
        found = node.short(result(process))
    (request,) = hops(found, "request")
    assert effects(request)[-1] == "masquerade"
    assert "mark" in effects(request)
    assert request["after"]["source"] == address
    (reply,) = hops(found, "reply")
    assert reply["steps"]


def test_a_node_is_refused(node: Node) -> None:
    """The rules of its own output, and the error that it sends to itself."""
    with node.tracing(f"{OTHER_IPS[V4]}:80", "--json") as process:
        ask(node.host(NODE), OTHER_IPS[V4], 80)
        found = node.short(result(process, status=1))
    assert (found["outcome"], found["at"]) == ("refused", NODE)
    assert node.lab.mode
    rejected = "reject" in effects(hops(found, "request")[0])
    assert rejected is not load(node.lab.mode).needs_ip_vs  # it rejects without any rule
    assert hops(found, "error")[0]["packet"] == "ICMP port unreachable"


def test_nothing_is_left_if_it_is_killed(node: Node) -> None:
    before = left(node)
    with node.tracing(f"{CLUSTER_IPS[V4]}:80") as process:
        there = str(left(node))
        assert f"kproxy-trace-{process.pid}" in there
        assert "nfnetlink_log" in there
        process.kill()
        process.wait()
        until("nothing is left", lambda: left(node) == before)
