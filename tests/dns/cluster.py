"""A cluster with one Service of each kind that DNS tells apart."""

from __future__ import annotations

from typing import Any, Literal

from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.dns.records import Records

READY = EndpointConditions(ready=True, serving=True, terminating=False)
NOT_READY = EndpointConditions(ready=False, serving=False, terminating=False)
TERMINATING = EndpointConditions(ready=False, serving=True, terminating=True)
PUBLISHED = EndpointConditions(ready=True, serving=False, terminating=True)
UNKNOWN = EndpointConditions()
UNKNOWN_BUT_TERMINATING = EndpointConditions(terminating=True)

HTTP = ServicePort(name="http", port=80)
METRICS = ServicePort(name="metrics", port=9090)
DNS_UDP = ServicePort(name="dns", port=53, protocol="UDP")
DNS_TCP = ServicePort(name="dns", port=53)
UNNAMED = ServicePort(port=443)
UPSTREAM = {
    "www.example.com": ("192.0.2.53", "192.0.2.54", "2001:db8::53"),
    "shop.example.com": ("www.example.com",),
    "nothing.example.com": (),
    "back.example.com": ("web.default.svc.cluster.local",),
    "loop-a.example.com": ("loop-b.example.com",),
    "loop-b.example.com": ("loop-a.example.com",),
}


def named(name: str, namespace: str = "default", **spec: Any) -> Service:
    return Service(
        metadata=Metadata(name=name, namespace=namespace),
        spec=ServiceSpec(cluster_ip=next(iter(spec.get("cluster_ips", ())), ""), **spec),
    )


def slice_of(
    service: str,
    *endpoints: Endpoint,
    ports: tuple[tuple[str, int, Literal["TCP", "UDP"]], ...] = (("http", 8080, "TCP"),),
    family: Literal["IPv4", "IPv6", "FQDN"] = "IPv4",
    namespace: str = "default",
) -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(
            name=f"{service}-{family.lower()}",
            namespace=namespace,
            labels={SERVICE_NAME_LABEL: service},
        ),
        address_type=family,
        ports=tuple(EndpointPort(name=n, port=port, protocol=p) for n, port, p in ports),
        endpoints=endpoints,
    )


def at(
    address: str, hostname: str | None = None, conditions: EndpointConditions = READY
) -> Endpoint:
    return Endpoint(addresses=(address,), hostname=hostname, conditions=conditions)


SERVICES = (
    named("web", cluster_ips=("10.96.0.20", "fd00:10:96::20"), ports=(HTTP, METRICS)),
    named("kube-dns", "kube-system", cluster_ips=("10.96.0.10",), ports=(DNS_UDP, DNS_TCP)),
    named("api", "prod", cluster_ips=("10.96.0.30",), ports=(UNNAMED,)),
    named("db", cluster_ips=("None",), ports=(HTTP, METRICS)),
    named("empty", cluster_ips=("None",)),
    named("portless", cluster_ips=("None",)),
    named("mixed", cluster_ips=("None",), ports=(HTTP,)),
    named("out", type="ExternalName", external_name="shop.example.com"),
    named("in", type="ExternalName", external_name="web.default.svc.cluster.local."),
    named("astray", type="ExternalName", external_name="gone.default.svc.cluster.local"),
    named("unheard", type="ExternalName", external_name="unheard.example.org"),
    named("numeric", type="ExternalName", external_name="192.0.2.1"),
    named("circle", type="ExternalName", external_name="loop-a.example.com"),
)
SLICES = (
    slice_of("web", at("10.244.1.10")),
    slice_of(
        "db",
        at("10.244.1.11", "db-0"),
        at("10.244.2.11", "DB-1"),
        at("10.244.3.11"),
        at("10.244.1.12", "db-2", NOT_READY),
        at("10.244.1.13", "db-3", TERMINATING),
        ports=(("http", 8080, "TCP"), ("metrics", 9100, "TCP")),
    ),
    slice_of("db", at("fd00:10:244:1::11", "db-0"), family="IPv6"),
    slice_of("empty", at("10.244.1.14", None, NOT_READY)),
    slice_of("portless", at("10.244.1.15"), ports=()),
    slice_of(
        "mixed",
        at("10.244.1.16", "published", PUBLISHED),
        at("10.244.1.17", "unknown", UNKNOWN),
        at("10.244.1.18", "leaving", UNKNOWN_BUT_TERMINATING),
        at("10.244.1.19", "twin"),
        at("10.244.1.20", "twin"),
    ),
    slice_of("mixed", Endpoint(addresses=("db.example.com",)), family="FQDN"),
    slice_of("nobody", at("10.244.1.21", "orphan")),
)


def records(**settings: Any) -> Records:
    """Return the records of this cluster; `settings` as `Records` takes them."""
    return Records(SERVICES, SLICES, **dict[str, Any](upstream=UPSTREAM, serial=7) | settings)
