"""The API server's checks of an Ingress, an IngressClass and a Lease, in its order and its words.

Source: pkg/apis/networking/validation/validation.go (ValidateIngressSpec,
ValidateIngressClass), pkg/apis/coordination/validation/validation.go (ValidateLeaseSpec) and
apimachinery pkg/util/validation (IsDomainPrefixedPath, IsWildcardDNS1123Subdomain) of Kubernetes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kproxy.api.addresses import canonical_ip
from kproxy.controlplane.field_errors import forbidden, invalid, required, too_long, unsupported
from kproxy.controlplane.plane import Json
from kproxy.controlplane.value_problems import (
    label_problems,
    path_segment_problems,
    port_name_problems,
    port_problems,
    subdomain_problems,
    wildcard_problems,
)

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_SUFFIXES = ("/..", "/.")
_SCOPES = ("Cluster", "Namespace")
_MOST_CONTROLLER = 250


def networking_problems(document: Json, former: Json | None) -> Iterator[str]:
    """Yield the problems of an Ingress, an IngressClass or a Lease, which replaces `former`; none
    of any other kind. A value of another type is as if it were not there: decoding tells of it.
    """
    spec = _dict(document.get("spec"))
    match document["kind"]:
        case "Ingress":
            yield from _ingress(spec)
        case "IngressClass":
            yield from _ingress_class(spec, _dict((former or {}).get("spec")) if former else None)
        case "Lease":
            if (seconds := _number(spec, "leaseDurationSeconds", 1)) <= 0:
                yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
            if (changes := _number(spec, "leaseTransitions", 0)) < 0:
                told = "must be greater than or equal to 0"
                yield invalid("spec.leaseTransitions", changes, told)


def _ingress(spec: Json) -> Iterator[str]:
    rules, default = _dicts(spec.get("rules")), spec.get("defaultBackend")
    if not rules and default is None:
        yield "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"
    if default is not None:
        yield from _backend(_dict(default), "spec.defaultBackend")
    for i, rule in enumerate(rules):
        if host := _text(rule.get("host")):
            field = f"spec.rules[{i}].host"
            if canonical_ip(host):
                yield invalid(field, host, "must be a DNS name, not an IP address")
            yield from _host(field, host)
        if rule.get("http") is not None:
            field = f"spec.rules[{i}].http.paths"
            paths = _dicts(_dict(rule["http"]).get("paths"))
            if not paths:
                yield required(field)
            for j, path in enumerate(paths):
                yield from _path(path, f"{field}[{j}]")
    for i, each in enumerate(_dicts(spec.get("tls"))):
        hosts = each.get("hosts")
        for j, host in enumerate(hosts if isinstance(hosts, list) else ()):
            yield from _host(f"spec.tls[{i}].hosts[{j}]", _text(host))
        yield from _each(
            f"spec.tls[{i}].secretName", _text(each.get("secretName")), subdomain_problems
        )
    if isinstance(name := spec.get("ingressClassName"), str):
        yield from (
            invalid("spec.ingressClassName", name, told) for told in subdomain_problems(name)
        )


def _host(field: str, host: str) -> Iterator[str]:
    judge = wildcard_problems if "*" in host else subdomain_problems
    return (invalid(field, host, told) for told in judge(host))


def _path(path: Json, field: str) -> Iterator[str]:
    kind, text = path.get("pathType"), _text(path.get("path"))
    if kind is None:
        yield required(f"{field}.pathType", "pathType must be specified")
        return
    if kind not in _PATH_TYPES:
        yield unsupported(f"{field}.pathType", kind, _PATH_TYPES)
    elif not text.startswith("/") and (text or kind != "ImplementationSpecific"):
        yield invalid(f"{field}.path", text, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        for each in _SEQUENCES:
            if each in text:
                yield invalid(f"{field}.path", text, f"must not contain '{each}'")
        for each in _SUFFIXES:
            if text.endswith(each):
                yield invalid(f"{field}.path", text, f"cannot end with '{each}'")
    yield from _backend(_dict(path.get("backend")), f"{field}.backend")


def _backend(backend: Json, field: str) -> Iterator[str]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield invalid(field, "", "cannot set both resource and service backends")
    elif resource is not None:
        for name in ("kind", "name"):
            yield from _needed(f"{field}.resource.{name}", _text(_dict(resource).get(name)))
    elif service is not None:
        name, port = _text(_dict(service).get("name")), _dict(_dict(service).get("port"))
        if not name:
            yield required(f"{field}.service.name")
        yield from _each(f"{field}.service.name", name, label_problems)
        port_name, number = _text(port.get("name")), _number(port, "number", 0)
        if port_name and number:
            yield invalid(field, "", "cannot set both port name & port number")
        elif port_name:
            yield from _each(f"{field}.service.port.name", port_name, port_name_problems)
        elif number:
            for told in port_problems(number):
                yield invalid(f"{field}.service.port.number", number, told)
        else:
            yield required(field, "port name or number is required")
    else:
        yield invalid(field, "", "resource or service backend is required")


def _ingress_class(spec: Json, former: Json | None) -> Iterator[str]:
    field, controller = "spec.controller", _text(spec.get("controller"))
    if len(controller) > _MOST_CONTROLLER:
        yield too_long(field, _MOST_CONTROLLER)
    domain, _, path = controller.partition("/")
    if not controller:
        yield required(field)
    elif not domain or not path:
        told = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield invalid(field, controller, told)
    else:
        yield from _each(field, domain, subdomain_problems)
    if (parameters := spec.get("parameters")) is not None:
        yield from _parameters(_dict(parameters))
    if former is not None and controller != former.get("controller"):
        yield invalid(field, controller, "field is immutable")


def _parameters(parameters: Json) -> Iterator[str]:
    for name in ("kind", "name"):
        yield from _needed(f"spec.parameters.{name}", _text(parameters.get(name)))
    scope, field = parameters.get("scope") or "Cluster", "spec.parameters.namespace"
    if scope not in _SCOPES:
        yield unsupported("spec.parameters.scope", scope, _SCOPES)
    elif scope == "Namespace" and not parameters.get("namespace"):
        yield required(field, "`parameters.scope` is set to 'Namespace'")
    elif scope == "Cluster" and parameters.get("namespace"):
        yield forbidden(field, "`parameters.scope` is set to 'Cluster'")


def _needed(field: str, name: str) -> Iterator[str]:
    return iter((required(field),)) if not name else _each(field, name, path_segment_problems)


def _each(field: str, text: str, judge: Callable[[str], Iterable[str]]) -> Iterator[str]:
    return (invalid(field, text, told) for told in (judge(text) if text else ()))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(stated: Json, name: str, default: int) -> int:
    found = stated.get(name)
    return found if isinstance(found, int) else default


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [_dict(each) for each in value] if isinstance(value, list) else []
