"""The control plane answers objects as users write them in the API server's words and order."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from kproxy.api import decode
from kproxy.api.types import (
    Endpoint,
    EndpointAddress,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    KubernetesObject,
    Metadata,
)
from kproxy.controlplane import object_updates
from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.value_problems import qualified_name_problems
from kproxy.errors import BadInput
from tests.controlplane.services import DUAL, allocator, refused, service, told

Values = dict[str, Any]
PORT = {"port": 80}
NO_FINALIZER = "name is neither a standard finalizer name nor is it fully qualified"
NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
ANSWERS = yaml.safe_load((Path(__file__).parent / "answers.yaml").read_text())
KINDS: dict[str, tuple[str, Values, str]] = {
    "Service": ("v1", {"spec": {"ports": [PORT], "selector": {"a": "b"}}}, 'Service "x"'),
    "Endpoints": ("v1", {}, 'Endpoints "x"'),
    "EndpointSlice": (
        "discovery.k8s.io/v1",
        {"addressType": "IPv4"},
        'EndpointSlice.discovery.k8s.io "x"',
    ),
    "Node": ("v1", {}, 'Node "x"'),
    "ServiceCIDR": (
        "networking.k8s.io/v1",
        {"spec": {"cidrs": ["10.1.0.0/16"]}},
        'ServiceCIDR.networking.k8s.io "x"',
    ),
}


def rows(group: str) -> list[tuple[Values, list[str]]]:
    """Return what is given, and the problems that are told of it, from answers.yaml."""
    return [(each["given"], each["said"]) for each in ANSWERS[group]]


def manifest(kind: str, **values: Any) -> Values:
    version, given, _ = KINDS[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **given, **values}


def answer(*manifests: Values) -> list[str]:
    """Submit one after the other; return what is said to the last one."""
    cluster = Cluster(DUAL, random=Random(0))
    said: list[str] = []
    for each in manifests:
        assert said == []
        found = decode(json.dumps(each), "f.json")
        said = [problem.removeprefix("f.json:1: ") for problem in found.problems]
        try:
            cluster.apply(found.objects)
        except BadInput as error:
            said = error.problems
    return said


@pytest.mark.parametrize(("spec", "problems"), rows("services"), ids=str)
def test_services(spec: Values, problems: list[str]) -> None:
    whole = {"ports": [PORT], "selector": {"a": "b"}, **spec}
    expected = told(problems, 'Service "x"') if problems else []
    assert answer(manifest("Service", spec=whole)) == expected


@pytest.mark.parametrize(("entry", "problems"), rows("balancers"), ids=str)
def test_status_of_load_balancers(entry: Values, problems: list[str]) -> None:
    spec = {"type": "LoadBalancer", "ports": [PORT]}
    status = {"loadBalancer": {"ingress": [entry]}}
    expected = [f"status.loadBalancer.ingress[0]{each}" for each in problems]
    assert answer(manifest("Service", spec=spec, status=status)) == (
        told(expected, 'Service "x"') if expected else []
    )


@pytest.mark.parametrize(("subset", "problems"), rows("endpoints"), ids=str)
def test_endpoints(subset: Values, problems: list[str]) -> None:
    expected = told(problems, 'Endpoints "x"') if problems else []
    assert answer(manifest("Endpoints", subsets=[subset])) == expected


@pytest.mark.parametrize(("fields", "problems"), rows("slices"), ids=str)
def test_slices(fields: Values, problems: list[str]) -> None:
    expected = told(problems, KINDS["EndpointSlice"][2]) if problems else []
    assert answer(manifest("EndpointSlice", **fields)) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("metadata", "problems"), rows("metadata"), ids=str)
def test_metadata_of_any_object(kind: str, metadata: Values, problems: list[str]) -> None:
    expected = told(problems, KINDS[kind][2]) if problems else []
    assert answer(manifest(kind, metadata={"name": "x", **metadata})) == expected


def test_a_generation_that_the_server_does_not_set_is_not_negative() -> None:
    problem = "metadata.generation: Invalid value: -1: must be greater than or equal to 0"
    for kind, (_, _, what) in KINDS.items():
        said = answer(manifest(kind, metadata={"name": "x", "generation": -1}))
        assert said == ([] if kind == "EndpointSlice" else told([problem], what))


@pytest.mark.parametrize("kind", KINDS)
def test_finalizers_of_an_update(kind: str) -> None:
    later = {"name": "x", "finalizers": ["a b"]}
    wrong = qualified_name_problems("a b")[0]
    problems = [
        f'metadata.finalizers[0]: Invalid value: "a b": {NO_FINALIZER}',
        f'metadata.finalizers: Invalid value: "a b": {wrong}',
    ]
    said = answer(manifest(kind), manifest(kind, metadata=later))
    assert said == told(problems, KINDS[kind][2])


NULLS: list[tuple[str, Values, list[str]]] = [  # as in Go, an empty item
    (
        "Service",
        {"spec": {"ports": [None]}},
        [
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    ),
    (
        "Service",
        {"spec": {"ports": [PORT], "externalIPs": [None]}},
        [f'spec.externalIPs[0]: Invalid value: "": {NO_IP}'],
    ),
    ("Service", {"spec": None}, ["spec.ports: Required value"]),
    (
        "EndpointSlice",
        {"endpoints": [None]},
        ["endpoints[0].addresses: Required value: must contain at least 1 address"],
    ),
    ("EndpointSlice", {"ports": [None]}, []),
    (
        "Endpoints",
        {"subsets": [{"addresses": [None]}, None]},
        [
            f'subsets[0].addresses[0].ip: Invalid value: "": {NO_IP}',
            'subsets[0].addresses[0].ip: Invalid value: "": must be a valid IP address',
            "subsets[1]: Required value: must specify `addresses` or `notReadyAddresses`",
        ],
    ),
    (
        "Node",
        {"metadata": {"name": "x", "finalizers": [None]}},
        [
            'metadata.finalizers: Invalid value: "": name part must be non-empty',
            f'metadata.finalizers: Invalid value: "": {qualified_name_problems("")[1]}',
            f'metadata.finalizers[0]: Invalid value: "": {NO_FINALIZER}',
        ],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "problems"), NULLS, ids=str)
def test_nulls(kind: str, fields: Values, problems: list[str]) -> None:
    expected = told(problems, KINDS[kind][2]) if problems else []
    assert answer(manifest(kind, **fields)) == expected


@pytest.mark.parametrize("kind", ["Service", "EndpointSlice", "Endpoints", "ServiceCIDR"])
@pytest.mark.parametrize("metadata", [None, {}])
def test_no_metadata(kind: str, metadata: Values | None) -> None:
    problem = "metadata.name: Required value: name or generateName is required"
    what = KINDS[kind][2].replace('"x"', '""')
    assert answer(manifest(kind, metadata=metadata)) == told([problem], what)


def test_the_time_of_deletion_is_not_the_users_to_set() -> None:
    later = {"name": "x", "deletionTimestamp": "2024-01-31T00:00:00Z"}
    problem = (
        'metadata.deletionTimestamp: Invalid value: "2024-01-31T00:00:00Z": field is immutable'
    )
    for kind, (_, _, what) in KINDS.items():
        said = answer(manifest(kind), manifest(kind, metadata=later))
        assert said == told([problem], what)


def test_a_service_may_begin_with_a_digit_and_has_no_dots() -> None:
    assert answer(manifest("Service", metadata={"name": "1-x"})) == []
    problem = 'metadata.name: Invalid value: "a.b": must not contain dots'
    assert answer(manifest("Service", metadata={"name": "a.b"})) == told([problem], 'Service "a.b"')


def test_old_values_may_stay() -> None:
    """Leading zeros and host bits were stored before the API server refused them."""
    old: Values = {"externalIPs": ["203.0.113.01"], "loadBalancerSourceRanges": ["10.0.0.1/8"]}
    cluster = allocator()
    former = cluster.admit(service(type="LoadBalancer"))
    before = service(type="LoadBalancer", **old).spec
    stored = replace(
        former,
        spec=replace(
            former.spec,
            external_ips=before.external_ips,
            load_balancer_source_ranges=before.load_balancer_source_ranges,
        ),
    )
    again = cluster.admit(service(type="LoadBalancer", **old), stored)
    assert again.spec.external_ips == ("203.0.113.01",)
    assert again.spec.load_balancer_source_ranges == ("10.0.0.1/8",)
    more = service(type="LoadBalancer", externalIPs=["203.0.113.01", "203.0.113.02"])
    problem = 'spec.externalIPs[1]: Invalid value: "203.0.113.02": must not have leading 0s'
    assert refused(cluster, more, stored) == told([problem])


@pytest.mark.parametrize("kind", ["Endpoints", "EndpointSlice"])
def test_old_endpoints_may_stay_as_a_whole(kind: str) -> None:
    def made(*ips: str) -> KubernetesObject:
        if kind == "Endpoints":
            found = EndpointSubset(addresses=tuple(EndpointAddress(ip=ip) for ip in ips))
            return Endpoints(metadata=Metadata(name="x"), subsets=(found,))
        return EndpointSlice(
            metadata=Metadata(name="x"),
            address_type="IPv4",
            endpoints=tuple(Endpoint(addresses=(ip,)) for ip in ips),
        )

    stored, grown = made("10.1.1.01"), made("10.1.1.01", "10.1.1.2")
    match stored, grown:
        case Endpoints(), Endpoints():
            assert object_updates.endpoints(stored, stored) == stored
            with pytest.raises(BadInput, match="must not have leading 0s"):
                object_updates.endpoints(grown, stored)
        case EndpointSlice(), EndpointSlice():
            assert object_updates.endpoint_slice(stored, stored) == stored
            with pytest.raises(BadInput, match="must not have leading 0s"):
                object_updates.endpoint_slice(grown, stored)
