"""UDP clients that keep sending from one port while the endpoints of their Service change."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import pytest

from kproxy.address import Family, socket_family
from kproxy.api.types import EndpointConditions, KubernetesObject, Protocol, ServicePort
from kproxy.kernel import conntrack
from kproxy.lab import service, slices_for
from kproxy.lab.objects import NOT_READY, TERMINATING
from kproxy.testing import LabFactory, ProbedLab
from kproxy.versions import NEWEST_RELEASED, Version
from netns_tests.conntrack_entries import ends
from netns_tests.forwarding.survey import BOTH
from netns_tests.modes import MODES, PACKET_FILTERS, Mode
from netns_tests.run.running import until

PODS = {"pod-a": "node-a", "pod-b": "node-b", "pod-c": "node-c"}
CLUSTER_IP = {Family.IPV4: "10.96.0.10", Family.IPV6: "fd00:10:96::10"}
EXTERNAL_IP = {Family.IPV4: "203.0.113.10", Family.IPV6: "fd00:203::10"}
NODE_PORT = 30053
DEADLINE_S = 5

ASKED = [  # client, asks; the node whose conntrack translates
    ("visitor", "cluster IP", "node-c"),
    ("node-c", "cluster IP", "node-c"),
    ("outside", "node port", "node-b"),
    ("outside", "external IP", "node-a"),
]


class Client:
    """A UDP socket in a host's namespace, connected: it sends from one port to one address."""

    def __init__(
        self, lab: ProbedLab, host: str, address: str, port: int, protocol: Protocol = "UDP"
    ) -> None:
        kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
        with lab.hosts[host].namespace.entered():
            self.socket = socket.socket(socket_family(address), kind)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect((address, port))

    def ask(self) -> str:
        """Return the pod that answers one line, or one datagram."""
        self.socket.sendall(b"who?\n")
        pod: str = json.loads(self.socket.recv(4096))["pod"]
        return pod


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module", params=MODES, ids=str)
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    mode: Mode = request.param
    return kproxy_module_lab(
        nodes=("node-a", "node-b", "node-c"),
        pods=PODS | {"visitor": "node-c"},
        mode=mode.name,
        options=mode.options,
        routes={"203.0.113.10/32": "node-a", "fd00:203::10/128": "node-a"},
    )


def objects(
    lab: ProbedLab, pods: Sequence[str], conditions: EndpointConditions | None = None
) -> list[KubernetesObject]:
    made = service(
        "dns",
        cluster_ips=[*CLUSTER_IP.values()],
        ports=[
            ServicePort(
                name=protocol.lower(),
                protocol=protocol,
                port=53,
                target_port=8080,
                node_port=NODE_PORT,
            )
            for protocol in ("TCP", "UDP")
        ],
        type="NodePort",
        external_ips=(*EXTERNAL_IP.values(),),
    )
    states = dict.fromkeys(pods, conditions) if conditions else {}
    return [
        made,
        *slices_for(made, [lab.pods[name] for name in pods], conditions=states),
    ]


def place(lab: ProbedLab, asks: str, family: Family, node: str) -> tuple[str, int]:
    match asks:
        case "cluster IP":
            return CLUSTER_IP[family], 53
        case "external IP":
            return EXTERNAL_IP[family], 53
        case _:
            return lab.nodes[node].addresses[family], NODE_PORT


def remembered(lab: ProbedLab, node: str, family: Family) -> set[tuple[object, object]]:
    """Return destination and backend of the UDP flows that a node knows."""
    with lab.nodes[node].namespace.entered():
        return {*ends(conntrack.flows(family, "UDP"))}


def client(
    stack: ExitStack, lab: ProbedLab, host: str, at: tuple[str, int], protocol: Protocol = "UDP"
) -> Client:
    made = Client(lab, host, *at, protocol)
    stack.enter_context(made.socket)
    return made


@pytest.mark.parametrize("family", BOTH)
def test_the_next_datagram_reaches_the_new_endpoint(
    stack: ExitStack, lab: ProbedLab, family: Family
) -> None:
    lab.apply(objects(lab, ["pod-a"]))
    places = [place(lab, asks, family, node) for _, asks, node in ASKED]
    talkers = [client(stack, lab, row[0], at) for row, at in zip(ASKED, places, strict=True)]
    assert [talker.ask() for talker in talkers] == ["pod-a"] * 4
    backend = (lab.pods["pod-a"].addresses[family], 8080)
    for (*_, node), at in zip(ASKED, places, strict=True):
        assert (at, backend) in remembered(lab, node, family)
    lab.apply(objects(lab, ["pod-b"]))
    assert [talker.ask() for talker in talkers] == ["pod-b"] * 4
    lab.apply(objects(lab, ["pod-a"]))
    assert [talker.ask() for talker in talkers] == ["pod-a"] * 4


@pytest.mark.parametrize("conditions", [None, NOT_READY], ids=["removed", "not ready"])
@pytest.mark.parametrize("family", BOTH)
def test_without_an_endpoint_the_next_datagram_is_refused(
    stack: ExitStack, lab: ProbedLab, family: Family, conditions: EndpointConditions | None
) -> None:
    lab.apply(objects(lab, ["pod-a"]))
    places = [place(lab, asks, family, node) for _, asks, node in ASKED]
    talkers = [client(stack, lab, row[0], at) for row, at in zip(ASKED, places, strict=True)]
    assert [talker.ask() for talker in talkers] == ["pod-a"] * 4
    lab.apply(objects(lab, ["pod-a"] if conditions else [], conditions))
    for talker, (_, asks, node), at in zip(talkers, ASKED, places, strict=True):
        if asks == "node port" and lab.mode != "ipvs":  # left out by kube-proxy
            assert talker.ask() == "pod-a"
            continue
        backend = (lab.pods["pod-a"].addresses[family], 8080)
        # IPVS forgets it by itself, but a little later: a job of the kernel does it.
        until("it is forgotten", partial(_forgotten, lab, node, family, (at, backend)))
        with pytest.raises((ConnectionRefusedError, PermissionError)):  # the latter on the node
            talker.ask()
        talker.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # clears a second error
    lab.apply(objects(lab, ["pod-b"]))
    assert [talker.ask() for talker in talkers] == ["pod-b"] * 4


V1_36, V1_37, V1_38 = Version
LEFT = {  # what happens to the Service, the version -> what is asked by flows that are left alone
    "no endpoint": {
        V1_36: {"cluster IP", "node port", "external IP"},
        V1_37: {"node port"},
        V1_38: {"node port"},
    },
    "deleted": {
        V1_36: {"cluster IP", "node port", "external IP"},
        V1_37: {"cluster IP", "node port", "external IP"},
        V1_38: {"node port"},
    },
}


def _forgotten(lab: ProbedLab, node: str, family: Family, flow: tuple[object, object]) -> bool:
    return flow not in remembered(lab, node, family)


@pytest.mark.parametrize("happens", LEFT)
@pytest.mark.parametrize("version", Version, ids=str)
@pytest.mark.parametrize("family", BOTH)
def test_what_becomes_of_a_client_depends_on_the_version(
    stack: ExitStack, lab: ProbedLab, family: Family, version: Version, happens: str
) -> None:
    lab.restart_proxies(emulate=version)
    stack.callback(lab.restart_proxies, emulate=NEWEST_RELEASED)
    made, *slices = objects(lab, ["pod-a"])
    lab.apply([made, *slices])
    places = [place(lab, asks, family, node) for _, asks, node in ASKED]
    talkers = [client(stack, lab, row[0], at) for row, at in zip(ASKED, places, strict=True)]
    assert [talker.ask() for talker in talkers] == ["pod-a"] * 4
    if happens == "deleted":
        lab.delete([made])
    else:
        lab.delete(slices)
    backend = (lab.pods["pod-a"].addresses[family], 8080)
    for talker, (_, asks, node), at in zip(talkers, ASKED, places, strict=True):
        if lab.mode == "ipvs":  # ends flows to servers that it no longer has: expire_nodest_conn
            until("it ends", partial(_forgotten, lab, node, family, (at, backend)))
            continue
        left = asks in LEFT[happens][version]
        assert ((at, backend) in remembered(lab, node, family)) == left, asks
        if left:
            assert talker.ask() == "pod-a"
            continue
        with suppress(OSError):  # refused, if there is a rule that refuses
            talker.socket.send(b"who?\n")
        assert (at, backend) not in remembered(lab, node, family)


@pytest.mark.parametrize("lab", PACKET_FILTERS, ids=str, indirect=True)
@pytest.mark.parametrize("family", BOTH)
def test_without_that_it_would_not(
    stack: ExitStack, lab: ProbedLab, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.apply(objects(lab, ["pod-a"]))
    talkers = [client(stack, lab, host, place(lab, asks, family, at)) for host, asks, at in ASKED]
    assert [talker.ask() for talker in talkers] == ["pod-a"] * 4
    with monkeypatch.context() as patch:
        for name in lab.nodes:
            patch.setattr(lab.proxy(name), "on_udp_changed", lambda _changes: {})
        lab.apply(objects(lab, ["pod-b"]))
        assert [talker.ask() for talker in talkers] == ["pod-a"] * 4
    lab.apply(objects(lab, ["pod-c"]))  # from now on it is done again
    assert [talker.ask() for talker in talkers] == ["pod-c"] * 4


@pytest.mark.parametrize("family", BOTH)
def test_what_need_not_be_cut_goes_on(stack: ExitStack, lab: ProbedLab, family: Family) -> None:
    """These are flows to endpoints that stay, flows of no Service, and TCP."""
    lab.apply(objects(lab, ["pod-a", "pod-b", "pod-c"]))
    at = place(lab, "cluster IP", family, "")
    talkers = [client(stack, lab, "visitor", at) for _ in range(30)]
    before = [talker.ask() for talker in talkers]
    assert {*before} == {"pod-a", "pod-b", "pod-c"}
    direct = (lab.pods["pod-a"].addresses[family], 8080)
    assert client(stack, lab, "visitor", direct).ask() == "pod-a"
    lasting = client(stack, lab, "visitor", at, "TCP")
    lasting.socket.sendall(b"who")
    lab.apply(objects(lab, ["pod-b", "pod-c"]))
    known = remembered(lab, "node-c", family)
    assert (direct, direct) in known
    assert (at, direct) not in known
    after = [talker.ask() for talker in talkers]
    assert {*after} == {"pod-b", "pod-c"}
    assert all(pod in ("pod-a", now) for pod, now in zip(before, after, strict=True))
    assert lasting.ask() in {"pod-a", "pod-b", "pod-c"}


@pytest.mark.parametrize("lab", PACKET_FILTERS, ids=str, indirect=True)
@pytest.mark.parametrize("family", BOTH)
def test_conditions(stack: ExitStack, lab: ProbedLab, family: Family) -> None:
    """An endpoint keeps its flows as long as it serves, also while it terminates."""
    lab.apply(objects(lab, ["pod-a"]))
    talker = client(stack, lab, "visitor", place(lab, "cluster IP", family, ""))
    assert talker.ask() == "pod-a"
    lab.apply(objects(lab, ["pod-a"], TERMINATING))
    assert talker.ask() == "pod-a"
    lab.apply(objects(lab, ["pod-b"]))
    assert talker.ask() == "pod-b"
