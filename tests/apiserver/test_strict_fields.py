"""Unknown and duplicate fields and wrong types, in the words of the API server's decoder."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.apiserver.strict_fields import (
    duplicates,
    known,
    problems,
    refuse_wrong_types,
    strict_error,
)
from kproxy.controlplane.plane import Json, Refused

SERVICE = ("", "v1", "Service")
DEPLOYMENT = ("apps", "v1", "Deployment")
SECRET = ("", "v1", "Secret")


def service(**spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


def deployment(container: Json) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}}


def test_unknown_fields() -> None:
    document = service(
        foo=1, ports=[{"port": 80}, {"port": 81, "Name": "x"}], selector={"any": "y"}
    )
    assert problems(document, SERVICE) == [
        'unknown field "spec.foo"',
        'unknown field "spec.ports[1].Name"',
    ]
    assert strict_error(problems(document, SERVICE)).startswith(
        "strict decoding error: unknown field"
    )
    assert known(document, SERVICE) == service(
        ports=[{"port": 80}, {"port": 81}], selector={"any": "y"}
    )


def test_many_problems_are_cut() -> None:
    assert len(problems({f"f{each}": 1 for each in range(1000)}, SERVICE)) == 100


def test_a_kind_without_schema_has_no_unknown_fields() -> None:
    toy = {"spec": {"x": [{"y": 1}]}}
    assert problems(toy, ("example.com", "v1", "Toy")) == []
    assert known(toy, ("example.com", "v1", "Toy")) == toy


def test_fields_that_stand_twice() -> None:
    ports = b'[{"port":1},{"port":2,"port":3}]'
    text = b'{"kind":"Service","kind":"x","spec":{"ports":' + ports + b',"a":1,"a":2}}'
    assert duplicates(text) == [
        'duplicate field "kind"',
        'duplicate field "spec.ports[1].port"',
        'duplicate field "spec.a"',
    ]
    assert duplicates(b'{"a":{"b":[1]}}') == []
    assert duplicates(b'{"a":' + b"9" * 5000 + b"}") == []


@pytest.mark.parametrize(
    ("document", "kind", "message"),
    [
        ({**deployment({}), "spec": {"replicas": "3"}}, DEPLOYMENT,
         ('Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
         "string into Go struct field DeploymentSpec.spec.replicas of type int32")),
        (deployment({"image": 7}), DEPLOYMENT, ("cannot unmarshal number into Go struct field "
         "Container.spec.template.spec.containers.image of type string")),
        (deployment({"tty": "yes"}), DEPLOYMENT, ("unmarshal string into Go struct field "
         "Container.spec.template.spec.containers.tty of type bool")),
        (service(ports={"port": 80}), SERVICE,
         "unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort"),
        (service(ports=[{"port": 80.5}]), SERVICE,
         "unmarshal number 80.5 into Go struct field ServicePort.spec.ports.port of type int32"),
        (service(ports=[{"port": 1 << 31}]), SERVICE, "unmarshal number 2147483648 into"),
        (service(ports=[{"port": True}]), SERVICE, "unmarshal bool into Go struct field"),
        (service(selector={"a": 1}), SERVICE,
         "unmarshal number into Go struct field ServiceSpec.spec.selector of type string"),
        (service(type=1), SERVICE, "ServiceSpec.spec.type of type v1.ServiceType"),
        (service(ipFamilies="IPv4"), SERVICE, "ServiceSpec.spec.ipFamilies of type []v1.IPFamily"),
        (service(ports=[{"protocol": 6}]), SERVICE, "spec.ports.protocol of type v1.Protocol"),
        ({"metadata": {"labels": {"a": True}}}, SERVICE,
         "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type str"),
        (deployment({"env": [{"name": "A", "value": True}]}), DEPLOYMENT,
         "bool into Go struct field EnvVar.spec.template.spec.containers.env.value of type string"),
        (["x"], SERVICE, "json: cannot unmarshal array into Go value of type v1.Service"),
        (service(selector=["a"]), SERVICE, ("unmarshal array into Go struct field "
         "ServiceSpec.spec.selector of type map[string]string")),
        ({**service(), "spec": "x"}, SERVICE,
         "unmarshal string into Go struct field Service.spec of type v1.ServiceSpec"),
        (service(ports=[{"port": 80, "targetPort": True}]), SERVICE,
         "json: cannot unmarshal bool into Go value of type int32"),
        (deployment({"resources": {"limits": {"cpu": "much"}}}), DEPLOYMENT,
         "quantities must match the regular expression"),
        ({"metadata": {"creationTimestamp": "today"}}, SERVICE, 'parsing time "today" as'),
        ({"data": {"a": "YQ="}}, SECRET, "illegal base64 data at input byte 3"),
        ({"data": {"a": "a!bc"}}, SECRET, "illegal base64 data at input byte 1"),
    ],
)  # fmt: skip
def test_wrong_types(document: Json, kind: tuple[str, str, str], message: str) -> None:
    with pytest.raises(Refused) as refused:
        refuse_wrong_types(document, kind)
    assert refused.value.status == 400
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (
            service(ports=[{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8}]),
            SERVICE,
        ),
        (service(ports=None, selector=None), SERVICE),
        (
            deployment({"resources": {"limits": {"cpu": "500m", "memory": "1Gi", "x": 1}}}),
            DEPLOYMENT,
        ),
        ({"metadata": {"creationTimestamp": "2026-01-02T03:04:05Z"}}, SERVICE),
        ({"data": {"a": "YQ==", "b": ""}}, SECRET),
        ({"spec": {"anything": [1, {}]}}, ("example.com", "v1", "Toy")),
    ],
)
def test_right_types(document: Json, kind: tuple[str, str, str]) -> None:
    refuse_wrong_types(document, kind)
