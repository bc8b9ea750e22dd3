"""Resolves the names of Services from a pod, and compares with what they must resolve to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import dns.message
import dns.query
import dns.rdatatype

from kproxy.api.types import EndpointSlice, Service
from kproxy.lab import Lab
from kproxy.lab.cluster.dns import dns_addresses
from kproxy.tour import objects
from kproxy.tour.part import Part, Table

_DOMAIN = "svc.cluster.local"
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A name to resolve."""

    name: str
    kind: str = ""
    """A record type, or "" for the C library's getaddrinfo."""
    expected: frozenset[str]
    """Empty: there is no such name."""


def look_up(lab: Lab) -> Part:
    """Resolve all names of all Services from the pod `shell`."""
    rows, problems = [], []
    for lookup in wanted(lab):
        found = (
            _records(lab, lookup) if lookup.kind else lab.pod(objects.SHELL).resolve(lookup.name)
        )
        ok = frozenset(found) == lookup.expected
        if not ok:
            expected = ", ".join(sorted(lookup.expected)) or "nothing"
            problems.append(f"{lookup.name} {lookup.kind}: expected {expected}")
        said = "\n".join(found) or "no such name"
        rows.append((lookup.name, lookup.kind or "libc", said, "yes" if ok else "NO"))
    table = Table(header=("name", "by", "resolves to", "ok"), rows=tuple(rows))
    return Part(
        title=f"Names, as the pod {objects.SHELL} resolves them",
        tables=(table,) if rows else (),
        problems=tuple(problems),
    )


def wanted(lab: Lab) -> list[Lookup]:
    return [each for service in objects.services(lab) for each in _of(lab, service)]


def _of(lab: Lab, service: Service) -> Iterator[Lookup]:
    name = objects.short_name(service)
    full = f"{service.metadata.name}.{service.metadata.namespace}.{_DOMAIN}."
    if service.spec.type == "ExternalName":
        target = service.spec.external_name.rstrip(".")
        yield Lookup(name=full, kind="CNAME", expected=frozenset({f"{target}."}))
        yield Lookup(name=name, expected=_addresses_of(lab, target))
        return
    slices = objects.slices(lab, service)
    headless = service.spec.cluster_ip == "None"
    ready = _ready(slices)
    yield Lookup(
        name=name,
        expected=frozenset(ready) if headless else frozenset(service.spec.cluster_ips),
    )
    if headless:
        for hostname in sorted({*ready.values()} - {""}):
            addresses = frozenset(it for it, its_name in ready.items() if its_name == hostname)
            yield Lookup(name=f"{hostname}.{name}", expected=addresses)
    for port in service.spec.ports:
        if port.name and (ready or not headless):
            numbers = {p.port for each in slices for p in each.ports if p.name == port.name}
            expected = {f"port {it}" for it in (numbers if headless else {port.port})}
            srv = f"_{port.name}._{port.protocol.lower()}.{full}"
            yield Lookup(name=srv, kind="SRV", expected=frozenset(expected))


def _ready(slices: list[EndpointSlice]) -> dict[str, str]:
    """Return the addresses of endpoints that the DNS publishes, and their host names."""
    return {
        address: endpoint.hostname or ""
        for each in slices
        for endpoint in each.endpoints
        if endpoint.conditions.ready is not False
        for address in endpoint.addresses
    }


def _addresses_of(lab: Lab, target: str) -> frozenset[str]:
    """Return the addresses of an ExternalName's target: a Service, or a name outside."""
    for service in objects.services(lab):
        meta = service.metadata
        if target == f"{meta.name}.{meta.namespace}.{_DOMAIN}":
            return frozenset(service.spec.cluster_ips)
    return frozenset(lab.spec.upstream.get(target, ()))


def _records(lab: Lab, lookup: Lookup) -> list[str]:
    """Return the answers of the cluster's DNS: targets of CNAMEs, ports of SRV records."""
    query = dns.message.make_query(lookup.name, lookup.kind)
    nameserver = dns_addresses(lab.spec.service_cidrs)[0]
    with lab.pod(objects.SHELL).host.namespace.entered():
        response = dns.query.udp(query, nameserver, timeout=_TIMEOUT_S)
    kind = dns.rdatatype.from_text(lookup.kind)
    records = [each for rrset in response.answer if rrset.rdtype == kind for each in rrset]
    if lookup.kind == "SRV":
        return sorted({f"port {each.port}" for each in records})
    return [str(each.target) for each in records]
