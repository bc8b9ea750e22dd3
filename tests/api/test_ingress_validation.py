"""The wording of what is refused in one Ingress. A row is an edit of a valid one."""

from __future__ import annotations

import json

import pytest

from kproxy.api import decode
from kproxy.api.types import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    Metadata,
    ServiceBackendPort,
)
from tests.api.objects import ABSENT, INGRESS, edited, problems_of, subject

NOT_A_NAME = (
    "is not a DNS name: only a-z, 0-9, - and . are allowed, "
    "with a letter or digit at both ends of each part"
)
NOT_A_LABEL = (
    "is not a DNS label: only a-z, 0-9 and - are allowed, with a letter or digit at both ends"
)
STAR = "has a * that is not the whole first part, as in *.example.com"
HOST = "spec.rules[0].host"
PATHS = "spec.rules[0].http.paths"
PATH = f"{PATHS}[0].path"
BACKEND = f"{PATHS}[0].backend"
DEFAULT = "spec.defaultBackend"
SERVICE = f"{BACKEND}.service"
LONG = "/" + 1000 * "x"

INVALID: list[tuple[str, object, str]] = [  # path, value -> what is said of it
    ("apiVersion", "extensions/v1beta1", "expected networking.k8s.io/v1, got 'extensions/v1beta1'"),
    ("metadata.name", "a b", f"'a b' {NOT_A_NAME}"),
    ("spec.ingressClassName", "a;b", f"'a;b' {NOT_A_NAME}"),
    ("spec.ingressClassName", "", "missing"),
    (HOST, "10.0.0.1", "'10.0.0.1' is an address; a DNS name is needed"),
    (HOST, "fd00::1", "'fd00::1' is an address; a DNS name is needed"),
    (HOST, "Shop.example", f"'Shop.example' {NOT_A_NAME}"),
    (HOST, "shop.example:80", f"'shop.example:80' {NOT_A_NAME}"),
    (HOST, "a b", f"'a b' {NOT_A_NAME}"),
    (HOST, "a; }", f"'a; }}' {NOT_A_NAME}"),
    (HOST, "shop.*.example", f"'shop.*.example' {STAR}"),
    (HOST, "*", f"'*' {STAR}"),
    (HOST, "*shop.example", f"'*shop.example' {STAR}"),
    (HOST, "*.*.example", f"'*.*.example' {NOT_A_NAME}"),
    (HOST, "*.", f"'*.' {NOT_A_NAME}"),
    (PATHS, [], "at least one path is needed"),
    (PATHS, "x", "expected a list, got 'x'"),
    (PATH, ABSENT, "missing"),
    (PATH, "", "missing"),
    (PATH, "cart", "'cart' does not begin with /"),
    (PATH, "/a//b", "'/a//b' contains //"),
    (PATH, "/a/./b", "'/a/./b' contains /./"),
    (PATH, "/a/../b", "'/a/../b' contains /../"),
    (PATH, "/a%2fb", "'/a%2fb' contains %2f"),
    (PATH, "/a%2Fb", "'/a%2Fb' contains %2F"),
    (PATH, "/a/..", "'/a/..' ends with /.."),
    (PATH, "/a/.", "'/a/.' ends with /."),
    (PATH, "/a\nb", "'/a\\nb' contains a control character"),
    (PATH, LONG, "has 1001 characters; 1000 are allowed"),
    (f"{PATHS}[0].pathType", ABSENT, "missing"),
    (
        f"{PATHS}[0].pathType",
        "Regex",
        "expected Exact, Prefix or ImplementationSpecific, got 'Regex'",
    ),
    (BACKEND, ABSENT, "missing"),
    (BACKEND, {}, "service is missing"),
    (f"{BACKEND}.resource", {"kind": "Bucket", "name": "b"}, "service and resource are both given"),
    (f"{SERVICE}.name", ABSENT, "missing"),
    (f"{SERVICE}.name", "a.b", f"'a.b' {NOT_A_LABEL}"),
    (f"{SERVICE}.port", ABSENT, "a name or a number is needed"),
    (f"{SERVICE}.port.number", 80, "name and number are both given"),
    (f"{SERVICE}.port.name", "a b", f"'a b' {NOT_A_LABEL}"),
    (DEFAULT, {}, "service is missing"),
    (f"{DEFAULT}.service.port.number", 65536, "65536 is not in 1..65535"),
    (f"{DEFAULT}.service.port.number", "http", "expected an integer, got 'http'"),
    ("spec", {}, "defaultBackend or rules are needed"),
]


@pytest.mark.parametrize(("path", "value", "expected"), INVALID)
def test_invalid(path: str, value: object, expected: str) -> None:
    (problem,) = problems_of(edited(INGRESS, path, value))
    place, _, text = problem.partition(": ")
    assert text == expected
    assert path.startswith(place)


VALID: list[tuple[str, object]] = [  # path, value
    ("spec.rules", ABSENT),
    (DEFAULT, ABSENT),
    ("spec.ingressClassName", ABSENT),
    (HOST, ABSENT),
    (HOST, "*.shop.example"),
    (PATH, "/"),
    (PATH, "/a b/\"quoted\"/'single'/{x};#$y\\"),
    (PATH, "/ä/.../a%2"),
    (PATH, LONG[:-1]),
    (f"{PATHS}[0].pathType", "Exact"),
    (f"{PATHS}[0]", INGRESS["spec"]["rules"][0]["http"]["paths"][0] | {"host": "unknown field"}),
]


@pytest.mark.parametrize(("path", "value"), VALID)
def test_valid(path: str, value: object) -> None:
    assert problems_of(edited(INGRESS, path, value)) == []


@pytest.mark.parametrize("text", [ABSENT, "", "/a//b", "/a/.."])
def test_implementation_specific_paths_are_freer(text: object) -> None:
    free = edited(INGRESS, f"{PATHS}[0].pathType", "ImplementationSpecific")
    assert problems_of(edited(free, PATH, text)) == []


NOTICES: list[tuple[str, object, str]] = [  # path, value -> notice
    (
        "spec.tls",
        [{"hosts": ["shop.example.com"], "secretName": "cert"}],
        "spec.tls: TLS is not supported; its hosts are served over plain HTTP",
    ),
    (
        DEFAULT,
        {"resource": {"apiGroup": "x", "kind": "Bucket", "name": "b"}},
        f"{DEFAULT}.resource: is not supported; its requests are answered with 503",
    ),
]


@pytest.mark.parametrize(("path", "value", "notice"), NOTICES)
def test_notices(path: str, value: object, notice: str) -> None:
    found = decode(json.dumps(edited(INGRESS, path, value)), "f")
    assert (found.problems, found.notices) == ((), (f"f:1: {subject(INGRESS)}{notice}",))


def test_decoded() -> None:
    web = IngressServiceBackend(name="web", port=ServiceBackendPort(number=80))
    cart = IngressServiceBackend(name="web", port=ServiceBackendPort(name="http"))
    path = HTTPIngressPath(path="/cart", path_type="Prefix", backend=IngressBackend(service=cart))
    assert decode(json.dumps(INGRESS), "f").objects == (
        Ingress(
            metadata=Metadata(name="shop.example", namespace="shop"),
            spec=IngressSpec(
                ingress_class_name="nginx",
                default_backend=IngressBackend(service=web),
                rules=(
                    IngressRule(host="shop.example.com", http=HTTPIngressRuleValue(paths=(path,))),
                    IngressRule(host="*.example.com"),
                ),
            ),
        ),
    )
