"""The API server's warnings about objects, and how long a cluster shows them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from kproxy.api.types import (
    Deployment,
    Endpoints,
    EndpointSlice,
    Ingress,
    KubernetesObject,
    Metadata,
    Pod,
    Service,
    ServiceCIDR,
)
from kproxy.controlplane.api_warnings import api_warnings
from kproxy.errors import BadInput
from tests.controlplane.played import NODES, NOW, Played, deployment, pod

HEADLESS: dict[str, Any] = {"clusterIP": "None", "clusterIPs": ["None"]}
NAMED: dict[str, Any] = {"type": "ExternalName", "externalName": "a.example"}
BALANCED: dict[str, Any] = {"type": "LoadBalancer"}
DEPRECATED = "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
SECOND = {"externalIPs": ["192.0.2.1", "fd00::0:1"]}


def canonical(field: str, text: str, form: str) -> str:
    return f'{field}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{form}")'


def cidr_form(field: str, text: str, form: str) -> str:
    return f'{field}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{form}")'


def standard(field: str, text: str, form: str, what: str = "IP address") -> str:
    future = "will be considered invalid in a future Kubernetes release"
    return f'{field}: non-standard {what} "{text}" {future}: use "{form}"'


def ambiguous(field: str, text: str, network: str, address: str) -> str:
    which = f'(should be "{network}" or "{address}"?)'
    return f'{field}: CIDR value "{text}" is ambiguous in this context {which}'


RANGE = "spec.loadBalancerSourceRanges[0]"
CLUSTER = {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00:0:0::7"]}
SERVICES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"externalIPs": ["192.0.2.1"]}, [DEPRECATED]),
    (SECOND, [canonical("spec.externalIPs[1]", "fd00::0:1", "fd00::1"), DEPRECATED]),
    (
        {"externalIPs": ["192.0.2.01", "::ffff:192.0.2.2"]},
        [
            standard("spec.externalIPs[0]", "192.0.2.01", "192.0.2.1"),
            standard("spec.externalIPs[1]", "::ffff:192.0.2.2", "192.0.2.2"),
            DEPRECATED,
        ],
    ),
    (
        NAMED | SECOND,
        [
            canonical("spec.externalIPs[1]", "fd00::0:1", "fd00::1"),
            'spec.externalIPs is ignored when spec.type is "ExternalName"',
        ],
    ),
    (NAMED, []),
    (NAMED | CLUSTER, []),
    ({"externalName": "a"}, ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    (
        BALANCED | {"externalName": "a", "trafficDistribution": "PreferClose"},
        [
            'spec.externalName is ignored when spec.type is not "ExternalName"',
            'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
        ],
    ),
    ({"trafficDistribution": "PreferSameZone"}, []),
    (HEADLESS, []),
    (
        HEADLESS
        | {"sessionAffinity": "ClientIP", "loadBalancerIP": "192.0.2.9", "externalIPs": ["::0"]},
        [
            "spec.loadBalancerIP is ignored for headless services",
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
            canonical("spec.externalIPs[0]", "::0", "::"),
        ],
    ),
    ({"sessionAffinity": "ClientIP"}, []),
    (CLUSTER, [canonical("spec.clusterIPs[1]", "fd00:0:0::7", "fd00::7")]),
    (
        BALANCED | {"loadBalancerIP": "FD00::9"},
        [canonical("spec.loadBalancerIP", "FD00::9", "fd00::9")],
    ),
    (BALANCED | {"loadBalancerIP": "lb.example"}, []),
    *(
        (BALANCED | {"loadBalancerSourceRanges": [text]}, told)
        for text, told in [
            ("10.0.0.0/8", []),
            ("fd00::/64", []),
            (" 10.0.0.0/8 ", []),  # allowed, and not understood here
            ("10.0.0.1/8", [ambiguous(RANGE, "10.0.0.1/8", "10.0.0.0/8", "10.0.0.1/32")]),
            ("fd00::1/64", [ambiguous(RANGE, "fd00::1/64", "fd00::/64", "fd00::1/128")]),
            ("FD00::1/64", [ambiguous(RANGE, "FD00::1/64", "fd00::/64", "fd00::1/128")]),
            ("FD00::/64", [cidr_form(RANGE, "FD00::/64", "fd00::/64")]),
            ("fd00:0::/32", [cidr_form(RANGE, "fd00:0::/32", "fd00::/32")]),
            ("10.0.0.0/08", [standard(RANGE, "10.0.0.0/08", "10.0.0.0/8", "CIDR value")]),
            ("fd00::/032", [standard(RANGE, "fd00::/032", "fd00::/32", "CIDR value")]),
            (
                "010.0.0.1/8",
                [
                    ambiguous(RANGE, "010.0.0.1/8", "10.0.0.0/8", "10.0.0.1/32"),
                    standard(RANGE, "010.0.0.1/8", "10.0.0.0/8", "CIDR value"),
                ],
            ),
            (
                "::ffff:10.0.0.0/104",
                [standard(RANGE, "::ffff:10.0.0.0/104", "10.0.0.0/8", "CIDR value")],
            ),
        ]
    ),
]


@pytest.mark.parametrize(("spec", "told"), SERVICES)
def test_services(spec: dict[str, Any], told: list[str]) -> None:
    whole = {"ports": [{"port": 80}], "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"]}
    wanted = convert({"metadata": {"name": "web"}, "spec": whole | spec}, Service)
    assert list(api_warnings(wanted, None)) == told
    assert list(api_warnings(wanted, wanted)) == told


OLD_HINTS = {"service.kubernetes.io/topology-aware-hints": "auto"}
OLD_ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
FQDN = "spec.addressType: FQDN endpoints are deprecated"
INGRESS = (
    'annotation "kubernetes.io/ingress.class" is deprecated, please use'
    " 'spec.ingressClassName' instead"
)
TOO_LONG = "[must be no more than 63 characters must not contain dots]"
BEHIND = "which can result in surprising behavior; a DNS label is recommended"
LONG = "web." + 60 * "x"
OF_NODES = 'deprecated since v1.14; use "kubernetes.io/os" instead'
OF_ZONES = 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
CRITICAL = "scheduler.alpha.kubernetes.io/critical-pod"
OF_CRITICAL = 'non-functional in v1.16+; use the "priorityClassName" field instead'


def a_slice(address_type: str, *addresses: str, **labels: str) -> EndpointSlice:
    return convert(
        {
            "metadata": {"name": "web-a", "labels": labels},
            "addressType": address_type,
            "endpoints": [{"addresses": addresses}],
        },
        EndpointSlice,
    )


def endpoints(ready: str, sick: str = "", **labels: str) -> Endpoints:
    subset = {"addresses": [{"ip": ready}], "notReadyAddresses": [{"ip": sick}] if sick else []}
    told = {"metadata": {"name": "web", "labels": labels}, "subsets": [subset]}
    return convert(told, Endpoints)


def containers(*ports: dict[str, Any]) -> dict[str, Any]:
    return {
        "containers": [{"name": "one", "ports": ports[:1]}, {"name": "two", "ports": ports[1:]}]
    }


def an_ingress(**spec: Any) -> Ingress:
    annotations = {"kubernetes.io/ingress.class": "nginx"}
    return convert({"metadata": {"name": "w", "annotations": annotations}, "spec": spec}, Ingress)


def template(**spec: Any) -> Deployment:
    labels = {"app": "web"}
    return deployment(template={"metadata": {"labels": labels}, "spec": {"containers": [], **spec}})


STRUCT = "{Name:http HostPort:0 ContainerPort:80 Protocol:TCP HostIP:127.0.0.1}"
PORTS = [  # two ports of two containers -> warnings behind "spec.containers[1].ports[0]: "
    ({}, {"containerPort": 81}, []),
    ({}, {"protocol": "UDP"}, []),
    ({}, {}, ["duplicate port definition with {}"]),
    ({"hostPort": 80}, {}, ["overlapping port definition with {}"]),
    ({"hostPort": 80}, {"hostPort": 81}, []),
    (
        {"hostPort": 80},
        {"hostPort": 80, "hostIP": "127.0.0.1"},
        ["dangerously ambiguous port definition with {}"],
    ),
    (
        {"containerPort": 81},
        {"hostIP": "127.0.0.1", "name": "http"},
        [f"hostIP set without hostPort: {{{STRUCT}}}"],
    ),
]


@pytest.mark.parametrize(("one", "two", "told"), PORTS)
def test_ports(one: dict[str, Any], two: dict[str, Any], told: list[str]) -> None:
    spec = containers({"containerPort": 80} | one, {"containerPort": 80} | two)
    for path, obj in (("", pod("web", **spec)), ("spec.template.", template(**spec))):
        first, second = (f"{path}spec.containers[{i}].ports[0]" for i in (0, 1))
        assert list(api_warnings(obj, None)) == [f"{second}: {each.format(first)}" for each in told]


OF_HINTS = (
    "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use"
    " service.kubernetes.io/topology-mode instead"
)
OF_SLICE = canonical("endpoints[0].addresses[1]", "fd00::0:2", "fd00::2")
OF_ENDPOINTS = [
    OLD_ENDPOINTS,
    standard("subsets[0].addresses[0].ip", "10.0.0.01", "10.0.0.1"),
    canonical("subsets[0].notReadyAddresses[0].ip", "fd00::0:2", "fd00::2"),
]
OF_POD = [
    f"metadata.name: this is used in the Pod's hostname, {BEHIND}: {TOO_LONG}",
    f"spec.nodeSelector[beta.kubernetes.io/os]: {OF_NODES}",
]
OF_DEPLOYMENT = [
    f"metadata.name: this is used in Pod names and hostnames, {BEHIND}: [must not contain dots]",
    f"spec.template.spec.nodeSelector[failure-domain.beta.kubernetes.io/zone]: {OF_ZONES}",
]
OTHERS: list[tuple[KubernetesObject, list[str], list[str]]] = [  # -> of a new one, of an update
    (
        convert({"metadata": {"name": "w", "annotations": OLD_HINTS}}, Service),
        [OF_HINTS],
        [OF_HINTS],
    ),
    (a_slice("IPv4", "10.0.0.1"), [], []),
    (a_slice("FQDN", "a.example"), [FQDN], []),
    (a_slice("IPv6", "fd00::1", "fd00::0:2"), [OF_SLICE], [OF_SLICE]),
    (endpoints("10.0.0.1"), [OLD_ENDPOINTS], [OLD_ENDPOINTS]),
    (endpoints("10.0.0.01", "fd00::0:2"), OF_ENDPOINTS, OF_ENDPOINTS),
    (an_ingress(), [INGRESS], []),
    (an_ingress(ingressClassName="nginx"), [], []),
    (pod("web", **containers()), [], []),
    (pod(LONG, nodeSelector={"beta.kubernetes.io/os": "linux", "disk": "ssd"}), OF_POD, []),
    (
        replace(pod("web"), metadata=Metadata(name="web", annotations={CRITICAL: ""})),
        [f"metadata.annotations[{CRITICAL}]: {OF_CRITICAL}"],
        [],
    ),
    (  # an update that leaves the template as it was
        replace(
            template(nodeSelector={"failure-domain.beta.kubernetes.io/zone": "a"}),
            metadata=Metadata(name="web.1"),
        ),
        OF_DEPLOYMENT,
        [],
    ),
    (convert({"metadata": {"name": "x"}, "spec": {"cidrs": ["10.0.0.0/24"]}}, ServiceCIDR), [], []),
]


@pytest.mark.parametrize(("obj", "new", "changed"), OTHERS)
def test_other_kinds(obj: KubernetesObject, new: list[str], changed: list[str]) -> None:
    assert list(api_warnings(obj, None)) == new
    assert list(api_warnings(obj, obj)) == changed


def test_owners_that_are_named_twice() -> None:
    one, two = ({"kind": "A", "name": "a", "uid": uid} for uid in ("u1", "u2"))
    told = {"metadata": {"name": "web", "ownerReferences": [one, two, one]}}
    warnings = list(api_warnings(convert(told, Endpoints), None))
    assert warnings[0] == OLD_ENDPOINTS
    assert warnings[1].endswith("please fix your requests; duplicate UID(s) observed: u1")
    assert len(warnings) == 2


def test_a_changed_template_is_judged_again() -> None:
    before, after = template(), template(nodeSelector={"beta.kubernetes.io/os": "linux"})
    path = "spec.template.spec.nodeSelector[beta.kubernetes.io/os]"
    assert list(api_warnings(after, before)) == [f"{path}: {OF_NODES}"]
    assert list(api_warnings(before, after)) == []


@pytest.mark.parametrize("kind", ["endpointslice-controller", "endpointslicemirroring-controller"])
def test_addresses_of_controllers_are_not_looked_at(kind: str) -> None:
    label = {"endpointslice.kubernetes.io/managed-by": f"{kind}.k8s.io"}
    assert api_warnings(a_slice("IPv6", "fd00::0:2", **label), None) == ()
    by_controller = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert api_warnings(endpoints("fd00::0:2", **by_controller), None) == (OLD_ENDPOINTS,)


# --- in a cluster --------------------------------------------------------------------------------

KEY = ("Endpoints", "default", "web")


def by_hand(**spec: Any) -> Service:
    whole = {"ports": [{"port": 80}], **spec}
    return convert({"metadata": {"name": "web"}, "spec": whole}, Service)


def test_they_are_returned_at_each_change() -> None:
    cluster = Played(*NODES).cluster
    old, new = by_hand(trafficDistribution="PreferClose"), by_hand()
    key = ("Service", "default", "web")
    (told,) = api_warnings(old, None)
    assert cluster.apply([old]) == {key: (told,)}
    assert cluster.apply([old]) == {}  # nothing was written
    assert cluster.warnings == {key: (told,)}
    assert cluster.apply([new]) == {}
    assert cluster.warnings == {}
    assert cluster.replace([old], [], NOW) == {key: (told,)}
    with pytest.raises(BadInput):
        cluster.apply([new, by_hand(type="NodePort", clusterIP="None")])
    assert cluster.warnings == {key: (told,)}
    cluster.delete([key], NOW)
    assert cluster.warnings == {}


def test_an_object_that_a_controller_rewrites_has_none() -> None:
    played = Played(*NODES, by_hand(), endpoints("10.0.0.1"))
    assert played.cluster.warnings == {KEY: (OLD_ENDPOINTS,)}
    played.apply(by_hand(selector={"app": "web"}), pod("web", "10.0.0.2", node="node-a"))
    assert isinstance(played.cluster.object(KEY), Endpoints)
    assert played.cluster.warnings == {}


@pytest.mark.parametrize("deleted", [KEY, ("Service", "default", "web")])
def test_they_end_with_the_object(deleted: tuple[str, str, str]) -> None:
    played = Played(*NODES, by_hand(), endpoints("10.0.0.1"))
    played.delete(deleted)
    assert played.cluster.warnings == {}


def test_they_come_before_those_of_controllers() -> None:
    played = Played(*NODES, by_hand(selector={"app": "x"}, externalIPs=["192.0.2.1"]))
    assert played.told("Service") == (DEPRECATED, "spec.selector matches no Pod")


def test_a_pod_that_runs_keeps_its_own() -> None:
    played = Played(*NODES, pod("web.1", **containers()))
    played.settle()
    found = played.cluster.object(("Pod", "default", "web.1"))
    assert isinstance(found, Pod)
    assert found.status.pod_ips
    assert len(played.told("Pod", "web.1")) == 1
