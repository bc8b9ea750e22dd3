"""Checks packets where they enter: from here on the client is a host, and addresses are addresses.

Names of Services and hosts are the commonest mistake, as the tools of everyday life take them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import ip_address

from msgspec.structs import replace

from kproxy.errors import BadInput
from kproxy.forwarding.network import Host, Network, Packet

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_PORTS = range(1, 65536)


def checked(
    network: Network, clients: Collection[str], packets: Sequence[Packet], *, echo: bool = False
) -> list[Packet]:
    """Return the packets with canonical addresses. `clients`: all hosts that can ask, by name.
    `echo`: packets of ICMP, with port 0, are fine as well: only probes can be echo requests.

    Raises BadInput, with a line for each fault.
    """
    problems = dict.fromkeys(
        problem for packet in packets for problem in _problems(network.hosts, clients, packet, echo)
    )
    if problems:
        raise BadInput([*problems])
    return [
        replace(
            packet,
            address=str(ip_address(packet.address)),
            source=str(ip_address(packet.source)) if packet.source else "",
        )
        for packet in packets
    ]


def _problems(
    hosts: Mapping[str, Host], clients: Collection[str], packet: Packet, echo: bool
) -> Iterator[str]:
    if packet.client not in clients:
        yield f"no host is called {packet.client!r}; there are: {', '.join(clients)}"
    yield from _address_problems(hosts, packet.address)
    if packet.source:
        yield from _address_problems(hosts, packet.source)
    if echo and (packet.protocol, packet.port) == ("ICMP", 0):
        return
    if packet.port not in _PORTS:
        yield f"{packet.port!r} is no port: ports are 1 to 65535"
    if packet.source_port and packet.source_port not in _PORTS:
        yield f"{packet.source_port!r} is no source port: ports are 1 to 65535, 0 is any"
    if packet.protocol not in _PROTOCOLS:
        yield f"{packet.protocol!r} is no protocol here: there are {', '.join(_PROTOCOLS)}"


def _address_problems(hosts: Mapping[str, Host], address: str) -> Iterator[str]:
    try:
        if "%" not in address:  # a zone is an interface of one host
            ip_address(address)
            return
    except ValueError:
        pass
    told = f"{address!r} is not an IP address"
    if address in hosts:
        yield f"{told}; the host of that name has {' and '.join(hosts[address].addresses)}"
    else:
        yield f"{told}; a pod resolves names: lab.pod(NAME).resolve({address!r})"
