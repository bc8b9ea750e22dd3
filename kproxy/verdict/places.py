"""The address that is asked: given as such, or as that of a Service. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from kproxy.address import family_of, family_of_parsed, host_port, split_host_port, unbracketed
from kproxy.api.addresses import parse_ip
from kproxy.api.service_names import service_name
from kproxy.api.types import KubernetesObject, Service, ServicePort
from kproxy.errors import BadInput

PROTOCOLS = ("TCP", "UDP", "SCTP")
_PORT = re.compile(r"[0-9]{1,5}")
_EXPECTED = "expected IP:PORT/PROTOCOL, or svc/NAME.NAMESPACE:PORT"
_SHOWN = 8  # of the Services, in a message


class Place(Struct, frozen=True, kw_only=True):
    """An address that is asked: `ADDRESS:PORT/PROTOCOL`."""

    address: str
    port: int
    protocol: str

    def __str__(self) -> str:
        return f"{host_port(self.address, self.port)}/{self.protocol}"


def find_place(text: str, objects: Iterable[KubernetesObject], sender: str = "") -> Place:
    """Return the place that `text` names. Raises BadInput.

    It is `IP:PORT` or `IP:PORT/PROTOCOL`, TCP if it has none, where PORT may be the name of a port
    of the Services that have the address; or `svc/NAME`, `svc/NAME.NAMESPACE`, each also with
    `:PORT` and `/PROTOCOL`, at its cluster IP; `.svc` and a domain may follow the namespace, as in
    DNS. `sender` decides which one, if it is an address.
    """
    services = [each for each in objects if isinstance(each, Service)]
    if text.startswith("s") and (named := service_name(text)):
        service = _service(services, named.namespace or "default", named.name)
        its_own = service.spec.ports
        number, protocol = _port(text, named.port, _protocol(named.protocol), its_own)
        return Place(address=_cluster_ip(service, sender), port=number, protocol=protocol)
    try:
        return parse_place(text)
    except ValueError as error:
        rest, slash, protocol = text.partition("/")
        address, port = _address_and_port(rest)
        known = [*_ports_at(services, address)] if address else []
        if not (known and port) or _PORT.fullmatch(port):
            raise BadInput([f"--to: {error}"]) from None
    number, protocol = _port(text, port, _protocol(protocol if slash else None), known)
    return Place(address=address, port=number, protocol=protocol)


def parse_place(text: str) -> Place:
    """Return the place in `IP:PORT` or `IP:PORT/PROTOCOL`, TCP if it has none. Raises ValueError.

    An IPv6 address may be in brackets, as it must be in URLs.
    """
    rest, slash, protocol = text.partition("/")
    if slash and protocol.upper() not in PROTOCOLS:
        raise ValueError(f"{protocol!r} is not one of {', '.join(PROTOCOLS)}; {_EXPECTED}")
    host, port = split_host_port(rest) or rest.rpartition(":")[::2]
    address = parse_ip(host)
    if address is None and parse_ip(unbracketed(rest)):
        raise ValueError(f"{rest} has no port; {_EXPECTED}")
    if address is None:
        raise ValueError(f"{host!r} is not an IP address; {_EXPECTED}")
    if not _PORT.fullmatch(port) or not 0 < int(port) <= 65535:
        raise ValueError(f"{port!r} is not a port, 1 to 65535")
    return Place(address=str(address), port=int(port), protocol=protocol.upper() or "TCP")


def _address_and_port(text: str) -> tuple[str, str]:
    host, port = split_host_port(text) or text.rpartition(":")[::2]
    address = parse_ip(host)
    return (str(address), port) if address else ("", "")


def _protocol(text: str | None) -> str | None:
    """Return the protocol that is given, None if there is none. Raises BadInput."""
    if text is not None and text.upper() not in PROTOCOLS:
        raise BadInput([f"--to: {text!r} is not one of {', '.join(PROTOCOLS)}"])
    return text.upper() if text is not None else None


def _service(services: Sequence[Service], namespace: str, name: str) -> Service:
    known = {(each.metadata.namespace, each.metadata.name): each for each in services}
    if found := known.get((namespace, name)):
        return found
    listed = sorted(f"svc/{its_name}.{its_namespace}" for its_namespace, its_name in known)
    there = f"there are: {', '.join(listed[:_SHOWN])}" if listed else "there is none"
    raise BadInput(
        [f"--to: no Service {namespace}/{name}; {there}{' ...' * (len(listed) > _SHOWN)}"]
    )


def _cluster_ip(service: Service, sender: str) -> str:
    """Return the cluster IP that a sender asks: of its family, or else the first one."""
    spec = service.spec
    own = [each for each in (spec.cluster_ips or (spec.cluster_ip,)) if each not in ("", "None")]
    if not own or spec.type == "ExternalName":
        name = f"{service.metadata.namespace}/{service.metadata.name}"
        raise BadInput([f"--to: Service {name} has no cluster IP; give an address and a port"])
    if (parsed := parse_ip(sender)) is None:
        return own[0]
    return next((each for each in own if family_of(each) is family_of_parsed(parsed)), own[0])


def _ports_at(services: Iterable[Service], address: str) -> Iterator[ServicePort]:
    """Yield the ports of the Services that have an address."""
    for each in services:
        ingress = (one.ip for one in each.status.load_balancer.ingress)
        spec = each.spec
        if address in (spec.cluster_ip, *spec.cluster_ips, *spec.external_ips, *ingress):
            yield from spec.ports


def _port(
    target: str, text: str, protocol: str | None, ports: Sequence[ServicePort]
) -> tuple[int, str]:
    """Return number and protocol of a port given by number, by name, or, if "", the only one."""
    if _PORT.fullmatch(text) and 0 < int(text) <= 65535:
        same = [each.protocol for each in ports if each.port == int(text)]
        return int(text), protocol or ("TCP" if "TCP" in same or not same else same[0])
    fitting = {
        (each.port, each.protocol)
        for each in ports
        if protocol in (None, each.protocol) and text in ("", each.name)
    }
    if len({number for number, _ in fitting}) == 1:
        return min(fitting, key=lambda each: PROTOCOLS.index(each[1]))
    listed = ", ".join(
        f"{each.port}/{each.protocol}" + (f" ({each.name})" if each.name else "") for each in ports
    )
    if text:
        raise BadInput([f"--to: {target}: no port is called {text!r}; there are: {listed}"])
    raise BadInput([f"--to: {target}: which port? it has {listed or 'none'}"])
