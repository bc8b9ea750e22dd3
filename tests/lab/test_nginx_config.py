"""The configuration of nginx for Ingress objects: a whole text, and each rule by itself."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kproxy.api import decode
from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    Metadata,
    Service,
    ServiceBackendPort,
    ServicePort,
    ServiceSpec,
)
from kproxy.lab.pods.nginx_config import render
from kproxy.store import SERVICE_NAME_LABEL, Store

V4 = (("10.244.1.11", 80),)
READY = EndpointConditions(ready=True)
UNREADY = EndpointConditions(ready=False, serving=False)
DRAINING = EndpointConditions(ready=False, serving=True, terminating=True)
IPS = {"web": "10.96.0.10", "cart": "10.96.0.20", "docs": "10.96.0.30"}
WEB, CART, DOCS = (f"proxy_pass http://{address}:80;" for address in IPS.values())
NOT_FOUND, UNAVAILABLE = "return 404;", "return 503;"


def service(name: str, *cluster_ips: str, ports: tuple[ServicePort, ...] = ()) -> Service:
    ips = cluster_ips or (IPS[name],)
    return Service(
        metadata=Metadata(name=name),
        spec=ServiceSpec(
            cluster_ip=ips[0], cluster_ips=ips, ports=ports or (ServicePort(port=80),)
        ),
    )


def endpoints(
    of: str,
    conditions: EndpointConditions = READY,
    ports: tuple[EndpointPort, ...] = (EndpointPort(port=8080),),
    family: Any = "IPv4",
) -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(name=f"{of}-{family}", labels={SERVICE_NAME_LABEL: of}),
        address_type=family,
        ports=ports,
        endpoints=(Endpoint(addresses=("10.244.1.12",), conditions=conditions),),
    )


SHOPS = [each for name in IPS for each in (service(name), endpoints(name))]


def backend(name: str, port: int | str = 80) -> IngressBackend:
    wanted = (
        ServiceBackendPort(name=port) if isinstance(port, str) else ServiceBackendPort(number=port)
    )
    return IngressBackend(service=IngressServiceBackend(name=name, port=wanted))


def ingress(
    *rules: IngressRule, name: str = "shop", default: str = "", of_class: str | None = None
) -> Ingress:
    return Ingress(
        metadata=Metadata(name=name),
        spec=IngressSpec(
            rules=rules,
            default_backend=backend(default) if default else None,
            ingress_class_name=of_class,
        ),
    )


def rule(host: str, *paths: HTTPIngressPath) -> IngressRule:
    return IngressRule(host=host, http=HTTPIngressRuleValue(paths=paths) if paths else None)


def path(text: str, name: str, path_type: Any = "Prefix", port: int | str = 80) -> HTTPIngressPath:
    return HTTPIngressPath(path=text, path_type=path_type, backend=backend(name, port))


def filled(*objects: Any) -> Store:
    store = Store()
    store.replace(objects)
    return store


def servers(*objects: Any) -> dict[str, dict[str, str]]:
    """Return server name -> location -> action."""
    found: dict[str, dict[str, str]] = {}
    for line in render(V4, filled(*objects)).splitlines():
        if matched := re.fullmatch(r" {8}server_name \"(.*)\";", line):
            locations = found.setdefault(matched[1], {})
        elif matched := re.fullmatch(r" {8}location (= )?\"(.*)\" \{ (.*) \}", line):
            locations[(matched[1] or "") + matched[2]] = matched[3]
    return found


RICH = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: default}
spec:
  ingressClassName: nginx
  defaultBackend: {service: {name: web, port: {number: 80}}}
  rules:
  - host: shop.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /cart/, pathType: Prefix, backend: {service: {name: cart, port: {number: 80}}}}
      - {path: /cart, pathType: Exact, backend: {service: {name: docs, port: {number: 80}}}}
      - path: '/a "b" c\\; {d} $e'
        pathType: Exact
        backend: {service: {name: gone, port: {number: 80}}}
  - host: "*.example.com"
    http:
      paths:
      - path: /docs
        pathType: ImplementationSpecific
        backend: {service: {name: docs, port: {number: 80}}}
  - http:
      paths:
      - {path: /cart, pathType: Prefix, backend: {service: {name: cart, port: {number: 80}}}}
"""
GOLDEN = r"""daemon off;
user root;
worker_processes 1;
worker_shutdown_timeout 10s;
pid nginx.pid;
error_log stderr notice;

events {
    worker_connections 1024;
}

http {
    access_log off;
    error_log /dev/null crit;
    server_tokens off;
    server_names_hash_bucket_size 512;
    server_names_hash_max_size 4096;
    client_body_temp_path client-body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    proxy_connect_timeout 2s;
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;

    server {
        listen 10.244.1.11:80 default_server;
        listen [fd00:10:244:1::11]:80 default_server;
        server_name "_";
        location = "/cart" { proxy_pass http://10.96.0.20:80; }
        location "/cart/" { proxy_pass http://10.96.0.20:80; }
        location "/" { proxy_pass http://10.96.0.10:80; }
    }

    server {
        listen 10.244.1.11:80;
        listen [fd00:10:244:1::11]:80;
        server_name "shop.example.com";
        location = "/cart" { proxy_pass http://10.96.0.30:80; }
        location = "/a \"b\" c\\; {d} $e" { return 503; }
        location "/" { proxy_pass http://10.96.0.10:80; }
        location "/cart/" { proxy_pass http://10.96.0.20:80; }
    }

    server {
        listen 10.244.1.11:80;
        listen [fd00:10:244:1::11]:80;
        server_name "~^[^.]+\\.example\\.com$";
        location = "/docs" { proxy_pass http://10.96.0.30:80; }
        location "/docs/" { proxy_pass http://10.96.0.30:80; }
        location "/" { proxy_pass http://10.96.0.10:80; }
    }
}
"""


def test_a_whole_text() -> None:
    decoded = decode(RICH, "f")
    assert decoded.problems == ()
    store = filled(*SHOPS, *decoded.objects)
    assert render((*V4, ("fd00:10:244:1::11", 80)), store) == GOLDEN


def test_without_objects() -> None:
    assert servers() == {"_": {"/": NOT_FOUND}}


PATHS: list[tuple[list[HTTPIngressPath], dict[str, str]]] = [  # paths of a host -> locations
    ([path("/", "web")], {"/": WEB}),
    ([path("/a", "web")], {"= /a": WEB, "/a/": WEB, "/": NOT_FOUND}),
    ([path("/a/", "web")], {"= /a": WEB, "/a/": WEB, "/": NOT_FOUND}),
    ([path("/a", "web", "Exact")], {"= /a": WEB, "/": NOT_FOUND}),
    ([path("/a/", "web", "Exact")], {"= /a/": WEB, "/": NOT_FOUND}),
    ([path("/", "web", "Exact")], {"= /": WEB, "/": NOT_FOUND}),
    ([path("", "web", "ImplementationSpecific")], {"/": WEB}),
    (  # an exact path goes before a prefix, whatever the order
        [path("/a", "web"), path("/a", "cart", "Exact"), path("/a/", "docs", "Exact")],
        {"= /a": CART, "= /a/": DOCS, "/a/": WEB, "/": NOT_FOUND},
    ),
    ([path("/a", "web"), path("/a/", "cart")], {"= /a": WEB, "/a/": WEB, "/": NOT_FOUND}),
]


@pytest.mark.parametrize(("paths", "expected"), PATHS)
def test_paths(paths: list[HTTPIngressPath], expected: dict[str, str]) -> None:
    assert servers(*SHOPS, ingress(rule("a", *paths)))["a"] == expected


WHOLE = path("/", "web")
HOSTS: list[tuple[list[Ingress], dict[str, dict[str, str]]]] = [  # objects -> servers
    ([ingress(rule("a", WHOLE))], {"_": {"/": NOT_FOUND}, "a": {"/": WEB}}),
    ([ingress(rule("", WHOLE))], {"_": {"/": WEB}}),
    ([ingress(rule("", WHOLE), default="cart")], {"_": {"/": WEB}}),
    ([ingress(default="cart")], {"_": {"/": CART}}),
    ([ingress(rule("a"), default="cart")], {"_": {"/": CART}, "a": {"/": CART}}),
    ([ingress(rule("a"))], {"_": {"/": NOT_FOUND}, "a": {"/": NOT_FOUND}}),
    (  # a default backend of the own object goes before that of the first one
        [ingress(name="a", default="cart"), ingress(rule("b"), name="b", default="docs")],
        {"_": {"/": CART}, "b": {"/": DOCS}},
    ),
    (
        [ingress(name="b", default="cart"), ingress(rule("a"), name="a")],
        {"_": {"/": CART}, "a": {"/": CART}},
    ),
    (  # the first by name has what both claim
        [
            ingress(rule("a", WHOLE, path("/x", "web", "Exact")), name="a"),
            ingress(rule("a", path("/", "cart"), path("/y", "cart", "Exact")), name="b"),
        ],
        {"_": {"/": NOT_FOUND}, "a": {"= /x": WEB, "= /y": CART, "/": WEB}},
    ),
    ([ingress(rule("a", WHOLE), of_class="nginx")], {"_": {"/": NOT_FOUND}, "a": {"/": WEB}}),
    ([ingress(rule("a", WHOLE), of_class="other")], {"_": {"/": NOT_FOUND}}),
    (
        [ingress(rule("*.a-b.c", WHOLE))],
        {"_": {"/": NOT_FOUND}, r"~^[^.]+\\.a\\-b\\.c$": {"/": WEB}},
    ),
]


@pytest.mark.parametrize(("objects", "expected"), HOSTS)
def test_hosts(objects: list[Ingress], expected: dict[str, dict[str, str]]) -> None:
    assert servers(*SHOPS, *objects) == expected


V6 = "fd00:10:96::10"
NAMED = (ServicePort(name="web", port=81), ServicePort(name="dns", port=53, protocol="UDP"))
OF_WEB = (EndpointPort(name="web", port=8080),)
BACKENDS: list[tuple[list[Any], int | str, str]] = [  # objects, port -> action
    ([], 80, UNAVAILABLE),
    ([service("web")], 80, UNAVAILABLE),
    ([service("web"), endpoints("web", UNREADY)], 80, UNAVAILABLE),
    ([service("web"), endpoints("web", DRAINING)], 80, WEB),
    ([service("web"), endpoints("web", EndpointConditions())], 80, WEB),
    ([service("web"), endpoints("web", ports=OF_WEB)], 80, UNAVAILABLE),
    ([service("web"), endpoints("web")], 81, UNAVAILABLE),
    ([service("web"), endpoints("web")], "web", UNAVAILABLE),
    (
        [service("web", ports=NAMED), endpoints("web", ports=OF_WEB)],
        "web",
        "proxy_pass http://10.96.0.10:81;",
    ),
    ([service("web", ports=NAMED), endpoints("web", ports=OF_WEB)], "dns", UNAVAILABLE),
    ([service("web", "None"), endpoints("web")], 80, UNAVAILABLE),
    ([service("web", V6), endpoints("web", family="IPv6")], 80, UNAVAILABLE),  # we have none
    (
        [service("web", V6, "10.96.0.10"), endpoints("web"), endpoints("web", family="IPv6")],
        80,
        WEB,
    ),
]


@pytest.mark.parametrize(("objects", "port", "expected"), BACKENDS)
def test_backends(objects: list[Any], port: int | str, expected: str) -> None:
    found = servers(*objects, ingress(rule("a", path("/", "web", port=port))))
    assert found["a"] == {"/": expected}


def test_a_cluster_ip_of_ipv6() -> None:
    store = filled(
        service("web", V6), endpoints("web", family="IPv6"), ingress(rule("", path("/", "web")))
    )
    assert f"{{ proxy_pass http://[{V6}]:80; }}" in render([("fd00::1", 80)], store)


def test_a_resource_is_not_supported() -> None:
    obj = Ingress(metadata=Metadata(name="a"), spec=IngressSpec(default_backend=IngressBackend()))
    assert servers(obj) == {"_": {"/": UNAVAILABLE}}


def skeleton(text: str) -> str:
    """Return the text as nginx reads it, with each quoted parameter made empty.

    Source: ngx_conf_read_token: a backslash protects what follows, only the same quote ends one.
    """
    assert "'" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL)
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text, flags=re.DOTALL)


NASTY = st.text(st.sampled_from("\"'\\;{}#$ \n\r\t~*^=/ab.") | st.characters(), max_size=12)


@example("x", "x", "web", "0.0.0.0", "Exact")
@given(host=NASTY, text=NASTY, name=NASTY, ip=NASTY, kind=st.sampled_from(["Exact", "Prefix"]))
def test_no_text_leaves_its_quotes(host: str, text: str, name: str, ip: str, kind: str) -> None:
    """This holds even for objects that were not validated."""
    with suppress(ValueError):  # an address that is one is written, and means something else
        ip_address(ip)
        ip = "None"

    def written(host: str, text: str, name: str, ip: str) -> str:
        objects = (
            service(name, ip),
            endpoints(name),
            ingress(rule(host, path(f"/x{text}x", name, kind)), name=name),
        )
        return skeleton(render(V4, filled(*objects)))

    assert written(f"x{host}", text, name, ip) == written("plain", "plain", "web", "None")
