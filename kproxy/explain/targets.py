"""The packet that a question means, which names hosts and Services. Pure.

FROM is a host: `node-a`, `pod/web-1`, `node/node-a`. TO is an address, a Service (`web`,
`svc/web`, `web.prod`) or a host; a port may follow it, by number or, of a Service, by name. A
Service is asked at its cluster IP; by a client outside at the address of its load balancer, an
external IP, or else its node port, if it has any of these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from kproxy.address import Family, bracketed, family_of, split_host_port, unbracketed
from kproxy.api.addresses import parse_ip
from kproxy.api.service_names import names_a_service, service_name
from kproxy.errors import BadInput
from kproxy.forwarding.network import Host, HostKind, Network, Packet

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP")
_OF_HOSTS = {
    "pod": HostKind.POD,
    "pods": HostKind.POD,
    "node": HostKind.NODE,
    "nodes": HostKind.NODE,
    "client": HostKind.CLIENT,
}


class NamedPort(Struct, frozen=True, kw_only=True):
    """A port of a Service, with the cluster IPs that it is asked at."""

    namespace: str
    service: str
    name: str
    """"" if it has none."""
    port: int
    protocol: str
    addresses: Mapping[Family, str]
    outside: Mapping[Family, tuple[str, int]] = {}
    """Where clients outside the cluster ask instead, if they can."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A question in the words of its user. What is None is chosen."""

    source: str
    target: str
    port: int | str | None = None
    protocol: str | None = None
    family: Family | None = None
    http: str | None = None
    """HOST/PATH of the request that a proxy on the way gets, over TCP."""


def meant(
    wanted: Wanted,
    network: Network,
    clients: Collection[str],
    services: Sequence[NamedPort],
    families: Sequence[Family],
) -> Packet:
    """Return the packet that is meant. `clients`: all hosts that can ask; `families`: the lab's.

    The port of a packet of ICMP is 0. Raises BadInput.
    """
    protocol = wanted.protocol.upper() if wanted.protocol else None
    if protocol is not None and protocol not in PROTOCOLS:
        raise BadInput([f"{wanted.protocol!r} is no protocol here: {', '.join(PROTOCOLS)}"])
    if wanted.family and wanted.family not in families:
        raise BadInput([f"the lab has no {wanted.family}, only {' and '.join(families)}"])
    client = _host(wanted.source, network, clients)
    name, text = _parted(wanted.target)
    if text and wanted.port is not None:
        raise BadInput([f"{wanted.target}: a port is given twice, {text} and {wanted.port}"])
    port = str(wanted.port) if wanted.port is not None else text
    order = [wanted.family] if wanted.family else families
    if parsed := parse_ip(name):
        address = str(parsed)
        if wanted.family and family_of(address) is not wanted.family:
            raise BadInput([f"{address} is no {wanted.family} address"])
        owner = next(iter(network.owners.get(address, ())), None)
        known = [each for each in services if address in each.addresses.values()]
        number, protocol = _port(wanted.target, port, protocol, known, owner)
        return Packet(client=client, address=address, port=number, protocol=protocol)
    if found := _service(name, services):
        usable = [family for family in order if family in found[0].addresses]
        if not usable:
            raise BadInput([f"{wanted.target} has no cluster IP of {order[0]}"])
        number, protocol = _port(wanted.target, port, protocol, found, None)
        address = found[0].addresses[usable[0]]
        if network.hosts[client].kind is HostKind.CLIENT:
            for each in found:
                if (each.port, each.protocol) == (number, protocol):
                    address, number = each.outside.get(usable[0], (address, number))
        return Packet(client=client, address=address, port=number, protocol=protocol)
    if names_a_service(name):
        raise BadInput(
            [f"no Service {name.partition('/')[2]!r} has a cluster IP; {_list(_names(services))}"],
            remedy="a Service without one is asked at the address of a pod",
        )
    host = network.hosts[_host(name, network, network.hosts, services)]
    addresses = [each for family in order for each in host.addresses if family_of(each) is family]
    if not addresses:
        raise BadInput([f"{host.name} has no address of {order[0]}"])
    number, protocol = _port(wanted.target, port, protocol, (), host)
    return Packet(client=client, address=addresses[0], port=number, protocol=protocol)


def _parted(target: str) -> tuple[str, str]:
    """Return a target without its port, and the port, "" if there is none."""
    if parse_ip(alone := unbracketed(target)):
        return alone, ""
    parts = split_host_port(target)
    return parts if parts else (target, "")


def _host(
    text: str,
    network: Network,
    among: Collection[str],
    services: Iterable[NamedPort] | None = None,
) -> str:
    """Return the name of the host that is meant; `services` might have been. Raises BadInput."""
    kind, slash, name = text.partition("/")
    name = name if slash else text
    wanted = _OF_HOSTS.get(kind) if slash else None
    if slash and wanted is None:
        known = ", ".join(f"{each}/" for each in ("pod", "node", "client"))
        elsewhere = f"a namespace is behind the name: {name}.{kind}"
        raise BadInput(
            [f"{text!r}: a name begins with {known} or svc/, or with none of them"],
            remedy="" if names_a_service(text) else elsewhere,
        )
    for each in (name, name.removesuffix(".default")):
        if each in among and (wanted is None or network.hosts[each].kind is wanted):
            return each
    there = [each for each in among if wanted is None or network.hosts[each].kind is wanted]
    what = wanted.value if wanted else "host"
    if not slash and services is not None:
        what, there = "host or Service", [*there, *_names(services)]
    raise BadInput([f"no {what} is called {name!r}; {_list(there)}"])


def _names(services: Iterable[NamedPort]) -> list[str]:
    return sorted({f"svc/{each.service}.{each.namespace}" for each in services})


def _list(names: Iterable[str]) -> str:
    found = ", ".join(names)
    return f"there are: {found}" if found else "there is none"


def _service(text: str, services: Sequence[NamedPort]) -> list[NamedPort]:
    """Return the ports of the Service that is meant; none if there is no such Service."""
    if (named := service_name(text, bare=True)) is None:
        return []
    place = (named.namespace or "default", named.name)
    return [each for each in services if (each.namespace, each.service) == place]


def _port(
    target: str,
    text: str,
    protocol: str | None,
    services: Sequence[NamedPort],
    host: Host | None,
) -> tuple[int, str]:
    """Return port and protocol. Raises BadInput if they cannot be told."""
    if protocol == "ICMP":
        if text:
            raise BadInput([f"{target}: ICMP has no ports"])
        return 0, protocol
    offered = {(each.port, each.protocol): each.name for each in services}
    offered |= dict.fromkeys(((port, name) for name, port in (host.listens if host else ())), "")
    if text.isdecimal():
        same = [name for port, name in offered if port == int(text)]
        return int(text), protocol or ("TCP" if "TCP" in same or not same else same[0])
    fitting = [
        (port, name)
        for (port, name), called in offered.items()
        if protocol in (None, name) and (not text or text == called)
    ]
    if len({port for port, _ in fitting}) == 1:
        return min(fitting)  # TCP before UDP
    listed = ", ".join(
        f"{port}/{name}" + (f" ({called})" if called else "")
        for (port, name), called in offered.items()
    )
    if text:
        _, slash, given = text.rpartition("/")
        raise BadInput(
            [f"{target}: no port is called {text!r}" + (f": {listed}" if listed else "")],
            remedy=f"give the protocol apart: --proto {given.lower()}" if slash else "",
        )
    why = f"it has {listed}" if listed else "nothing is known of its ports"
    shown = bracketed(target) if parse_ip(target) else target
    raise BadInput([f"{target}: which port? {why}"], remedy=f"{shown}:PORT")
