"""JSON and YAML of the same objects mean the same; no text raises an exception."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kproxy.api import Decoded, decode
from tests.api.objects import ALL, Manifest, edited

KINDS = [manifest["kind"] for manifest in ALL] + ["List", "ServiceList", "ReplicaSet"]
PATHS = [  # where something odd is put; the first step is the kind it exists in
    "Service.metadata.name",
    "Service.metadata.labels",
    "Service.spec",
    "Service.spec.type",
    "Service.spec.clusterIP",
    "Service.spec.clusterIPs",
    "Service.spec.ipFamilies",
    "Service.spec.ports",
    "Service.spec.ports[0]",
    "Service.spec.ports[0].protocol",
    "Service.spec.ports[0].targetPort",
    "Service.spec.sessionAffinityConfig",
    "Service.status.loadBalancer.ingress",
    "EndpointSlice.addressType",
    "EndpointSlice.endpoints[0]",
    "EndpointSlice.endpoints[0].hints",
    "EndpointSlice.endpoints[0].addresses[0]",
    "EndpointSlice.ports[0]",
    "Endpoints.subsets",
    "Endpoints.subsets[0].addresses[0]",
    "ServiceCIDR.spec.cidrs",
    "ServiceCIDR.spec.cidrs[1]",
    "IPAddress.spec.parentRef",
    "Ingress.spec.defaultBackend",
    "Ingress.spec.rules[0].http.paths[0]",
    "Ingress.spec.rules[0].http.paths[0].backend",
    "Node.spec.podCIDRs",
    "Node.status.addresses[0]",
    "Pod.spec.containers[0].ports",
    "Deployment.spec.selector.matchLabels",
    "Deployment.spec.strategy.rollingUpdate.maxSurge",
    "Deployment.spec.template.metadata.labels",
    "Deployment.spec.template.spec.containers",
    "Deployment.spec.template.spec.containers[0].readinessProbe",
    "Deployment.spec.template.spec.containers[0].readinessProbe.httpGet.port",
    "Deployment.spec.template.spec.containers[0].lifecycle.preStop",
    "Pod.status.podIPs",
]
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["IPv4", "None", "TCP", "10.0.0.1", "::1", "10.0.0.0/8", "a"]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "port", "ip", "spec", "items", "kind"]) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def odd_manifest(path: str, value: object) -> Manifest:
    kind, _, field = path.partition(".")
    return edited(next(each for each in ALL if each["kind"] == kind), field, value)


MANIFESTS = st.builds(odd_manifest, st.sampled_from(PATHS), VALUES) | st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS), "apiVersion": st.just("v1")},
    optional={"items": VALUES, "metadata": VALUES, "spec": VALUES},
)


def as_json(manifests: list[Manifest]) -> Decoded:
    return decode(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}), "f")


def without_lines(decoded: Decoded) -> list[str]:
    told = (str(decoded.objects), *decoded.problems, *decoded.notices)
    return [re.sub(r"\bf:\d+", "f", line) for line in told]


def as_yaml(manifests: list[Manifest]) -> Decoded:
    """Return quoted YAML, as dialects of YAML differ in what looks like a number."""
    value = {"apiVersion": "v1", "kind": "List", "items": manifests}
    return decode(yaml.safe_dump(value, default_style='"', sort_keys=False), "f")


@pytest.mark.parametrize("style", [None, '"', "'"])
@pytest.mark.parametrize("flow", [True, False, None])
def test_valid_objects(style: str | None, flow: bool | None) -> None:
    text = yaml.safe_dump_all(ALL, default_style=style, default_flow_style=flow)
    decoded = decode(text, "f")
    assert decoded.problems == ()
    assert decoded.objects == as_json(list(ALL)).objects


@given(st.lists(MANIFESTS, max_size=3))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_json_and_yaml_are_read_alike(manifests: list[Manifest]) -> None:
    assert without_lines(as_yaml(manifests)) == without_lines(as_json(manifests))


@given(st.lists(MANIFESTS, min_size=1, max_size=3))
def test_every_problem_is_one_line_with_its_place(manifests: list[Manifest]) -> None:
    decoded = as_json(manifests)
    for line in (*decoded.problems, *decoded.notices):
        assert line.startswith("f:1: ")
        assert line.isprintable()


@given(VALUES)
def test_any_value(value: object) -> None:
    assert isinstance(decode(json.dumps(value), "f.json"), Decoded)
    assert isinstance(decode(yaml.safe_dump(value), "f.yaml"), Decoded)


@given(st.binary(max_size=60) | st.text("{}[]:-&*!|>'\"%@`#,?<~a1\n \t\0é", max_size=40))
def test_any_text(text: str | bytes) -> None:
    for where in ("f.json", "f.yaml"):
        decoded = decode(text, where)
        assert all(line.isprintable() for line in (*decoded.problems, *decoded.notices))


@given(st.data())
def test_torn_and_stained_text(data: st.DataObject) -> None:
    """Text may be cut off or damaged, as when an editor is still writing."""
    whole = yaml.safe_dump_all(ALL) if data.draw(st.booleans()) else json.dumps(ALL[0])
    cut = data.draw(st.integers(0, len(whole)))
    stain = data.draw(st.text("{}[]:-&*!|>'\"%\n \t\x07", max_size=3))
    torn = whole[:cut] + stain + (whole[cut:] if data.draw(st.booleans()) else "")
    assert isinstance(decode(torn, "f"), Decoded)
