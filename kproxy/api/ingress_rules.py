"""Checks of one Ingress, also for what is not supported here.

No defaults are filled in: the API server has none for the fields that are read.
Source: pkg/apis/networking/validation/validation.go (ValidateIngressCreate, validateIngressBackend,
validateHTTPIngressPath)
"""

from __future__ import annotations

from kproxy.api.addresses import canonical_ip
from kproxy.api.checks import altered, check_metadata, check_name, check_port
from kproxy.api.names import service_name_problem, subdomain_problem, wildcard_problem
from kproxy.api.problems import Problem, Report, shown
from kproxy.api.types import HTTPIngressPath, Ingress, IngressBackend

# The API server lacks these two limits. nginx reads configurations in pieces of 4096 bytes, and a
# piece must hold a whole parameter; a character has up to 4 bytes. Control characters have no use.
MAX_PATH = 1000
FIRST_PRINTABLE = " "

_FORBIDDEN = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_ENDS = ("/..", "/.")


def check_ingress(ingress: Ingress, report: Report) -> Ingress:
    """Return the Ingress in its namespace. Faults go to `report`."""
    metadata = check_metadata(report, ingress.metadata)
    spec = ingress.spec
    if spec.ingress_class_name is not None:
        check_name(report, "spec.ingressClassName", spec.ingress_class_name, subdomain_problem)
    if spec.default_backend:
        _check_backend(spec.default_backend, "spec.defaultBackend", report)
    elif not spec.rules:
        report.add("spec", "defaultBackend or rules are needed")
    for i, rule in enumerate(spec.rules):
        _check_host(rule.host, f"spec.rules[{i}].host", report)
        if rule.http is None:
            continue
        field = f"spec.rules[{i}].http.paths"
        if not rule.http.paths:
            report.add(field, "at least one path is needed")
        for j, path in enumerate(rule.http.paths):
            _check_path(path, f"{field}[{j}]", report)
    if spec.tls:
        text = "TLS is not supported; its hosts are served over plain HTTP"
        report.notices.append(Problem("spec.tls", text))
    return altered(ingress, metadata=metadata)


def _check_host(host: str, field: str, report: Report) -> None:
    if canonical_ip(host):
        report.add(field, f"{shown(host)} is an address; a DNS name is needed")
    elif "*" in host:
        check_name(report, field, host, wildcard_problem)
    elif host:
        check_name(report, field, host, subdomain_problem)


def _check_path(path: HTTPIngressPath, field: str, report: Report) -> None:
    text = path.path
    free = path.path_type == "ImplementationSpecific"
    if not text.startswith("/") and (text or not free):
        report.add(f"{field}.path", f"{shown(text)} does not begin with /" if text else "missing")
    elif not (free or report.doubts(f"{field}.pathType")):
        bad = [f"contains {each}" for each in _FORBIDDEN if each in text]
        bad += [f"ends with {each}" for each in _FORBIDDEN_ENDS if text.endswith(each)]
        for each in bad:
            report.add(f"{field}.path", f"{shown(text)} {each}")
    if len(text) > MAX_PATH:
        report.add(f"{field}.path", f"has {len(text)} characters; {MAX_PATH} are allowed")
    if min(text, default=FIRST_PRINTABLE) < FIRST_PRINTABLE:
        report.add(f"{field}.path", f"{shown(text)} contains a control character")
    _check_backend(path.backend, f"{field}.backend", report)


def _check_backend(backend: IngressBackend, field: str, report: Report) -> None:
    if backend.resource and backend.service:
        report.add(field, "service and resource are both given")
    elif backend.resource:
        text = "is not supported; its requests are answered with 503"
        report.notices.append(Problem(f"{field}.resource", text))
    elif backend.service is None:
        report.add(field, "service is missing")
    else:
        service, place = backend.service, f"{field}.service"
        check_name(report, f"{place}.name", service.name, service_name_problem)
        if service.port.name and service.port.number:
            report.add(f"{place}.port", "name and number are both given")
        elif service.port.name:
            check_name(report, f"{place}.port.name", service.port.name)
        elif service.port.number:
            check_port(report, f"{place}.port.number", service.port.number)
        else:
            report.add(f"{place}.port", "a name or a number is needed")
