"""Says what a manifest asks for and a lab leaves out: kinds that labs do not have, and fields that
have no effect in them. Pure.

Only what can change who is reached, from where, or how it is found counts: a container's resources
are not worth a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kproxy.api.types import Container, Deployment, Ingress, KubernetesObject, Pod, PodSpec
from kproxy.store import ObjectKey

if TYPE_CHECKING:
    from kproxy.api.manifests import Skipped

INGRESS_CLASSES = (None, "nginx")
"""The classes of the Ingresses that are served; others are for another ingress controller."""

_IMPLIED = frozenset({"Namespace"})  # every namespace exists in a lab
_KINDS = {
    **dict.fromkeys(
        (
            *("StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"),
            *("Job", "CronJob", "Rollout"),
        ),
        "this lab does not run it, so its Pods do not exist",
    ),
    **dict.fromkeys(
        (
            *("NetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"),
            *("ClusterNetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"),
            *("GlobalNetworkPolicy", "AuthorizationPolicy"),
        ),
        "labs enforce no policy: what it denies is delivered",
    ),
    **dict.fromkeys(
        ("HorizontalPodAutoscaler", "VerticalPodAutoscaler"),
        "labs scale nothing by themselves",
    ),
    **dict.fromkeys(
        (
            *("Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"),
            *("VirtualService", "IngressRoute"),
        ),
        "labs have no gateway for it: nothing answers there",
    ),
}
_NOT_ENFORCED = frozenset({"NetworkPolicy"})  # though a control plane has it
_CONTROLLERS = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet"})  # which a control plane runs
_OTHER_KIND = "labs have no such kind, so it has no effect"
_POD_FIELDS = (  # attribute, field, the consequence
    ("affinity", "affinity", "only nodeSelector limits the nodes"),
    ("topology_spread_constraints", "topologySpreadConstraints", "Pods are spread over all nodes"),
    ("readiness_gates", "readinessGates", "only readiness probes decide"),
    ("scheduling_gates", "schedulingGates", "Pods start at once"),
    ("init_containers", "initContainers", "containers start at once"),
    ("dns_config", "dnsConfig", "names are resolved by the cluster's DNS"),
    ("host_aliases", "hostAliases", "these names are unknown"),
)
_CONTAINER_FIELDS = (
    ("liveness_probe", "livenessProbe", "nothing is restarted"),
    ("startup_probe", "startupProbe", "readiness is probed from the start"),
)
_SCHEDULERS = ("", "default-scheduler")
_CLUSTER_DNS = (None, "ClusterFirst", "ClusterFirstWithHostNet")


class LeftOut(NamedTuple):
    """A field without effect, with what follows from that; `field` "" is the whole object."""

    field: str
    outcome: str

    def __str__(self) -> str:
        if not self.field:
            return f"left out: {self.outcome}"
        return f"{self.field} is not supported and left out: {self.outcome}"

    def named(self, key: ObjectKey) -> str:
        """Return it in few words: `NetworkPolicy deny`, `hostPort of Deployment web`."""
        kind, _, name = key
        owner = f"{kind} {name}".rstrip()
        return f"{self.field.rpartition('.')[2]} of {owner}" if self.field else owner


AllLeftOut = Mapping[ObjectKey, tuple[LeftOut, ...]]


def lines(found: AllLeftOut) -> Iterator[str]:
    """Yield a line for each reason, with all objects that it is true of."""
    objects: dict[str, list[str]] = {}
    for key, left_out in found.items():
        for each in left_out:
            objects.setdefault(str(each), []).append(f"{key[0]} {key[2]}".rstrip())
    for told, names in objects.items():
        yield f"{', '.join(names)}: {told}"


def in_short(found: AllLeftOut) -> str:
    """Return `2 things in the manifest were left out: NetworkPolicy deny, ...`; "" if none were."""
    names = [each.named(key) for key, left_out in found.items() for each in left_out]
    if not names:
        return ""
    count = f"{len(names)} things" if len(names) > 1 else "1 thing"
    verb = "were" if len(names) > 1 else "was"
    return f"{count} in the manifest {verb} left out: {', '.join(names)}"


def of_kinds(skipped: Iterable[Skipped]) -> dict[ObjectKey, tuple[LeftOut, ...]]:
    """Return, by key, the objects without a type that no control plane takes, and what has no
    effect in others.
    """
    found: dict[ObjectKey, tuple[LeftOut, ...]] = {}
    for each in skipped:
        if each.document and each.kind in _CONTROLLERS:
            found[each.key] = tuple(_of_controller(each.kind, each.document.get("spec") or {}))
        elif each.kind in _NOT_ENFORCED or not (each.document or each.kind in _IMPLIED):
            found[each.key] = (LeftOut("", _KINDS.get(each.kind, _OTHER_KIND)),)
    return found


def of_object(obj: KubernetesObject, *, ingress: bool) -> tuple[LeftOut, ...]:
    """Return what has no effect in an object. `ingress`: whether a pod of the lab runs one."""
    match obj:
        case Deployment():
            return tuple(_of_pods(obj.spec.template.spec, "spec.template.spec"))
        case Pod() if not obj.status.pod_ips:  # it runs here
            return tuple(_of_pods(obj.spec, "spec"))
        case Ingress() if not ingress:
            told = "no pod of this lab runs an ingress (runs: nginx): nothing answers for it"
            return (LeftOut("", told),)
        case Ingress() if obj.spec.ingress_class_name not in INGRESS_CLASSES:
            return (LeftOut("spec.ingressClassName", "the ingress of a lab serves only nginx"),)
    return ()


def _of_controller(kind: str, spec: Mapping[str, Any]) -> Iterator[LeftOut]:
    """Yield what has no effect in the spec of a document that a control plane has taken."""
    from kproxy.controlplane.submitted import workload_spec  # loaded with the control plane

    read = workload_spec(kind, spec)
    return _of_pods(read.template.spec, "spec.template.spec")


def _of_pods(spec: PodSpec, path: str) -> Iterator[LeftOut]:
    for attribute, field, outcome in _POD_FIELDS:
        if getattr(spec, attribute):
            yield LeftOut(f"{path}.{field}", outcome)
    if spec.dns_policy not in _CLUSTER_DNS:
        yield LeftOut(f"{path}.dnsPolicy", "names are resolved by the cluster's DNS")
    if spec.scheduler_name not in _SCHEDULERS:
        yield LeftOut(f"{path}.schedulerName", "Pods are spread over all nodes")
    probed = False
    for i, container in enumerate(spec.containers):
        place = f"{path}.containers[{i}]"
        yield from _of_container(container, place, host_network=spec.host_network)
        if container.readiness_probe:
            if probed:
                told = "the probe of the container before decides"
                yield LeftOut(f"{place}.readinessProbe", told)
            probed = True


def _of_container(container: Container, path: str, *, host_network: bool) -> Iterator[LeftOut]:
    for attribute, field, outcome in _CONTAINER_FIELDS:
        if getattr(container, attribute):
            yield LeftOut(f"{path}.{field}", outcome)
    if container.lifecycle and container.lifecycle.post_start:
        yield LeftOut(f"{path}.lifecycle.postStart", "containers start as they are")
    probe = container.readiness_probe
    if probe and probe.http_get and probe.http_get.http_headers:
        yield LeftOut(f"{path}.readinessProbe.httpGet.httpHeaders", "probes send none of them")
    for i, port in enumerate(container.ports):
        # On the host network the container's port is the node's.
        if port.host_port and not host_network:
            told = f"nothing answers on port {port.host_port} of the node"
            yield LeftOut(f"{path}.ports[{i}].hostPort", told)
