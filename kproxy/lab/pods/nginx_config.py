"""The configuration of an ingress's nginx: a pure function of the objects.

The rules are those of the Kubernetes API: an exact host precedes a wildcard, which stands for
one part of a name; an exact path precedes a prefix, a longer prefix a shorter one, and
prefixes end where a part of the path ends. If two Ingress objects claim the same, the first by
namespace and name gets it. A request that matches nothing goes to the default backend of an Ingress
that has the host, else to that of the first Ingress with one, else it is answered with 404. As in
ingress-nginx, rules without a host do not apply to a host that has rules of its own, and requests
for a backend without endpoints are answered with 503.
Source: https://kubernetes.io/docs/concepts/services-networking/ingress/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kproxy.address import Family, family_of, host_port
from kproxy.api.addresses import canonical_ip
from kproxy.api.types import (
    Endpoint,
    HTTPIngressPath,
    Ingress,
    IngressBackend,
    Service,
    ServiceBackendPort,
    ServicePort,
)
from kproxy.lab.left_out import INGRESS_CLASSES
from kproxy.store import ServiceKey, Store

# Requests are not logged: a pipe would fill, and clients see the answers themselves.
# The names in a configuration have at most 253 characters, the tables' default is 64.
_HEAD = """\
daemon off;
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
"""
_NOT_FOUND = "return 404;"
_UNAVAILABLE = "return 503;"


@dataclass(slots=True)
class _Host:
    """The actions for requests to one host: by path, and otherwise."""

    exact: dict[str, str] = field(default_factory=dict)
    prefix: dict[str, str] = field(default_factory=dict)  # without the slash at the end
    otherwise: str = ""


def render(listens: Iterable[tuple[str, int]], store: Store) -> str:
    """Return the configuration of an nginx that listens on these canonical addresses and ports.

    Relative paths in it are in the folder that nginx is given as its prefix. All text of the
    objects stays inside quotes, whatever it is.
    """
    listens = tuple(listens)
    families = {family_of(address) for address, _ in listens}
    hosts = {"": _Host()}  # the first server is the default one
    for ingress in store.ingresses():
        if ingress.spec.ingress_class_name in INGRESS_CLASSES:
            _add(ingress, hosts, store, families)
    fallback = hosts[""].otherwise or _NOT_FOUND
    sockets = [host_port(address, port) for address, port in listens]
    servers = (_server(name, host, sockets, fallback) for name, host in hosts.items())
    return "\n".join([_HEAD.rstrip("\n"), *(line for lines in servers for line in lines), "}", ""])


def _add(ingress: Ingress, hosts: dict[str, _Host], store: Store, families: set[Family]) -> None:
    namespace, spec = ingress.metadata.namespace, ingress.spec
    default = ""
    if spec.default_backend:
        default = _action(spec.default_backend, namespace, store, families)
        hosts[""].otherwise = hosts[""].otherwise or default
    for rule in spec.rules:
        host = hosts.setdefault(rule.host, _Host())
        host.otherwise = host.otherwise or default
        for path in rule.http.paths if rule.http else ():
            action = _action(path.backend, namespace, store, families)
            _claim(host, path, action)


def _claim(host: _Host, path: HTTPIngressPath, action: str) -> None:
    """Add a path; `ImplementationSpecific` is a prefix, as in ingress-nginx."""
    if path.path_type == "Exact":
        host.exact.setdefault(path.path, action)
    else:
        host.prefix.setdefault(path.path.rstrip("/"), action)


def _action(backend: IngressBackend, namespace: str, store: Store, families: set[Family]) -> str:
    """Return the action for a backend: pass requests to the first cluster IP of a known family that
    has endpoints, on the wanted port.
    """
    if backend.service:
        key = (namespace, backend.service.name)
        service = store.service(key)
        port = _port(service, backend.service.port) if service else None
        for address in map(canonical_ip, service.spec.cluster_ips if service else ()):
            family = family_of(address)
            if address and port and family in families and _has_endpoints(store, key, port, family):
                return f"proxy_pass http://{host_port(address, port.port)};"
    return _UNAVAILABLE


def _port(service: Service, wanted: ServiceBackendPort) -> ServicePort | None:
    for port in service.spec.ports:
        found = port.name == wanted.name if wanted.name else port.port == wanted.number
        if found and port.protocol == "TCP":
            return port
    return None


def _has_endpoints(store: Store, key: ServiceKey, port: ServicePort, family: Family) -> bool:
    return any(
        each.address_type == family
        and any((own.name, own.protocol) == (port.name, port.protocol) for own in each.ports)
        and any(map(_is_used, each.endpoints))
        for each in store.slices(key)
    )


def _is_used(endpoint: Endpoint) -> bool:
    """Tell whether a service proxy uses an endpoint: it is ready, or serves while terminating."""
    conditions = endpoint.conditions
    if conditions.ready is not False:
        return True
    return conditions.serving is not False and bool(conditions.terminating)


def _server(name: str, host: _Host, sockets: Sequence[str], fallback: str) -> Iterator[str]:
    yield ""
    yield "    server {"
    for socket in sockets:
        yield f"        listen {socket}{'' if name else ' default_server'};"
    yield f"        server_name {_server_name(name)};"
    for modifier, path, action in _locations(host, fallback):
        yield f"        location {modifier}{_quoted(path)} {{ {action} }}"
    yield "    }"


def _locations(host: _Host, fallback: str) -> Iterator[tuple[str, str, str]]:
    """Yield modifier, path and action of each location. A prefix is two locations: nginx compares
    characters, Kubernetes parts of paths.
    """
    for path, action in host.exact.items():
        yield "= ", path, action
    for path, action in host.prefix.items():
        if path and path not in host.exact:
            yield "= ", path, action
        yield "", f"{path}/", action
    if "" not in host.prefix:
        yield "", "/", host.otherwise or fallback


def _server_name(host: str) -> str:
    """Return a server name; a wildcard is an expression, as nginx's `*` matches several parts."""
    if host.startswith("*."):
        return _quoted(rf"~^[^.]+{re.escape(host[1:])}$")
    return _quoted(host or "_")


def _quoted(text: str) -> str:
    """Quote any text as one parameter: in quotes, only these two characters are special."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
