"""A lab in userspace mode, one Service in it, and sockets in its hosts.

node-a: pod-a, visitor      node-b: pod-b      outside
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from kproxy_userspace import UserspaceOptions

from kproxy.address import Family, family_of
from kproxy.api.types import KubernetesObject, ServicePort
from kproxy.lab import service, slices_for
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.forwarding.survey import PROTOCOLS
from netns_tests.modes import USERSPACE

V4, V6 = Family.IPV4, Family.IPV6
CLUSTER_IP = {V4: "10.96.0.10", V6: "fd00:10:96::10"}
VIP = {V4: "203.0.113.10", V6: "fd00:203::10"}
OWN_PORT = 7000  # for the tests' own servers in pods; 8080 is the lab's
DEADLINE_S = 10


def proxied_lab(factory: LabFactory, **options: Any) -> ProbedLab:
    """Return a lab with two nodes in userspace mode. `options`: of the mode."""
    return factory(
        nodes=("node-a", "node-b"),
        pods={"pod-a": "node-a", "visitor": "node-a", "pod-b": "node-b"},
        routes={"203.0.113.10/32": "node-a", "fd00:203::10/128": "node-a"},
        mode=USERSPACE.name,
        options=UserspaceOptions(**options),
    )


def objects(
    lab: ProbedLab, pods: Sequence[str], *, target_port: int = 8080, **spec: Any
) -> list[KubernetesObject]:
    """Return the Service `web`, on port 80 of its addresses, TCP and UDP, with these endpoints."""
    made = service(
        "web",
        type="LoadBalancer",
        cluster_ips=[*CLUSTER_IP.values()],
        load_balancer_ips=[*VIP.values()],
        ports=[
            ServicePort(name=protocol.lower(), protocol=protocol, port=80, target_port=target_port)
            for protocol in PROTOCOLS
        ],
        **spec,
    )
    return [made, *slices_for(made, [lab.pods[name] for name in pods])]


def listen(lab: ProbedLab, host: str, address: str, port: int = OWN_PORT) -> socket.socket:
    with lab.hosts[host].namespace.entered():
        sock = socket.create_server((address, port), family=family_of(address).socket_family)
    sock.settimeout(DEADLINE_S)
    return sock


def connect(
    lab: ProbedLab,
    client: str,
    address: str,
    port: int = 80,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    with lab.hosts[client].namespace.entered():
        sock = socket.socket(family_of(address).socket_family, kind)
    sock.settimeout(DEADLINE_S)
    try:
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def ask(sock: socket.socket) -> str:
    """Send one line or one datagram; return the pod that answers."""
    sock.sendall(b"who?\n")
    pod: str = json.loads(sock.recv(4096))["pod"]
    return pod


def who_answers(
    lab: ProbedLab, client: str, address: str, kind: socket.SocketKind = socket.SOCK_STREAM
) -> str:
    with closing(connect(lab, client, address, kind=kind)) as sock:
        return ask(sock)


def hear_each_other_out(first: socket.socket, last: socket.socket) -> None:
    """Check that one end hears the other, which answers, after it has ended its own side."""
    first.sendall(b"all I have to say")
    first.shutdown(socket.SHUT_WR)
    assert last.makefile("rb").read() == b"all I have to say"
    last.sendall(b"thank you")
    last.shutdown(socket.SHUT_WR)
    assert first.makefile("rb").read() == b"thank you"
