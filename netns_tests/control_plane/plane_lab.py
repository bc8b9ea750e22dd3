"""A lab with a control plane, the objects that tests write, and what its kernels hold of them.

    node-a: shell    node-b    node-c    outside, on the router

There are few addresses and node ports, so that all of them can be taken: the names are `SPEC`'s.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from kproxy.address import Family
from kproxy.api import decode
from kproxy.api.types import (
    Deployment,
    Endpoints,
    EndpointSlice,
    KubernetesObject,
    Pod,
    Service,
)
from kproxy.forwarding.network import Packet
from kproxy.kernel.process import run
from kproxy.lab import ClientSpec, LabSpec, NodeSpec, PodSpec
from kproxy.lab.cluster.control_plane import ControlPlane
from kproxy.lab.names import ROUTER
from kproxy.probe import connect_many
from kproxy.store import ObjectKey, object_key
from kproxy.testing import Expectation, ProbedLab, delivered
from netns_tests.conformance.comparison import State, parse
from netns_tests.descriptors import open_descriptors
from netns_tests.modes import Mode

V4, V6 = Family.IPV4, Family.IPV6
SPEC = LabSpec(
    nodes=(
        NodeSpec(name="node-a", pods=(PodSpec(name="shell"),)),
        NodeSpec(name="node-b"),
        NodeSpec(name="node-c"),
    ),
    clients=(ClientSpec(name="outside"),),
    service_cidrs=("10.96.0.0/28", "fd00:10:96::/124"),
    node_port_range=(30000, 30007),
    load_balancer_cidrs=("192.168.30.0/30", "fd00:192:30::/126"),
    control_plane=True,
)
KINDS = (Deployment, Pod, Service, Endpoints, EndpointSlice)
_DEADLINE_S = 10
# These send no new connection anywhere: a real server of IPVS that is drained, and the set of
# packets that a pod sends to itself, which has all endpoints, ready or not.
_LEADS_NOWHERE = re.compile(r".* -w 0$|^add KUBE-(?:6-)?LOOP-BACK .*", re.MULTILINE)


class PlaneLab(ProbedLab):
    """A lab with what every test needs. With `mode` None it has no proxies."""

    def __init__(self, mode: Mode | None, spec: LabSpec = SPEC) -> None:
        name, options = (mode.name, mode.options) if mode else (None, None)
        super().__init__(spec, name, options=options)
        self._dump = mode.dump if mode else str

    def objects_by_key(self) -> dict[ObjectKey, KubernetesObject]:
        return {object_key(each): each for kind in KINDS for each in self.objects(kind)}

    def pods_of(self, name: str) -> list[Pod]:
        """Return the Pods of a Deployment, terminating ones too."""
        return [pod for pod in self.objects(Pod) if pod.metadata.labels.get("app") == name]

    def service(self, name: str = "web") -> Service:
        found = self.get("Service", name)
        assert isinstance(found, Service)
        return found

    def vips(self, name: str = "web") -> list[str]:
        return [each.ip for each in self.service(name).status.load_balancer.ingress]

    def break_pod(self, name: str, *, healthy: bool = False) -> None:
        """Make the target of a Pod's readiness probe fail, without informing the lab."""
        (pod,) = (each for each in self.objects(Pod) if each.metadata.name == name)
        (probe,) = (each.readiness_probe for each in pod.spec.containers)
        plane = self._parts.objects
        assert isinstance(plane, ControlPlane)
        assert probe
        plane._kubelet._runtime.set_health(name, probe, healthy=healthy)

    def rules(self) -> dict[str, str]:
        """Return the rules of each node, as its kernel has them now."""
        return {name: node.namespace.run(self._dump) for name, node in self.nodes.items()}

    def addresses(self, *pods: str) -> list[str]:
        """Return the sorted addresses of running pods."""
        return sorted(address for pod in pods for address in self.pods[pod].addresses.values())

    def stopped(self, *pods: str) -> bool:
        """Tell whether none of these pods runs."""
        return not self.pods.keys() & {*pods}


@contextmanager
def cleared(lab: PlaneLab) -> Iterator[PlaneLab]:
    """Remove all objects but the lab's own after the block."""
    own = {*lab.pods}
    try:
        yield lab
    finally:
        lab.replace([])
        assert lab.wait_for(lambda: lab.pods.keys() == own)


def deployment(
    name: str = "web",
    replicas: int = 3,
    *,
    image: str = "answer:1",
    strategy: str = "{}",
    probe: str = "",
    sleep_s: int = 0,
    grace_s: int = 30,
) -> Deployment:
    """Return a Deployment; `strategy`, `probe` are YAML. Another image is another template."""
    readiness = f"readinessProbe: {probe}" if probe else ""
    sleep = f"lifecycle: {{preStop: {{sleep: {{seconds: {sleep_s}}}}}}}" if sleep_s else ""
    (found,) = objects(f"""
        apiVersion: apps/v1
        kind: Deployment
        metadata: {{name: {name}}}
        spec:
          replicas: {replicas}
          strategy: {strategy}
          selector: {{matchLabels: {{app: {name}}}}}
          template:
            metadata: {{labels: {{app: {name}}}}}
            spec:
              terminationGracePeriodSeconds: {grace_s}
              containers:
              - name: answer
                image: {image}
                ports:
                - {{name: http, containerPort: 8080}}
                - {{containerPort: 8080, protocol: UDP}}
                {readiness}
                {sleep}
        """)
    assert isinstance(found, Deployment)
    return found


def service(name: str = "web", *, of: str = "web", more: str = "type: LoadBalancer") -> Service:
    """Return a Service. `more` has fields of its spec in YAML, one a line or in braces."""
    (found,) = objects(f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: {name}}}
        spec:
          <<: {{{more}}}
          ipFamilyPolicy: PreferDualStack
          selector: {{app: {of}}}
          ports:
          - {{name: http, port: 80, targetPort: 8080}}
          - {{name: udp, port: 80, targetPort: 8080, protocol: UDP}}
        """)
    assert isinstance(found, Service)
    return found


def objects(manifest: str) -> tuple[KubernetesObject, ...]:
    decoded = decode(manifest, "manifest")
    assert not decoded.problems, decoded.problems
    return decoded.objects


def ways(lab: PlaneLab, name: str = "web", protocol: str = "TCP") -> list[Packet]:
    """Return packets to a Service's cluster IPs, load balancer addresses and a node port."""
    found = lab.service(name)
    port = next(each for each in found.spec.ports if each.protocol == protocol)
    cluster_ips = [ip for ip in found.spec.cluster_ips if ip != "None"]
    packets = []
    for client, node in (("shell", "node-b"), ("node-b", "node-a"), ("outside", "node-c")):
        inside = cluster_ips if client != "outside" else []
        targets = [(address, port.port) for address in (*inside, *lab.vips(name))]
        if port.node_port:
            node_ips = lab.nodes[node].addresses
            targets += [(node_ips[Family(each)], port.node_port) for each in found.spec.ip_families]
        packets += [
            Packet(client=client, address=address, port=number, protocol=protocol)
            for address, number in targets
        ]
    return packets


def check_served(lab: PlaneLab, *pods: str, by: str = "web", times: int = 3) -> None:
    """Check that only these pods answer, on all ways to the Service `by`."""
    packets = ways(lab, by)
    expected = delivered(*pods)
    for to in packets:
        assert lab.predict(to.client, to.address, to.port) == expected
    asked = packets * times
    for to, how in zip(asked, connect_many(lab, asked, timeout_s=_DEADLINE_S), strict=True):
        assert how.success, (to, how)
        assert how.pod in pods, to


def check_unserved(lab: PlaneLab, expected: Expectation, *, by: str = "web") -> None:
    """Check that no pod answers, on any way to the Service `by`."""
    packets = ways(lab, by)
    for to in packets:
        assert lab.predict(to.client, to.address, to.port) == expected
    for answer in lab.connect_many(packets):
        assert answer == expected


def known(lab: PlaneLab, addresses: Iterable[str]) -> set[str]:
    """Return those of the addresses that any node's kernel sends packets to."""
    text = _LEADS_NOWHERE.sub("", "\n".join(lab.rules().values()))
    return {
        address
        for address in addresses
        if re.search(rf"(?<![0-9a-f:.]){re.escape(address)}(?![0-9a-f])", text)
    }


def everything(lab: PlaneLab) -> dict[str, object]:
    """Return everything that a change could leave: rules, links, routes, namespaces, objects."""
    found: dict[str, object] = {f"rules of {name}": text for name, text in _states(lab).items()}
    for name in (*lab.nodes, ROUTER):
        namespace = lab.hosts[name].namespace
        found[f"links of {name}"] = namespace.run(socket.if_nameindex)
        for family in (4, 6):
            command = f"ip -{family} route show table all".split()
            text = namespace.run(partial(run, command))
            found[f"routes {family} of {name}"] = sorted(
                re.sub(r" expires \S+", "", line) for line in text.splitlines()
            )
    found["pods"] = {name: pod.addresses for name, pod in lab.pods.items()}
    found["objects"] = lab.objects_by_key()
    return found | {"namespaces": namespaces()}


def _states(lab: PlaneLab) -> dict[str, State]:
    return {name: parse(text) for name, text in lab.rules().items()}


def namespaces() -> list[str]:
    """Return all network namespaces that this process holds."""
    found = []
    for number in open_descriptors():
        with suppress(OSError):  # the one of the folder is closed by now
            link = os.readlink(f"/proc/self/fd/{number}")
            found += [link] if link.startswith("net:") else []
    return sorted(found)


@contextmanager
def connection(lab: PlaneLab, to: Packet) -> Iterator[socket.socket]:
    """Return an open connection, on which nothing has been asked yet."""
    with lab.hosts[to.client].namespace.entered():
        sock = socket.create_connection((to.address, to.port), timeout=_DEADLINE_S)
    with sock:
        yield sock


def ask_on(sock: socket.socket) -> str:
    """Return the pod that answers."""
    sock.sendall(b"who?\n")
    pod: str = json.loads(sock.makefile("rb").readline())["pod"]
    return pod


@dataclass(slots=True)
class Traffic:
    """Clients that connect all the time: `answered` has the pods, `failed` the other outcomes."""

    answered: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextmanager
def traffic(lab: PlaneLab, packets: Sequence[Packet]) -> Iterator[Traffic]:
    """Make connections with all `packets` again and again during the block."""
    seen, ended, first = Traffic(), threading.Event(), threading.Event()
    died: list[BaseException] = []

    def ask() -> None:
        try:
            while not ended.is_set():
                answers = connect_many(lab, packets, timeout_s=_DEADLINE_S)
                for to, how in zip(packets, answers, strict=True):
                    if how.success:
                        seen.answered.append(how.pod)
                    else:
                        seen.failed.append(f"{to}: {how}")
                first.set()
        except BaseException as error:
            died.append(error)
            first.set()

    thread = threading.Thread(target=ask, name="traffic")
    thread.start()
    try:
        assert first.wait(_DEADLINE_S)
        yield seen
    finally:
        ended.set()
        thread.join()
    if died:
        raise died[0]
