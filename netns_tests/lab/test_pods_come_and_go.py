"""Pods that are added to a running lab, on every network, work as those built with it do."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from kproxy.api.types import HTTPGetAction, Probe, TCPSocketAction
from kproxy.errors import BadInput, KernelRefused
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.lab import Lab, NodeSpec, PodSpec, PortSpec, names
from kproxy.lab.hosts import LabPod
from kproxy.lab.layout import MAX_HOSTS, Layout
from kproxy.lab.models import MODELS
from kproxy.lab.pods.runtime import PodRuntime
from kproxy.lab.pods.server import PodServer
from kproxy.lab.topology.rules import Rules
from netns_tests.lab.networks import BOTH, V4, V6, met, pod, spec
from netns_tests.lab.test_networks import paths
from netns_tests.run.running import until

Wanted = Sequence[tuple[PodSpec, str]]

WEB = ((pod("web-1"), "node-a"), (pod("web-2"), "node-a"), (pod("web-3.prod"), "node-b"))
ROLES = (  # pod of the spec -> the added pod that has its role
    {"a-1": "web-1", "a-2": "web-2", "b-1": "web-3.prod"},
    {"a-1": "web-1"},
    {"a-2": "web-2", "b-1": "web-3.prod"},
)
FREE = 254 - 10 - MAX_HOSTS  # addresses that the pods of a node of the spec leave at least


class Grown(Lab):
    """A lab whose pods include those that a test has added."""

    more: Mapping[str, LabPod] = {}

    @property
    def pods(self) -> Mapping[str, LabPod]:
        return {**super().pods, **self.more}


@contextmanager
def running(network: str, *, full: bool = False) -> Iterator[tuple[Grown, PodRuntime]]:
    """Yield a lab and a runtime for its nodes.

    With `full`, nodes have as many pods as they may have, most of them on the host network.
    """
    wanted = spec(network)
    if full:
        wanted = replace(wanted, nodes=tuple(map(filled, wanted.nodes)))
    with Grown(wanted, mode=None) as lab:
        server = PodServer()
        namespaces = {name: host.namespace for name, host in lab.hosts.items()}
        runtime = PodRuntime(lab.spec, Layout.of(lab.spec), namespaces, "auto", server)
        try:
            yield lab, runtime
        finally:
            server.close()
            runtime.close()


def filled(node: NodeSpec) -> NodeSpec:
    more = (
        PodSpec(name=f"{node.name}-agent-{number}", host_network=True)
        for number in range(MAX_HOSTS - len(node.pods))
    )
    return replace(node, pods=(*node.pods, *more))


@pytest.fixture
def routed() -> Iterator[tuple[Grown, PodRuntime]]:
    with running("routed") as up:
        yield up


def start(lab: Grown, runtime: PodRuntime, wanted: Wanted) -> dict[str, LabPod]:
    """Start pods, and add them to the lab, so that it can be asked about them."""
    pods = {pod.name: pod for pod in runtime.start(wanted)}
    lab.more = pods
    return pods


def reachable(lab: Lab, roles: dict[str, str]) -> None:
    """Assert that the pods in `roles` reach, are reached and are seen as the spec's pods are."""
    wanted = {
        (roles.get(client, client), roles.get(target, target)): tuple(
            roles.get(name, name) for name in seen
        )
        for (client, target), seen in paths(lab.spec.network).items()
    }
    for protocol in ("TCP", "UDP"):
        for family in BOTH:
            assert met(lab, list(wanted), family, protocol) == wanted


STATE = (
    "ip -d -j link",
    "ip -j -4 route show table all",
    "ip -j -6 route show table all",
    "ip -j -4 rule",
    "ip -j -6 rule",
    "iptables-save",
    "ip6tables-save",
)

LINK_LOCAL = re.compile(r'"dst": "(fe80|ff00)::')


def state(lab: Lab) -> dict[tuple[str, str], list[str]]:
    """Return the state of all hosts but pods, sorted. It has no counters, timers, comments, and
    nothing that the kernel does for a link some time after it is up.
    """
    found = {}
    for name, host in lab.hosts.items():
        if name in lab.pods:
            continue
        for command in STATE:
            text = host.namespace.run(partial(run, command.split()))
            if command.startswith("ip "):
                lines = [json.dumps(each, sort_keys=True) for each in json.loads(text) if each]
                lines = [line for line in lines if not LINK_LOCAL.search(line)]
                lines = [
                    re.sub(r'"(\w+_timer|fdb_n_learned|operstate)": [^,]+', "", line)
                    for line in lines
                ]
            else:
                lines = [re.sub(r"\[.*\]", "", line) for line in text.splitlines()]
            found[name, command] = sorted(line for line in lines if line[:1] != "#")
    return found


@pytest.mark.parametrize("network", MODELS)
def test_pods_come_and_go(network: str) -> None:
    with running(network) as (lab, runtime):
        before = state(lab)
        started = start(lab, runtime, WEB)
        assert {name: pod.addresses for name, pod in started.items()} == {
            "web-1": {V4: "10.244.1.14", V6: "fd00:10:244:1::14"},
            "web-2": {V4: "10.244.1.15", V6: "fd00:10:244:1::15"},
            "web-3.prod": {V4: "10.244.2.13", V6: "fd00:10:244:2::13"},
        }
        for roles in ROLES:
            reachable(lab, roles)
        runtime.stop("web-2")
        runtime.stop("web-1", "web-3.prod")
        lab.more = {}
        assert state(lab) == before
        reachable(lab, {})


@pytest.mark.parametrize("network", MODELS)
def test_an_address_is_reused_at_once(network: str) -> None:
    """Another pod reuses it, though all hosts have just connected to the earlier one."""
    with running(network, full=True) as (lab, runtime):
        for node, wanted in (("node-a", 2), ("node-b", 1)):
            others = [PodSpec(name=f"{node}-{number}") for number in range(FREE - wanted)]
            runtime.start([(each, node) for each in others])
        first = start(lab, runtime, WEB)
        reachable(lab, ROLES[0])
        runtime.stop("web-1", "web-2", "web-3.prod")
        second = start(lab, runtime, [WEB[1], WEB[0], WEB[2]])
        for name, former in (("web-2", "web-1"), ("web-1", "web-2"), ("web-3.prod", "web-3.prod")):
            assert second[name].addresses == first[former].addresses
        reachable(lab, ROLES[0])
        with pytest.raises(BadInput, match="node node-a has 0 addresses left, not 1"):
            runtime.start([(pod("web-4"), "node-a")])


def test_pods_of_the_host_network(routed: tuple[Grown, PodRuntime]) -> None:
    lab, runtime = routed
    before = state(lab)
    ports = (PortSpec(port=8080),)
    wanted = PodSpec(name="agent.kube-system", ports=ports, host_network=True)
    (agent,) = runtime.start([(wanted, "node-b")])
    assert agent.namespace is lab.nodes["node-b"].namespace
    assert agent.addresses == lab.nodes["node-b"].addresses
    assert ask(lab, "a-1", agent, 8080) == {"pod": "agent.kube-system"}
    runtime.stop("agent.kube-system")
    assert ask(lab, "a-1", agent, 8080) is None
    assert state(lab) == before
    assert met(lab, [("a-1", "b-1")], V4, "TCP") == {("a-1", "b-1"): ("b-1", "a-1")}


HOST_PORT = PodSpec(name="host-c", ports=(PortSpec(port=80),), host_network=True)
NO_POD_AT_ALL = [  # pods and their nodes, what is wrong
    ([(pod("a-1"), "node-a")], "pod a-1: this name of a host is taken"),
    ([(pod("node-a"), "node-a")], "pod node-a: this name of a host is taken"),
    ([(pod("router"), "node-a")], "pod router: this name of a host is taken"),
    ([(pod("eth0"), "node-a")], "pod eth0: this name of a host is taken"),
    ([(pod("web"), "node-a"), (pod("web"), "node-b")], "pod web: this name of a host is taken"),
    ([(pod("web"), "outside")], "pod web: 'outside' is not a node"),
    ([(pod("web"), "node-a"), (HOST_PORT, "node-a")], "pod host-c: 80/TCP of .*node-a is taken"),
]


@pytest.mark.parametrize(("wanted", "problem"), NO_POD_AT_ALL)
def test_all_or_none(routed: tuple[Grown, PodRuntime], wanted: Wanted, problem: str) -> None:
    lab, runtime = routed
    before = state(lab)
    with pytest.raises(BadInput, match=problem):
        runtime.start(wanted)
    assert state(lab) == before
    start(lab, runtime, WEB)
    reachable(lab, ROLES[0])


@pytest.mark.parametrize(
    ("network", "place"), [("routed", "node-b"), ("eni", "router"), ("eni-shared", "node-b")]
)
def test_what_the_kernel_refuses_leaves_nothing(network: str, place: str) -> None:
    with running(network) as (lab, runtime):
        stranger = "ip link {} web-3.prod type bridge"
        host = lab.hosts[place].namespace
        host.run(lambda: run(stranger.format("add").split()))
        before = state(lab)
        with pytest.raises(KernelRefused, match=r"cannot add veth web-3\.prod: File exists"):
            runtime.start(WEB)
        assert state(lab) == before
        host.run(lambda: run(stranger.format("del").split()))
        start(lab, runtime, WEB)
        reachable(lab, ROLES[0])


def test_rules_of_both_families_or_none() -> None:
    with Namespace.create("rules") as namespace, namespace.entered():
        rules = Rules("auto")
        for family in BOTH:
            rules.chain(family, "raw", "OWN")
            rules.add(family, "raw", "PREROUTING -j OWN")
        rules.add(V6, "raw", "OWN -j NOBODY")
        with pytest.raises(KernelRefused):
            rules.commit()
        assert "OWN" not in run(["iptables-save"]) + run(["ip6tables-save"])


def test_long_names_that_begin_alike(routed: tuple[Grown, PodRuntime]) -> None:
    """Their interface names would be equal when cut, or equal to another host's full name."""
    lab, runtime = routed
    alike = ["a-very-lon-492d", "a-very-long-pod-name"]
    assert names.interface(alike[1]) == alike[0]
    wanted = [(pod(name), "node-a") for name in alike]
    start(lab, runtime, wanted)
    reachable(lab, dict(zip(("a-1", "a-2"), alike, strict=True)))
    with lab.nodes["node-a"].namespace.entered():
        assert {"a-very-lon-492d", "a-very-lo-492d8"} <= {name for _, name in socket.if_nameindex()}


HTTP = Probe(http_get=HTTPGetAction(path="/ready?full", port="web"))
TCP = Probe(tcp_socket=TCPSocketAction(port=80))
SERVER = PodSpec(
    name="server",
    ports=(
        PortSpec(port=80, name="web"),
        PortSpec(port=81),
        PortSpec(port=80, protocol="UDP"),
    ),
)


def test_a_pod_that_fails_its_http_probe(routed: tuple[Grown, PodRuntime]) -> None:
    lab, runtime = routed
    server = start(lab, runtime, [(SERVER, "node-a")])["server"]
    get = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"
    for healthy in (True, False, True):
        runtime.set_health("server", HTTP, healthy=healthy)
        answer = ask(lab, "node-a", server, 80, get.format("/ready?full"))
        assert answer == ({"pod": "server"} if healthy else {"pod": "server", "ready": False})
        for port, path in ((80, "/"), (80, "/ready"), (81, "/ready?full")):
            assert ask(lab, "node-a", server, port, get.format(path)) == {"pod": "server"}


def test_a_pod_that_fails_its_tcp_probe(routed: tuple[Grown, PodRuntime]) -> None:
    """Its port is closed only for new connections."""
    lab, runtime = routed
    server = start(lab, runtime, [(SERVER, "node-a")])["server"]
    with connection(lab, "a-1", server, 80) as before:
        runtime.set_health("server", TCP, healthy=False)
        runtime.set_health("server", TCP, healthy=False)
        assert ask(lab, "node-a", server, 80) is None
        assert ask(lab, "node-a", server, 81) == {"pod": "server"}
        assert met(lab, [("a-1", "server")], V4, "UDP") == {("a-1", "server"): ("server", "a-1")}
        runtime.set_health("server", TCP, healthy=True)
        runtime.set_health("server", TCP, healthy=True)
        assert ask(lab, "node-a", server, 80) == {"pod": "server"}
        assert said(before, "") == {"pod": "server"}


def test_open_connections_end_after_sigterm(routed: tuple[Grown, PodRuntime]) -> None:
    lab, runtime = routed
    server = start(lab, runtime, [(SERVER, "node-a")])["server"]
    with connection(lab, "a-1", server, 80) as first, connection(lab, "b-1", server, 81) as second:
        runtime.stop_accepting("server")
        assert runtime.open_connections("server") == 2
        assert [ask(lab, "node-a", server, port) for port in (80, 81)] == [None, None]
        runtime.set_health("server", TCP, healthy=True)
        assert ask(lab, "node-a", server, 80) is None
        assert said(first, "") == {"pod": "server"}
        until("one connection is left", lambda: runtime.open_connections("server") == 1)
        runtime.stop("server")
        assert second.recv(1) == b""


def connection(lab: Lab, client: str, server: LabPod, port: int) -> socket.socket:
    with lab.hosts[client].namespace.entered():
        return socket.create_connection((server.addresses[V4], port), timeout=5)


def ask(
    lab: Lab, client: str, server: LabPod, port: int, question: str = ""
) -> dict[str, object] | None:
    """Return the server's answer; None if the connection is refused."""
    try:
        sock = connection(lab, client, server, port)
    except ConnectionRefusedError:
        return None
    with sock:
        return said(sock, question)


def said(sock: socket.socket, question: str) -> dict[str, object]:
    """Return the pod that answers and its readiness, if stated; assert that the status agrees."""
    sock.sendall(question.encode() or b"\n")
    with sock.makefile("rb") as file:
        head, _, body = file.read().rpartition(b"\r\n\r\n")
    answer = json.loads(body)
    if question:
        assert head.startswith(b"HTTP/1.1 200 " if answer.get("ready", True) else b"HTTP/1.1 503 ")
    return {key: answer[key] for key in ("pod", "ready") if key in answer}
