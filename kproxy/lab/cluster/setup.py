"""The setup of a lab's control plane, from the parts of the lab."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from random import Random

from kproxy.api.types import Container, ContainerPort, Metadata, Pod
from kproxy.api.types import PodSpec as PodManifestSpec
from kproxy.controlplane.cluster import Cloud
from kproxy.lab.cluster.announcer import Announcer, Routes
from kproxy.lab.cluster.control_plane import ControlPlane
from kproxy.lab.cluster.dns import ClusterDns, dns_addresses, dns_objects
from kproxy.lab.cluster.kubelet import Kubelet
from kproxy.lab.cluster.node_facts import with_facts
from kproxy.lab.cluster.readiness import ReadinessProbes
from kproxy.lab.cluster.shared_cluster import SharedCluster
from kproxy.lab.following import Followers
from kproxy.lab.inventory import Inventory
from kproxy.lab.layout import by_family
from kproxy.lab.pods.runtime import PodRuntime
from kproxy.lab.publishing import Publisher
from kproxy.lab.spec import LabSpec, PodSpec
from kproxy.versions import NEWEST_RELEASED


def set_up_control_plane(
    undo: ExitStack,
    spec: LabSpec,
    inventory: Inventory,
    runtime: PodRuntime,
    *,
    followers: Followers,
    router: Routes,
    cloud: Cloud | None,
    publisher: Publisher | None,
) -> ControlPlane:
    """Start a control plane with the objects of the lab, its pods and its DNS.

    It runs until `undo` is closed. `followers` follow its objects, and after them DNS and
    announcer. With `cloud` None, the control plane assigns load balancers' addresses itself, if the
    spec has some for it. `publisher` is for pods that `ip netns` shall show. Raises BadInput for
    invalid names outside (`upstream`), and what `ControlPlane.start` raises.
    """
    first, last = spec.node_port_range
    cidrs = _cidrs(spec, spec.service_cidrs)
    cluster = SharedCluster(
        cidrs,
        random=Random(spec.name),  # so that the same lab gets the same addresses again
        node_ports=range(first, last + 1),
        balancer_cidrs=_cidrs(spec, spec.load_balancer_cidrs) if spec.assigns_balancers else (),
        cloud=cloud,
    )
    dns = ClusterDns(spec.upstream)
    undo.callback(dns.close)
    probes = ReadinessProbes(lambda name, _ready: plane.probe_changed(name))
    undo.callback(probes.close)
    nameservers = dns_addresses(cidrs)
    kubelet = Kubelet(cluster, runtime, probes, dns, inventory.nodes, publisher, nameservers)
    all_followers = followers.then(dns, Announcer(spec, router))
    version = f"v{spec.emulate or NEWEST_RELEASED}".partition("-")[0] + ".0"
    facts = partial(with_facts, version=version)
    plane = ControlPlane(cluster, kubelet, all_followers, nameservers, facts)
    undo.callback(plane.close)
    plane.start([*inventory.objects(), *_pod_manifests(spec), *dns_objects(cidrs)])
    return plane


def _pod_manifests(spec: LabSpec) -> list[Pod]:
    """Return the manifests of the pods that the control plane runs: those without a program of
    their own.
    """
    return [
        _pod_manifest(pod, node.name) for node in spec.nodes for pod in node.pods if not pod.runs
    ]


def _pod_manifest(pod: PodSpec, node: str) -> Pod:
    ports = tuple(
        ContainerPort(name=port.name, container_port=port.port, protocol=port.protocol)
        for port in pod.ports
    )
    return Pod(
        metadata=Metadata(name=pod.name, namespace=pod.namespace, labels=dict(pod.labels)),
        spec=PodManifestSpec(
            node_name=node,
            host_network=pod.host_network,
            containers=(Container(name="answer", ports=ports),),
        ),
    )


def _cidrs(spec: LabSpec, cidrs: Iterable[str]) -> list[str]:
    return [str(network) for network in by_family(spec.families, cidrs).values()]
