"""The cluster that a matrix is measured on: the lab, and the Services in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    KubernetesObject,
    Metadata,
    Protocol,
    Service,
    ServiceBackendPort,
    ServicePort,
)
from kproxy.backend import DEFAULT_MODE, BackendOptions, load
from kproxy.edge.annotations import ELB
from kproxy.kernel.iptables_programs import default_variant
from kproxy.lab import LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.objects import service
from kproxy.lab.spec import BalancerSpec, ClientSpec, EdgeSpec
from kproxy.matrix.places import OTHER_NODE, SERVER_NODE, THIRD_NODE, Kind
from kproxy.versions import NEWEST_RELEASED, Version

PORT, _POD_PORT = 80, 8080
NODE_PORTS = {
    Kind.NODE_PORT: 30080,
    Kind.LOAD_BALANCER: 30081,
    Kind.DNAT_GATEWAY: 30082,
    Kind.NGINX: 30083,
}
HOST = "web.example.com"  # the server's host name at the ingress
_NAMES = {
    Kind.CLUSTER_IP: "inside",
    Kind.NODE_PORT: "web",
    Kind.LOAD_BALANCER: "web-lb",
    Kind.DNAT_GATEWAY: "web-dnat",
    Kind.NGINX: "ingress",
}
_CLASSES = {
    Kind.LOAD_BALANCER: "union",
    Kind.DNAT_GATEWAY: "dnat",
    Kind.NGINX: "performance",
}
BALANCERS = {Kind.LOAD_BALANCER: "lb", Kind.NGINX: "elb"}


class Setting(Struct, frozen=True, kw_only=True, order=True):
    """One cluster to measure. `local_fallback`: in ipvs mode, as in kube-proxy since 1.25.
    `emulate`: the kube-proxy to behave like.
    """

    mode: str = DEFAULT_MODE
    network: str = "vpc"
    profile: str = "upstream"
    policy: str = "Local"
    family: str = "IPv4"
    local_fallback: bool = True
    emulate: Version = NEWEST_RELEASED

    def __str__(self) -> str:
        old = "" if self.local_fallback else " (before 1.25)"
        return f"{self.network}-{self.mode}{old}"


def options(mode: str, family: Family, *, local_fallback: bool) -> BackendOptions:
    """Return the options of a lab's proxies. `local_fallback`: as in `Setting`.

    The variant of iptables is given, as all namespaces of a lab are new: to find out which one is
    in use there would start programs on every node, and have the same result.
    """
    return load(mode).options_with(
        ipvs_local_fallback=local_fallback, iptables_variant=default_variant(family)
    )


def alike(settings: Iterable[Setting]) -> list[list[Setting]]:
    """Return groups of settings that one lab can be measured with, each in the order given."""
    groups: dict[Setting, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(replace(setting, local_fallback=True), []).append(setting)
    return [*groups.values()]


def spec(setting: Setting, kinds: Collection[Kind]) -> LabSpec:
    """Return a lab of three nodes, one server pod, and one client at each kind of place."""
    ports = (PortSpec(port=_POD_PORT), PortSpec(port=_POD_PORT, protocol="UDP"))
    server = PodSpec(name="server", labels={"app": "web"}, ports=ports)
    nginx = PodSpec(
        name="nginx", labels={"app": "nginx"}, ports=(PortSpec(port=PORT),), runs="nginx"
    )
    on_server_node = [server, PodSpec(name="client-a")]
    if Kind.NGINX in kinds:
        on_server_node.append(nginx)
    return LabSpec(
        name="matrix",
        families=(Family(setting.family),),
        network=setting.network,
        profile=setting.profile,
        emulate=setting.emulate,
        nodes=(
            NodeSpec(name=SERVER_NODE, pods=tuple(on_server_node)),
            NodeSpec(name=OTHER_NODE, pods=(PodSpec(name="client-b"),)),
            NodeSpec(name=THIRD_NODE),
        ),
        clients=(ClientSpec(name="outside"),),
        edge=EdgeSpec(
            balancers=(
                BalancerSpec(name="lb", kind="shared"),
                BalancerSpec(name="elb", kind="dedicated"),
            )
        ),
    )


def objects(setting: Setting, kinds: Collection[Kind]) -> list[KubernetesObject]:
    """Return one Service for each kind. The ingress leads to the one that has only a cluster IP."""
    wanted = {*kinds, *([Kind.CLUSTER_IP] if Kind.NGINX in kinds else [])}
    services = [_service(setting, kind) for kind in Kind if kind in wanted]
    return [*services, *([_ingress()] if Kind.NGINX in kinds else [])]


def cluster_ip(setting: Setting, kind: Kind) -> str:
    number = [*Kind].index(kind) + 10
    return f"10.96.0.{number}" if setting.family == "IPv4" else f"fd00:10:96::{number}"


def _service(setting: Setting, kind: Kind) -> Service:
    nginx = kind is Kind.NGINX
    target = PORT if nginx else _POD_PORT
    protocols: tuple[Protocol, ...] = ("TCP",) if nginx else ("TCP", "UDP")
    node_port = NODE_PORTS.get(kind, 0)
    balanced = kind in _CLASSES
    fields: dict[str, Any] = {}
    if kind is not Kind.CLUSTER_IP:
        fields["external_traffic_policy"] = setting.policy
    if balanced and setting.policy == "Local":
        fields["health_check_node_port"] = node_port + 1000
    made = service(
        _NAMES[kind],
        type="LoadBalancer" if balanced else "NodePort" if node_port else "ClusterIP",
        cluster_ips=[cluster_ip(setting, kind)],
        ports=[
            ServicePort(
                name=protocol.lower(),
                protocol=protocol,
                port=PORT,
                target_port=target,
                node_port=node_port,
            )
            for protocol in protocols
        ],
        selector={"app": "nginx" if nginx else "web"},
        **fields,
    )
    annotations = {f"{ELB}class": _CLASSES[kind]} if balanced else {}
    return replace(made, metadata=replace(made.metadata, annotations=annotations))


def _ingress() -> Ingress:
    """Return an Ingress that leads requests for HOST to the cluster IP."""
    name = _NAMES[Kind.CLUSTER_IP]
    backend = IngressBackend(
        service=IngressServiceBackend(name=name, port=ServiceBackendPort(number=PORT))
    )
    path = HTTPIngressPath(path="/", path_type="Prefix", backend=backend)
    rule = IngressRule(host=HOST, http=HTTPIngressRuleValue(paths=(path,)))
    return Ingress(
        metadata=Metadata(name="web", namespace="default"), spec=IngressSpec(rules=(rule,))
    )
