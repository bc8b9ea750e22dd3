"""A cluster with a control plane, its pods, and the ways to ask its Services.

    node-a (east): shell    node-b (west): shop-1    node-c (west): late    outside, on the router

Each node has one pod of web, each node of the west one of mover; blue-1 and green-1 are anywhere.
The router takes external IPs to node-a. Of load balancers' addresses there are three in IPv6, the
first two of which are those of `api` and `api-local`.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kproxy.address import Family, family_of, socket_family
from kproxy.api import decode
from kproxy.api.types import KubernetesObject, Service
from kproxy.forwarding.network import Packet
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec
from kproxy.lab.object_source import ObjectSource
from kproxy.testing import Answer, ProbedLab
from netns_tests.dns.dns_lab import served_outside
from netns_tests.modes import Mode

V4, V6 = Family.IPV4, Family.IPV6
BOTH = (V4, V6)
WWW = "www.example.org"
WEB = ("web-1", "web-2", "web-3")
MANIFESTS = Path(__file__).parent / "manifests"
OUTSIDE = {V4: "198.51.100.11", V6: "2001:db8:198::11"}
POOLS = ("192.168.30.0/29", "fd00:192:30::/126")
_DEADLINE_S = 5

SPEC = LabSpec(
    nodes=(
        NodeSpec(name="node-a", zone="east"),
        NodeSpec(name="node-b", zone="west"),
        NodeSpec(name="node-c", zone="west"),
    ),
    clients=(ClientSpec(name="outside"),),
    routes={"203.0.113.10/32": "node-a", "2001:db8:203::10/128": "node-a"},
    load_balancer_cidrs=POOLS,
    upstream={WWW: tuple(OUTSIDE.values())},
    control_plane=True,
)

# Names are looked up in one process: on some machines a process takes 0.2 s.
_LOOK_UP_ALL = """\
import json, socket, sys
def found(name):
    try:
        return [each[4][0] for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except socket.gaierror:
        return []
print(json.dumps({name: sorted(found(name)) for name in sys.argv[1:]}))
"""


@contextmanager
def service_lab(mode: Mode, source: ObjectSource | None = None) -> Iterator[ProbedLab]:
    """Yield a lab with all manifests applied, and a web server outside that answers `outside`."""
    probed = ProbedLab(SPEC, mode.name, options=mode.options, source=source)
    with probed as lab, served_outside(lab):
        lab.apply(MANIFESTS)
        yield lab


def objects(manifest: str) -> tuple[KubernetesObject, ...]:
    decoded = decode(manifest, "manifest")
    assert not decoded.problems
    return decoded.objects


@contextmanager
def applied(lab: ProbedLab, manifest: str) -> Iterator[None]:
    """Apply these objects in addition during the block, and restore the former ones after it."""
    lab.apply(objects(manifest))
    try:
        yield
    finally:
        lab.replace(MANIFESTS)


@contextmanager
def not_ready(lab: ProbedLab, pod: str) -> Iterator[None]:
    lab.pod(pod).fail_readiness()
    try:
        yield
    finally:
        lab.pod(pod).pass_readiness()


def stored(lab: Lab, name: str) -> Service:
    found = lab.get("Service", name)
    assert isinstance(found, Service)
    return found


def host(lab: Lab, name: str) -> str:
    """Return `name`, or for one such as `web@node-b` the name of the pod of web that runs there."""
    app, _, node = name.partition("@")
    if not node:
        return name
    (found,) = (
        pod.name
        for pod in lab.pods.values()
        if pod.node == node and pod.name.rpartition("-")[0] == app
    )
    return found


def node_port(lab: ProbedLab, name: str, port: int = 80, protocol: str = "TCP") -> int:
    (found,) = (
        each.node_port
        for each in stored(lab, name).spec.ports
        if (each.port, each.protocol) == (port, protocol)
    )
    return found


def balancer_ips(lab: Lab, name: str) -> list[str]:
    return [each.ip for each in stored(lab, name).status.load_balancer.ingress]


def of_family(addresses: Sequence[str], family: Family) -> str:
    (found,) = (each for each in addresses if family_of(each) is family)
    return found


def packet(
    lab: ProbedLab, client: str, name: str, asks: str, family: Family, port: str = "80/TCP"
) -> Packet:
    """Return a packet to a Service's "cluster IP", "external IP", "VIP", or a node's node port."""
    number, _, protocol = port.partition("/")
    service = stored(lab, name)
    match asks:
        case "cluster IP":
            address = of_family(service.spec.cluster_ips, family)
        case "external IP":
            address = of_family(service.spec.external_ips, family)
        case "VIP":
            address = of_family(balancer_ips(lab, name), family)
        case node:
            address = lab.nodes[node].addresses[family]
            number = str(node_port(lab, name, int(number), protocol))
    return Packet(client=host(lab, client), address=address, port=int(number), protocol=protocol)


def probed(lab: ProbedLab, *packets: Packet) -> list[Answer]:
    """Return the outcome of each packet, as observed and as predicted."""
    predicted = [lab.predict(to.client, to.address, to.port, to.protocol) for to in packets]
    return [*lab.ask_many(packets), *predicted]


def told(lab: ProbedLab, *packets: Packet) -> list[Answer]:
    """Return outcomes as `probed` does, and those of connections. A refused one may take 1 s."""
    return [*probed(lab, *packets), *lab.connect_many(packets)]


def resolve_all(lab: ProbedLab, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the sorted addresses that libc finds in the pod `shell`, name by name."""
    done = lab.pod("shell").run([sys.executable, "-I", "-S", "-c", _LOOK_UP_ALL, *names])
    assert not done.returncode, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def curl(lab: ProbedLab, family: Family, urls: Sequence[str]) -> list[str]:
    """Return the host that answered each URL, asked in the pod `shell`."""
    version = "-6" if family is V6 else "-4"
    done = lab.pod("shell").run(["curl", version, "-sS", "--max-time", "10", *urls])
    assert not done.returncode, done.stderr
    return [json.loads(line)["pod"] for line in done.stdout.splitlines()]


class UdpClient:
    """Sends from one port to one address. A context manager."""

    def __init__(self, lab: ProbedLab, to: Packet) -> None:
        with lab.hosts[to.client].namespace.entered():
            self._socket = socket.socket(socket_family(to.address), socket.SOCK_DGRAM)
        self._socket.settimeout(_DEADLINE_S)
        self._socket.connect((to.address, to.port))

    def __enter__(self) -> UdpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self) -> str:
        """Return the pod that answers the next datagram."""
        self._socket.sendall(b"who?\n")
        pod: str = json.loads(self._socket.recv(4096))["pod"]
        return pod
