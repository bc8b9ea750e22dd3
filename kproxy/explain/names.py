"""Names of addresses, from the objects of a cluster, and addresses of names. Pure.

A name is `svc/web`, `pod/web-1` or `node/node-a`; `.NAMESPACE` follows the first two unless that is
`default`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from kproxy.address import Family, family_of, host_port
from kproxy.api.addresses import canonical_ip
from kproxy.api.service_names import service_name
from kproxy.api.types import EndpointSlice, KubernetesObject, Node, Pod, Service
from kproxy.errors import BadInput
from kproxy.explain.itinerary import Ends, Itinerary, Named

_HOST = re.compile(r"(pod|node)/([a-z0-9.-]+)(?::([a-z0-9-]+))?")
_LAST_PORT = 65_535
_ENDED = ("Succeeded", "Failed")  # their addresses may be those of others by now


class Names:
    """The names that some objects give to addresses."""

    def __init__(self, objects: Iterable[KubernetesObject]) -> None:
        self._addresses: dict[str, list[str]] = {}
        self._ports: dict[str, dict[str, int]] = {}
        self._hosts: dict[str, str] = {}
        self._services: dict[str, str] = {}
        self._node_ports: dict[int, str] = {}
        # The last one wins: of an address that a node shares with its pods, the node.
        kinds = (EndpointSlice, Pod, Service, Node)
        found = sorted(
            (each for each in objects if isinstance(each, kinds)),
            key=lambda each: kinds.index(type(each)),
        )
        for each in found:
            match each:
                case Service():
                    self._add_service(each)
                case Node():
                    addresses = [address.address for address in each.status.addresses]
                    self._add_host(f"node/{each.metadata.name}", addresses)
                case Pod() if each.status.phase not in _ENDED:
                    name = _name("pod", each.metadata.name, each.metadata.namespace)
                    self._add_host(name, [address.ip for address in each.status.pod_ips])
                case EndpointSlice():
                    self._add_endpoints(each)

    def of(self, address: str, port: int) -> str:
        """Return the name of a place, "" if there is none."""
        service = self._services.get(host_port(address, port)) or self._services.get(address, "")
        host = self._hosts.get(address, "")
        if service or not host.startswith("node/") or port not in self._node_ports:
            return service or host
        return f"{self._node_ports[port]} on {host.removeprefix('node/')}"

    def named(self, itinerary: Itinerary) -> Itinerary:
        """Return an itinerary with the names of all places on its way."""
        places = {
            one: self.of(*one)
            for hop in itinerary.hops
            for ends in (hop.before, hop.after)
            for one in _places(ends)
        }
        found = [Named(address=at, port=port, name=name) for (at, port), name in places.items()]
        return replace(itinerary, names=tuple(each for each in found if each.name))

    def meant(self, text: str) -> tuple[list[str], int] | None:
        """Return the addresses of a name, and the port that follows it, 0 for none. None if it is
        not in the form of a name. Raises BadInput.
        """
        if (service := service_name(text)) and service.protocol is None:
            kind, port = "svc", service.port
            called = _name(kind, service.name, service.namespace or "default")
        elif parts := _HOST.fullmatch(text):
            kind, port = parts[1], parts[3] or ""
            called = f"{kind}/{parts[2].removesuffix('.default')}"
        else:
            return None
        if called not in self._addresses:
            there = sorted(each for each in self._addresses if each.startswith(f"{kind}/"))
            listed = f"there are: {', '.join(there)}" if there else "there is none"
            raise BadInput([f"the objects have no {called} with an address; {listed}"])
        number = self._ports.get(called, {}).get(port, int(port) if port.isdecimal() else 0)
        if port and not 0 < number <= _LAST_PORT:
            raise BadInput([f"{text}: there is no port {port!r}"])
        return self._addresses[called], number

    def _add_host(self, name: str, addresses: Iterable[str]) -> None:
        for address in filter(None, map(canonical_ip, addresses)):
            self._addresses.setdefault(name, []).append(address)
            self._hosts[address] = name

    def _add_service(self, service: Service) -> None:
        spec = service.spec
        name = _name("svc", service.metadata.name, service.metadata.namespace)
        ports = {port.name: port.port for port in spec.ports if port.name}
        cluster_ips = [each for each in map(canonical_ip, spec.cluster_ips) if each]
        if cluster_ips:
            self._addresses[name], self._ports[name] = cluster_ips, ports
        balancers = (each.ip for each in service.status.load_balancer.ingress)
        for address in filter(None, map(canonical_ip, (*spec.external_ips, *balancers))):
            for port in spec.ports:
                self._services[host_port(address, port.port)] = name
        self._services |= dict.fromkeys(cluster_ips, name)
        self._node_ports |= {port.node_port: name for port in spec.ports if port.node_port}

    def _add_endpoints(self, endpoints: EndpointSlice) -> None:
        for each in endpoints.endpoints:
            of = each.target_ref
            if of and of.kind == "Pod" and of.name:
                namespace = of.namespace or endpoints.metadata.namespace
                name = _name("pod", of.name, namespace)
                self._add_host(name, each.addresses)


def chosen(families: Sequence[Family], addresses: Sequence[str]) -> str:
    """Return the first address of the first family that has any, "" for none."""
    return next((each for one in families for each in addresses if family_of(each) is one), "")


def _places(ends: Ends) -> tuple[tuple[str, int], tuple[str, int]]:
    return (ends.source, ends.source_port), (ends.destination, ends.destination_port)


def _name(kind: str, name: str, namespace: str) -> str:
    return f"{kind}/{name}" if namespace == "default" else f"{kind}/{name}.{namespace}"
