"""Faults of a Service that kube-proxy ignores are refused, and types have their defaults."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kproxy.api.types import Metadata
from kproxy.controlplane.service_validation import SOURCE_RANGES
from tests.controlplane.services import TYPES, allocator, refused, service, told

ONLY_BALANCERS = "Forbidden: may only be used when `type` is 'LoadBalancer'"
ONLY_REACHABLE = "may only be set for externally-accessible services"
ONLY_LOCAL_BALANCERS = (
    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
)
BALANCER_FIELDS: dict[str, Any] = {
    "loadBalancerSourceRanges": ["10.0.0.0/8"],
    "allocateLoadBalancerNodePorts": False,
    "loadBalancerClass": "a",
}
NOT_QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end"
    " with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    " validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
NOT_A_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    " '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
TARGET = "spec.ports[0].targetPort: Invalid value: "

REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"selector": {"a b": "c", "d": "-e"}},
        [
            f'spec.selector: Invalid value: "a b": {NOT_QUALIFIED}',
            f'spec.selector: Invalid value: "-e": {NOT_A_LABEL_VALUE}',
        ],
    ),
    *(
        (
            {"externalIPs": [address]},
            [f'spec.externalIPs[0]: Invalid value: "{address}": may not be {told}'],
        )
        for address, told in (
            ("0.0.0.0", "unspecified (0.0.0.0)"),
            ("::1", "in the loopback range (127.0.0.0/8, ::1/128)"),
            ("fe80::1", "in the link-local range (169.254.0.0/16, fe80::/10)"),
            ("224.0.0.1", "in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        )
    ),
    (
        {"ports": [{"port": 80, "targetPort": "8080"}]},
        [f'{TARGET}"8080": must contain at least one letter (a-z)'],
    ),
    (
        {"ports": [{"port": 80, "targetPort": "a-name-too-long-"}]},
        [
            f'{TARGET}"a-name-too-long-": must be no more than 15 characters',
            f'{TARGET}"a-name-too-long-": must not begin or end with a hyphen',
        ],
    ),
    (
        {"type": "LoadBalancer", "loadBalancerClass": "a b"},
        [f'spec.loadBalancerClass: Invalid value: "a b": {NOT_QUALIFIED}'],
    ),
    (
        {"ports": [{"port": 80, "appProtocol": "a b"}]},
        [f'spec.ports[0].appProtocol: Invalid value: "a b": {NOT_QUALIFIED}'],
    ),
    *(
        (
            {**TYPES[kind], **BALANCER_FIELDS},
            [
                f"spec.{field.replace('loadBalancerS', 'LoadBalancerS')}: {ONLY_BALANCERS}"
                for field in BALANCER_FIELDS
            ],
        )
        for kind in ("ClusterIP", "NodePort", "ExternalName")
    ),
    *(
        (
            {**TYPES[kind], "externalTrafficPolicy": policy},
            [f'spec.externalTrafficPolicy: Invalid value: "{policy}": {ONLY_REACHABLE}'],
        )
        for kind in ("ClusterIP", "ExternalName")
        for policy in ("Cluster", "Local")
    ),
    *(
        (
            {**spec, "healthCheckNodePort": 30090},
            [f"spec.healthCheckNodePort: Invalid value: 30090: {ONLY_LOCAL_BALANCERS}"],
        )
        for spec in (
            {},
            {"type": "NodePort", "externalTrafficPolicy": "Local"},
            {"type": "LoadBalancer"},
        )
    ),
]


@pytest.mark.parametrize(("spec", "problems"), REFUSED)
def test_refused(spec: dict[str, Any], problems: list[str]) -> None:
    assert refused(allocator(), service(**spec)) == told(problems)


def test_a_name_is_shorter_than_what_kube_proxy_could_do() -> None:
    name = "x" * 64
    long = replace(service(), metadata=Metadata(name=name))
    problem = f'metadata.name: Invalid value: "{name}": must be no more than 63 characters'
    assert refused(allocator(), long) == told([problem], f'Service "{name}"')
    longest = replace(service(), metadata=Metadata(name=name[1:]))
    assert allocator().admit(longest).metadata.name == name[1:]


def test_labels_are_labels() -> None:
    details = [f'"a b": {NOT_QUALIFIED}', f'"-e": {NOT_A_LABEL_VALUE}']
    new = replace(service(), metadata=Metadata(name="web", labels={"a b": "c", "d": "-e"}))
    problems = [f"metadata.labels: Invalid value: {each}" for each in details]
    assert refused(allocator(), new) == told(problems)


def test_annotations_have_keys_and_a_size() -> None:
    for wrong, detail in (
        ({"a b": "c"}, f'Invalid value: "a b": {NOT_QUALIFIED}'),
        ({"Example.com/A": "x" * 2**18}, "Too long: may not be more than 262144 bytes"),
    ):
        new = replace(service(), metadata=Metadata(name="web", annotations=wrong))
        assert refused(allocator(), new) == [
            f'Service "web" is invalid: metadata.annotations: {detail}'
        ]


RANGES_PATH = f"metadata.annotations[{SOURCE_RANGES}]"


@pytest.mark.parametrize(
    ("kind", "ranges", "detail"),
    [
        ("LoadBalancer", "10.0.0.0/8, 192.0.2.0/24", ""),
        ("LoadBalancer", " ", ""),
        (
            "LoadBalancer",
            "10.0.0.0/8,b",
            ('Invalid value: "b": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'),
        ),
        ("ClusterIP", "10.0.0.0/8", ONLY_BALANCERS),
    ],
)
def test_source_ranges_of_an_annotation(kind: str, ranges: str, detail: str) -> None:
    metadata = Metadata(name="web", annotations={SOURCE_RANGES: ranges})
    new = replace(service(type=kind), metadata=metadata)
    if detail:
        assert refused(allocator(), new) == [f'Service "web" is invalid: {RANGES_PATH}: {detail}']
    else:
        assert allocator().admit(new).metadata == metadata


def test_both_annotations_for_hints_say_the_same() -> None:
    mode, hints = (f"service.kubernetes.io/topology-{each}" for each in ("mode", "aware-hints"))
    for other, details in (
        ("a", []),
        ("b", [f'"a": must match annotations[{hints}] when both are specified']),
    ):
        metadata = Metadata(name="web", annotations={mode: "a", hints: other})
        new = replace(service(), metadata=metadata)
        if details:
            prefix = f'Service "web" is invalid: metadata.annotations[{mode}]: Invalid value: '
            assert refused(allocator(), new) == [prefix + each for each in details]
        else:
            assert allocator().admit(new).metadata == metadata


@pytest.mark.parametrize("spec", [{"externalIPs": ["203.0.113.1"]}, {"type": "NodePort"}])
def test_reachable_services_have_an_external_traffic_policy(spec: dict[str, Any]) -> None:
    for policy in ("Cluster", "Local"):
        stored = allocator().admit(service(**spec, externalTrafficPolicy=policy))
        assert stored.spec.external_traffic_policy == policy
    assert allocator().admit(service(**spec)).spec.external_traffic_policy == "Cluster"
    assert allocator().admit(service()).spec.external_traffic_policy is None
