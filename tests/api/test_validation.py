"""The wording of what is refused in one object. A row is an edit of a valid object."""

from __future__ import annotations

import pytest

from tests.api.objects import (
    ABSENT,
    ALL,
    ENDPOINTS,
    NODE,
    POD,
    SERVICE,
    SERVICE_CIDR,
    SLICE,
    Manifest,
    edited,
    problems_of,
)

NOT_A_LABEL = (
    "is not a DNS label: only a-z, 0-9 and - are allowed, with a letter or digit at both ends"
)
NOT_A_PORT_NAME = (
    "is not a port name: only a-z, 0-9 and - are allowed, with a letter somewhere, "
    "a letter or digit at both ends, and no two - in a row"
)
NOT_QUALIFIED = (
    "is not a qualified name such as example.com/name: only letters, digits, -, _ and . are "
    "allowed, with a letter or digit at both ends"
)
NOT_A_LABEL_VALUE = (
    "is not a label value: only letters, digits, -, _ and . are allowed, "
    "with a letter or digit at both ends"
)
LONG = "x" * 67
WANTED_IP = "is not an IP address"
WANTED_CIDR = "is not a CIDR such as 10.0.0.0/8"
RANGE = "is not in 1..65535"
PROTOCOLS = "expected TCP, UDP or SCTP"

INVALID: list[tuple[Manifest, str, object, str]] = [  # object, path, value -> what is said of it
    (SERVICE, "apiVersion", "apps/v1", "expected v1, got 'apps/v1'"),
    (SERVICE, "apiVersion", ABSENT, "expected v1, missing"),
    (SERVICE, "apiVersion", 1, "expected v1, got 1"),
    (SERVICE, "kind", ABSENT, "missing"),
    (SERVICE, "kind", 3, "expected a string, got 3"),
    (SERVICE, "metadata", "web", "expected an object, got 'web'"),
    (SERVICE, "metadata.name", ABSENT, "missing"),
    (SERVICE, "metadata.name", "", "missing"),
    (SERVICE, "metadata.name", 8080, "expected a string, got 8080"),
    (SERVICE, "metadata.name", "Web", f"'Web' {NOT_A_LABEL}"),
    (SERVICE, "metadata.name", "a.b", f"'a.b' {NOT_A_LABEL}"),
    (SERVICE, "metadata.name", LONG, f"'{LONG}' has 67 characters; 66 are allowed"),
    (SERVICE, "metadata.namespace", "a/b", f"'a/b' {NOT_A_LABEL}"),
    (SERVICE, "metadata.labels", ["a"], "expected an object, got a list"),
    (SERVICE, "metadata.labels[app.x/y]", True, "expected a string, got true"),
    (
        SERVICE,
        "spec.type",
        "Cluster",
        "expected ClusterIP, NodePort, LoadBalancer or ExternalName, got 'Cluster'",
    ),
    (SERVICE, "spec.clusterIP", "10.96.0.11", "'10.96.0.11' is not the first of spec.clusterIPs"),
    (SERVICE, "spec.clusterIP", "None", "'None' is not the first of spec.clusterIPs"),
    (SERVICE, "spec.clusterIP", "10.96.0", f"'10.96.0' {WANTED_IP}"),
    (SERVICE, "spec.clusterIPs[1]", "fd00::g", f"'fd00::g' {WANTED_IP}"),
    (SERVICE, "spec.clusterIPs[1]", "10.0.0.256", f"'10.0.0.256' {WANTED_IP}"),
    (SERVICE, "spec.clusterIPs[1]", "None", "None must stand alone"),
    (SERVICE, "spec.clusterIPs[1]", "10.0.0.1", "10.0.0.1 is not IPv6, as spec.ipFamilies[1] says"),
    (SERVICE, "spec.clusterIPs[1]", 10, "expected a string, got 10"),
    (SERVICE, "spec.ipFamilies[1]", "IPv5", "expected IPv4 or IPv6, got 'IPv5'"),
    (SERVICE, "spec.externalIPs[0]", "example.com", f"'example.com' {WANTED_IP}"),
    (SERVICE, "spec.externalTrafficPolicy", "local", "expected Cluster or Local, got 'local'"),
    (SERVICE, "spec.internalTrafficPolicy", "", "expected Cluster or Local, got ''"),
    (SERVICE, "spec.healthCheckNodePort", 70000, f"70000 {RANGE}"),
    (SERVICE, "spec.healthCheckNodePort", -1, f"-1 {RANGE}"),
    (SERVICE, "spec.loadBalancerSourceRanges[0]", "10.0.0.1", f"'10.0.0.1' {WANTED_CIDR}"),
    (SERVICE, "spec.loadBalancerSourceRanges[0]", "10.0.0.0/33", f"'10.0.0.0/33' {WANTED_CIDR}"),
    (SERVICE, "spec.sessionAffinity", "clientIP", "expected None or ClientIP, got 'clientIP'"),
    (
        SERVICE,
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        0,
        "0 is not in 1..86400",
    ),
    (
        SERVICE,
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        86401,
        "86401 is not in 1..86400",
    ),
    (
        SERVICE,
        "spec.ipFamilyPolicy",
        "DualStack",
        "expected SingleStack, PreferDualStack or RequireDualStack, got 'DualStack'",
    ),
    (
        SERVICE,
        "spec.trafficDistribution",
        "Local",
        "expected PreferClose, PreferSameZone or PreferSameNode, got 'Local'",
    ),
    (SERVICE, "spec.ports", [], "at least one port is needed"),
    (SERVICE, "spec.ports", None, "at least one port is needed"),
    (SERVICE, "spec.ports", {"port": 80}, "expected a list, got an object"),
    (SERVICE, "spec.ports[0].name", ABSENT, "missing; with several ports each needs a name"),
    (SERVICE, "spec.ports[0].name", "a_b", f"'a_b' {NOT_A_LABEL}"),
    (SERVICE, "spec.ports[1].name", "http", "'http' is used by spec.ports[0].name already"),
    (SERVICE, "spec.ports[0].port", ABSENT, f"0 {RANGE}"),
    (SERVICE, "spec.ports[0].port", "80", "expected an integer, got '80'"),
    (SERVICE, "spec.ports[0].port", 80.5, "expected an integer, got 80.5"),
    (SERVICE, "spec.ports[0].port", True, "expected an integer, got true"),
    (SERVICE, "spec.ports[0].port", 0, f"0 {RANGE}"),
    (SERVICE, "spec.ports[0].port", 65536, f"65536 {RANGE}"),
    (SERVICE, "spec.ports[0].nodePort", 65536, f"65536 {RANGE}"),
    (SERVICE, "spec.ports[0].targetPort", 65536, f"65536 {RANGE}"),
    (SERVICE, "spec.ports[0].targetPort", "a b", f"'a b' {NOT_A_LABEL}"),
    (SERVICE, "spec.ports[0].targetPort", [1], "expected an integer or a string, got a list"),
    (SERVICE, "spec.ports[0].protocol", "tcp", f"{PROTOCOLS}, got 'tcp'"),
    (SERVICE, "spec.ports[0].protocol", "ICMP", f"{PROTOCOLS}, got 'ICMP'"),
    (SERVICE, "status.loadBalancer.ingress[0].ip", "192.0.2.256", f"'192.0.2.256' {WANTED_IP}"),
    (SERVICE, "status.loadBalancer.ingress[0].ipMode", "vip", "expected VIP or Proxy, got 'vip'"),
    (SLICE, "apiVersion", "v1", "expected discovery.k8s.io/v1, got 'v1'"),
    (
        SLICE,
        "apiVersion",
        "discovery.k8s.io/v1beta1",
        "expected discovery.k8s.io/v1, got 'discovery.k8s.io/v1beta1'",
    ),
    (SLICE, "addressType", ABSENT, "missing"),
    (SLICE, "addressType", "IP", "expected IPv4, IPv6 or FQDN, got 'IP'"),
    (SLICE, "endpoints[0].addresses[0]", "fd00::5", "'fd00::5' is not IPv4, as addressType says"),
    (SLICE, "endpoints[0].addresses[0]", "web-0", f"'web-0' {WANTED_IP}"),
    (SLICE, "endpoints[0].addresses", "10.0.0.1", "expected a list, got '10.0.0.1'"),
    (SLICE, "endpoints[0].conditions.ready", "yes", "expected true or false, got 'yes'"),
    (SLICE, "ports[0].protocol", "udp", f"{PROTOCOLS}, got 'udp'"),
    (ENDPOINTS, "subsets[0].addresses[0].ip", "10.244.0", f"'10.244.0' {WANTED_IP}"),
    (ENDPOINTS, "subsets[0].notReadyAddresses[0].ip", ABSENT, f"'' {WANTED_IP}"),
    (SERVICE_CIDR, "apiVersion", "v1", "expected networking.k8s.io/v1, got 'v1'"),
    (SERVICE_CIDR, "metadata.name", ABSENT, "missing"),
    (SERVICE_CIDR, "spec", [], "expected an object, got a list"),
    (SERVICE_CIDR, "spec.cidrs[0]", 10, "expected a string, got 10"),
    (NODE, "spec.podCIDR", "10.0.0.0/24", "'10.0.0.0/24' is not the first of spec.podCIDRs"),
    (NODE, "spec.podCIDRs[1]", "fd00:1::", f"'fd00:1::' {WANTED_CIDR}"),
    (NODE, "status.addresses[0].address", "node-0", f"'node-0' {WANTED_IP}"),
    (
        NODE,
        "status.capacity.cpu",
        "4 cores",
        "'4 cores' is not a quantity such as 4 or 3920m",
    ),
    (NODE, "status.allocatable.pods", "many", "'many' is not a quantity such as 110"),
    (NODE, "status.capacity.cpu", [4], "expected a number or a string, got a list"),
    (POD, "spec.hostname", "a.b", f"'a.b' {NOT_A_LABEL}"),
    (POD, "status.podIP", "10.244.0.6", "'10.244.0.6' is not the first of status.podIPs"),
    (POD, "status.podIPs[1].ip", "fd00::5::", f"'fd00::5::' {WANTED_IP}"),
    (POD, "spec.containers[0].ports[0].containerPort", 0, f"0 {RANGE}"),
    (POD, "spec.hostNetwork", "yes", "expected true or false, got 'yes'"),
]

VALID: list[tuple[Manifest, str, object]] = [
    (SERVICE, "metadata.name", "x" * 66),
    (SERVICE, "metadata.namespace", "x" * 66),
    (SERVICE, "metadata.namespace", ABSENT),
    (SERVICE, "spec.clusterIP", ABSENT),
    (SERVICE, "spec.clusterIP", "10.96.0.010"),
    (SERVICE, "spec.clusterIPs", None),
    (SERVICE, "spec.ipFamilies", None),
    (SERVICE, "spec.sessionAffinityConfig", None),
    (SERVICE, "spec.sessionAffinityConfig.clientIP", None),
    (SERVICE, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 86400),
    (SERVICE, "spec.ports[0].targetPort", 0),
    (SERVICE, "spec.ports[0].targetPort", ABSENT),
    (SERVICE, "spec.ports[0].nodePort", 0),
    (SERVICE, "spec.ports[0].port", 10250),  # once refused, as it is the kubelet's
    (SERVICE, "spec.loadBalancerClass", "example.com/internal"),
    (SERVICE, "spec.externalIPs", ["2001:db8::1", "239.1.2.3", "ff0e::1"]),
    (SERVICE, "spec.loadBalancerSourceRanges", [" ", "", " 10.1.2.3/8 ", "fd00::/8"]),
    (SERVICE, "spec.trafficDistribution", None),
    (SERVICE, "spec.trafficDistribution", "PreferSameNode"),
    (SERVICE, "status.conditions", {"anything": "that is not read"}),
    (SERVICE, "status", None),
    (SLICE, "endpoints", None),
    (SLICE, "ports", None),
    (SLICE, "endpoints[0].hints", None),
    (SLICE, "endpoints[0].conditions", None),
    (SLICE, "endpoints[0].conditions.ready", None),
    (SLICE, "endpoints[0].addresses", []),
    (SLICE, "ports[0].name", None),
    (SLICE, "ports[0].port", None),
    (SLICE, "ports[1].name", "http"),  # of another protocol
    (SLICE, "metadata.labels", None),
    (ENDPOINTS, "subsets", None),
    (SERVICE_CIDR, "metadata.namespace", "Not Read"),
    (SERVICE_CIDR, "spec.cidrs", ["fd00:10:96::/112", "10.96.0.0/12"]),
    (SERVICE_CIDR, "spec.cidrs", ["fd00:10:96::/112"]),
    (NODE, "metadata.namespace", "Not Read"),
    (NODE, "status", ABSENT),
    (NODE, "status.addresses[0].address", ""),
    (NODE, "status.capacity.cpu", "3920m"),
    (NODE, "status.allocatable.pods", 110),
    (POD, "status", {"phase": "Pending"}),
]


@pytest.mark.parametrize("manifest", ALL, ids=lambda manifest: manifest["kind"])
def test_the_unedited_are_valid(manifest: Manifest) -> None:
    assert problems_of(manifest) == []


@pytest.mark.parametrize(("manifest", "path", "value", "said"), INVALID)
def test_invalid(manifest: Manifest, path: str, value: object, said: str) -> None:
    assert problems_of(edited(manifest, path, value)) == [f"{path}: {said}"]


@pytest.mark.parametrize(("manifest", "path", "value"), VALID)
def test_valid(manifest: Manifest, path: str, value: object) -> None:
    assert problems_of(edited(manifest, path, value)) == []
