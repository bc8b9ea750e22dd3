"""Node ports on 127.0.0.1 and ::1 that the proxy's process serves, by packets and connections."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kproxy_nftables.backend import NftablesBackend

from kproxy.address import Family
from kproxy.api.types import (
    ClientIPConfig,
    KubernetesObject,
    ServicePort,
    SessionAffinityConfig,
)
from kproxy.backend import load
from kproxy.config import ProxyConfig
from kproxy.lab import service, slices_for
from kproxy.outcome import Observation
from kproxy.proxy.node_proxy import SyncFailed
from kproxy.testing import LabFactory, ProbedLab, delivered, refused
from netns_tests.descriptors import open_descriptors
from netns_tests.modes import NFTABLES, Mode
from netns_tests.run.running import until
from netns_tests.userspace.proxied import OWN_PORT, ask, connect, hear_each_other_out, listen

V4, V6 = Family.IPV4, Family.IPV6
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
GATE = "KubeProxyNFTablesLocalhostNodePorts"
CONFIG = ProxyConfig(
    feature_gates={GATE: True},
    node_port_addresses=("primary", "localhost"),
)
PORT, OTHER_PORT = 30080, 30081
NODES = ("node-a", "node-b")
PODS = {"pod-a": "node-a", "pod-b": "node-b"}


def build(factory: LabFactory, mode: str = "nftables", **options: Any) -> ProbedLab:
    """Return node-a with pod-a, and node-b with pod-b."""
    return factory(nodes=NODES, pods=PODS, mode=mode, config=CONFIG, **options)


@pytest.fixture(scope="module", params=NFTABLES, ids=str)
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    mode: Mode = request.param
    return build(kproxy_module_lab, options=mode.options)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def web(
    lab: ProbedLab,
    *on: str,
    name: str = "web",
    number: int = 10,
    port: int = PORT,
    target_port: int = 8080,
    protocols: tuple[str, ...] = ("TCP",),
    **spec: Any,
) -> list[KubernetesObject]:
    """Return a Service with a node port, and endpoints on these pods."""
    ports = [
        ServicePort(
            name=protocol.lower(),
            protocol=protocol,
            port=80,
            target_port=target_port,
            node_port=port,
        )
        for protocol in protocols
    ]
    made = service(
        name,
        **{"type": "NodePort"} | spec,
        cluster_ips=[f"10.96.0.{number}", f"fd00:10:96::{number}"],
        ports=ports,
    )
    return [made, *slices_for(made, [lab.pods[pod] for pod in on])]


def ours(lab: ProbedLab, node: str = "node-a", family: Family = V4) -> NftablesBackend:
    """Return a node's backend."""
    contained: Any = lab.proxy(node)._backends[family]
    backend = contained._backend
    assert isinstance(backend, NftablesBackend)
    return backend


def sources(lab: ProbedLab, family: Family, *, answering: int = 20) -> dict[str, str]:
    """Return the pods that answer at the node port of node-a, with the source that each sees."""
    answers = [lab.connect("node-a", LOOPBACK[family], PORT) for _ in range(answering)]
    return {pod: source for answer in answers for pod, source in answer.sources.items()}


@pytest.mark.parametrize("family", Family)
def test_endpoints_see_the_node(lab: ProbedLab, family: Family) -> None:
    """Its address on the link to its own pod, and its primary one elsewhere, as predicted."""
    lab.apply(web(lab, "pod-a", "pod-b"))
    node = lab.nodes["node-a"]
    found = sources(lab, family)
    assert found["pod-b"] == node.addresses[family]
    assert found == lab.predict("node-a", LOOPBACK[family], PORT).sources
    assert found.keys() == {"pod-a", "pod-b"}
    # One packet shows only that the handshake is with node-a.
    answer = lab.ask("node-a", LOOPBACK[family], PORT)
    assert isinstance(answer.found, Observation)
    assert answer.found.pod == "node-a"
    assert answer == delivered("pod-a", "pod-b")


EXTERNAL_LOCAL: dict[str, Any] = {"external_traffic_policy": "Local"}
ASKED = [  # the Service's spec, its endpoints -> who may answer
    ({}, ("pod-b",), ("pod-b",)),
    (EXTERNAL_LOCAL, ("pod-a", "pod-b"), ("pod-a",)),
    # Rules would lead a process of the node to pod-b.
    (EXTERNAL_LOCAL, ("pod-b",), ()),
    ({"internal_traffic_policy": "Local"}, ("pod-b",), ("pod-b",)),
    ({}, (), ()),
    (
        {
            "type": "LoadBalancer",
            "load_balancer_ips": ["203.0.113.10", "fd00:203::10"],
            "load_balancer_source_ranges": ["198.51.100.0/24", "fd00:51::/64"],
        },
        ("pod-b",),
        ("pod-b",),
    ),
]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("spec", "on", "answering"), ASKED)
def test_policies(
    lab: ProbedLab,
    spec: dict[str, Any],
    on: tuple[str, ...],
    answering: tuple[str, ...],
    family: Family,
) -> None:
    lab.apply(web(lab, *on, **spec))
    expected = delivered(*answering) if answering else refused("node-a")
    address = LOOPBACK[family]
    assert lab.connect("node-a", address, PORT) == expected
    assert lab.ask("node-a", address, PORT) == expected
    assert lab.predict("node-a", address, PORT) == expected
    assert ours(lab, family=family).localhost.listeners == (1 if answering else 0)


@pytest.mark.parametrize("family", Family)
def test_other_questions_are_answered_as_ever(lab: ProbedLab, family: Family) -> None:
    lab.apply(web(lab, "pod-b", protocols=("TCP", "UDP")))
    primary, address = lab.nodes["node-a"].addresses[family], LOOPBACK[family]
    assert lab.connect("outside", primary, PORT) == delivered("pod-b")
    assert lab.connect("node-a", primary, PORT) == delivered("pod-b")
    assert lab.connect("pod-a", address, PORT) == refused("pod-a")
    assert lab.connect("node-a", address, PORT, "UDP") == refused("node-a")
    with lab.nodes["node-a"].namespace.entered():
        before = ours(lab, family=family).rejected_packets()
        assert before.keys() == {"UDP", "SCTP"}
    assert lab.ask("node-a", address, PORT, "UDP") == refused("node-a")
    with lab.nodes["node-a"].namespace.entered():
        counted = ours(lab, family=family).rejected_packets()
    assert counted == {**before, "UDP": before["UDP"] + 1}


def test_only_the_first_address_of_127_is_served(lab: ProbedLab) -> None:
    lab.apply(web(lab, "pod-b"))
    assert lab.connect("node-a", "127.0.0.2", PORT) == refused("node-a")
    assert lab.predict("node-a", "127.0.0.2", PORT) == refused("node-a")


def who(lab: ProbedLab, family: Family = V4, port: int = PORT) -> str:
    with connect(lab, "node-a", LOOPBACK[family], port) as client:
        return ask(client)


@pytest.mark.parametrize("family", Family)
def test_session_affinity_pins_the_port(lab: ProbedLab, family: Family) -> None:
    """The endpoint of the last connection is taken again as long as it is one."""
    pinned: dict[str, Any] = {"session_affinity": "ClientIP"}
    lab.apply(web(lab, "pod-a", "pod-b", **pinned))
    chosen = {who(lab, family) for _ in range(15)}
    assert len(chosen) == 1
    (left,) = {"pod-a", "pod-b"} - chosen
    lab.apply(web(lab, left, **pinned))
    assert who(lab, family) == left
    lab.apply(web(lab, "pod-a", "pod-b", **pinned))
    assert {who(lab, family) for _ in range(15)} == {left}
    lab.apply(web(lab, "pod-a", "pod-b"))
    assert {who(lab, family) for _ in range(40)} == {"pod-a", "pod-b"}


def test_another_affinity_timeout_frees_the_port(lab: ProbedLab) -> None:
    found = set()
    for timeout_s in range(100, 140):
        config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=timeout_s))
        lab.apply(
            web(
                lab,
                "pod-a",
                "pod-b",
                session_affinity="ClientIP",
                session_affinity_config=config,
            )
        )
        found.add(who(lab))
    assert found == {"pod-a", "pod-b"}


def both_ends(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> tuple[socket.socket, socket.socket]:
    """Return a client of the node port, and the server's end of its connection."""
    lab.apply(web(lab, "pod-b", target_port=OWN_PORT))
    listener = stack.enter_context(listen(lab, "pod-b", lab.pods["pod-b"].addresses[family]))
    client = stack.enter_context(connect(lab, "node-a", LOOPBACK[family], PORT))
    server, _ = listener.accept()
    server.settimeout(10)
    return client, stack.enter_context(server)


@pytest.mark.parametrize("family", Family)
def test_either_side_may_end_first_and_still_hear(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> None:
    for swap in (False, True):
        hear_each_other_out(*both_ends(stack, lab, family)[:: -1 if swap else 1])
        stack.close()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_side_that_breaks_off_has_ended(stack: ExitStack, lab: ProbedLab, victim: int) -> None:
    """The other one hears an end of input."""
    ends = both_ends(stack, lab, V4)
    ends[victim].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends[victim].close()  # with RST
    assert ends[1 - victim].recv(1) == b""


@pytest.mark.parametrize("family", Family)
def test_an_open_connection_outlives_its_endpoint_but_not_its_listener(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> None:
    client, server = both_ends(stack, lab, family)
    lab.apply(web(lab, "pod-a"))
    assert who(lab, family) == "pod-a"
    client.sendall(b"still there?")
    assert server.recv(100) == b"still there?"
    lab.apply(web(lab))
    assert client.recv(1) == b""
    assert server.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(lab, "node-a", LOOPBACK[family], PORT)


CHANGES = [  # of the Service: each one ends its listener
    {"port": OTHER_PORT},
    {"type": "ClusterIP", "port": 0},
    None,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_removed_node_port_ends_its_connections(
    stack: ExitStack, lab: ProbedLab, change: dict[str, Any] | None
) -> None:
    client, server = both_ends(stack, lab, V4)
    if change is None:
        lab.delete([("Service", "default", "web")])
    else:
        lab.apply(web(lab, "pod-b", target_port=OWN_PORT, **change))
    assert client.recv(1) == b""
    assert server.recv(1) == b""
    assert ours(lab).localhost.listeners == (1 if change and change["port"] else 0)


def test_a_dead_endpoint_leaves_the_client_without_an_answer(
    lab: ProbedLab, caplog: pytest.LogCaptureFixture
) -> None:
    """The client was accepted before; no other endpoint is tried."""
    lab.apply(web(lab, "pod-b", target_port=OWN_PORT + 1))
    address = lab.pods["pod-b"].addresses[V4]
    with connect(lab, "node-a", "127.0.0.1", PORT) as client:
        assert client.recv(1) == b""
    assert (
        f"Failed to connect to backend {address}:{OWN_PORT + 1} of localhost node port"
        f" 127.0.0.1:{PORT}/TCP: Connection refused"
    ) in caplog.text
    assert lab.predict("node-a", "127.0.0.1", PORT) == refused("node-a")


@pytest.mark.parametrize("family", Family)
def test_a_port_that_another_process_has(
    lab: ProbedLab, family: Family, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, others are served, and it is tried again at each sync."""
    lab.replace([])
    place = f"127.0.0.1:{PORT}" if family is V4 else f"[::1]:{PORT}"
    told = (
        f"Failed to create localhost nodeport proxy: failed to listen on {place}: "
        "Address already in use"
    )
    before = ours(lab, family=family).localhost.creation_failures
    with listen(lab, "node-a", LOOPBACK[family], PORT):
        with caplog.at_level(logging.ERROR, "kproxy"):
            lab.apply([*web(lab, "pod-b"), *web(lab, "pod-b", name="x", number=11, port=30090)])
            assert caplog.messages == [told]
            lab.apply(web(lab, "pod-b", name="y", number=12, port=OTHER_PORT))
            assert caplog.messages == [told, told]
        found = ours(lab, family=family).localhost
        assert (found.listeners, found.creation_failures - before) == (2, 2)
        assert who(lab, family, OTHER_PORT) == "pod-b"
        assert lab.connect("outside", lab.nodes["node-a"].addresses[family], PORT) == delivered(
            "pod-b"
        )
    lab.apply(web(lab, "pod-a", name="y", number=12, port=OTHER_PORT))
    assert who(lab, family) == "pod-b"
    assert found.listeners == 3
    lab.replace([])


def test_of_two_services_with_one_port_the_first_by_name_is_served(lab: ProbedLab) -> None:
    one = web(lab, "pod-a", name="one", number=11)
    lab.replace([*one, *web(lab, "pod-b", name="two", number=12)])
    assert who(lab) == "pod-a"
    lab.apply(web(lab, name="one", number=11))  # without endpoints
    assert who(lab) == "pod-b"
    lab.apply(one)
    assert who(lab) == "pod-a"
    lab.replace([])


def test_a_failed_sync_leaves_listeners_as_they_are(stack: ExitStack, lab: ProbedLab) -> None:
    client, server = both_ends(stack, lab, V4)
    with lab.nodes["node-a"].namespace.entered():
        backend = ours(lab)
        backend._session.close()  # nothing can be sent to the kernel
        with pytest.raises(SyncFailed, match="node-a"):
            lab.replace([])
        backend._opened = None  # another session
    assert backend.localhost.listeners == 1
    client.sendall(b"?")
    assert server.recv(1) == b"?"
    lab.replace([])
    assert client.recv(1) == b""


def test_a_listener_that_has_ended_is_made_again(lab: ProbedLab) -> None:
    lab.apply(web(lab, "pod-b"))
    proxy: Any = ours(lab).localhost._proxy
    proxy._thread._loop.call_soon_threadsafe(proxy._open[PORT].task.cancel)
    until("its end", lambda: not proxy.alive)
    assert lab.repair() == {"node-a": (V4,)}
    assert lab.repair() == {}
    assert who(lab) == "pod-b"


def listener_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if "localhost" in each.name]


def test_listeners_end_with_the_proxy_and_come_back(
    stack: ExitStack, kproxy_lab: LabFactory
) -> None:
    lab = build(kproxy_lab)
    client, server = both_ends(stack, lab, V4)
    lab.stop_proxy("node-a")
    assert client.recv(1) == server.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(lab, "node-a", "127.0.0.1", PORT)
    # Rules go on without the process.
    stack.enter_context(connect(lab, "outside", lab.nodes["node-a"].addresses[V4], PORT))
    lab.apply(web(lab, "pod-b"))
    lab.start_proxy("node-a")
    assert who(lab) == "pod-b"


def test_a_lab_leaves_nothing_behind(stack: ExitStack) -> None:
    before, descriptors = listener_threads(), open_descriptors()
    with LabFactory() as factory:
        lab = build(factory)
        lab.apply(web(lab, "pod-a", "pod-b"))
        assert who(lab) in PODS
        assert len(listener_threads()) - len(before) == 4  # one for each node and family
        both_ends(stack, lab, V6)
    stack.close()
    assert listener_threads() == before
    assert len(open_descriptors()) <= len(descriptors)


def test_no_thread_is_started_for_nothing(kproxy_lab: LabFactory) -> None:
    before = listener_threads()
    lab = build(kproxy_lab)
    lab.apply(web(lab, "pod-b", protocols=("UDP",)))
    assert listener_threads() == before


def test_what_iptables_mode_does_instead(stack: ExitStack, kproxy_lab: LabFactory) -> None:
    """Its rules translate, so that clients on localhost are clients of the Service like others."""
    served, translated = labs = build(kproxy_lab), build(kproxy_lab, "iptables")
    for each in labs:
        each.apply(web(each, "pod-b", protocols=("TCP", "UDP"), **EXTERNAL_LOCAL))
    assert served.connect("node-a", "127.0.0.1", PORT) == refused("node-a")
    assert translated.connect("node-a", "127.0.0.1", PORT) == delivered("pod-b", source="node-a")
    assert served.connect("node-a", "127.0.0.1", PORT, "UDP") == refused("node-a")
    assert translated.connect("node-a", "127.0.0.1", PORT, "UDP") == delivered("pod-b")
    for each in labs:
        each.apply(web(each, "pod-b"))
    assert served.connect("node-a", "::1", PORT) == delivered("pod-b", source="node-a")
    assert translated.connect("node-a", "::1", PORT) == refused("node-a")
    assert served.connect("node-a", "127.0.0.2", PORT) == refused("node-a")
    for each in labs:
        each.apply(web(each, "pod-b", target_port=OWN_PORT + 1))  # nobody listens there
    with connect(served, "node-a", "127.0.0.1", PORT) as client:
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(translated, "node-a", "127.0.0.1", PORT)
    for each, outlives in ((served, False), (translated, True)):
        client, server = both_ends(stack, each, V4)
        assert server.getpeername()[0] == each.nodes["node-a"].addresses[V4]
        each.stop_proxy("node-a")
        if outlives:
            client.sendall(b"?")
        assert server.recv(1) == (b"?" if outlives else b"")


def test_the_gate_is_all_it_needs(kproxy_lab: LabFactory) -> None:
    """Without it, nobody listens."""
    assert load("nftables").config.loopback_gate == GATE
    lab = kproxy_lab(nodes=("node-a",), pods={"pod-a": "node-a"}, mode="nftables")
    lab.apply(web(lab, "pod-a"))
    assert lab.connect("node-a", "127.0.0.1", PORT) == refused("node-a")
    assert ours(lab).localhost.listeners == 0
