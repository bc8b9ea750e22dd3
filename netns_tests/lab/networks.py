"""A cluster on any network, with an edge, and the questions that tests ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from kproxy.address import Family, family_of
from kproxy.explain.facts import Facts
from kproxy.explain.reason import Reason, explain
from kproxy.explain.traces import Traces
from kproxy.forwarding.network import Packet
from kproxy.kernel.xtables import choose_variant
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.spec import EdgeSpec
from kproxy.outcome import Connection
from kproxy.probe import Prober, connect_many
from kproxy.probe.journey import Journey

V4, V6 = Family.IPV4, Family.IPV6
BOTH = (V4, V6)
PORTS = (PortSpec(port=80), PortSpec(port=80, protocol="UDP"))


def pod(name: str, *, host_network: bool = False) -> PodSpec:
    return PodSpec(name=name, ports=PORTS, host_network=host_network)


def spec(network: str, families: tuple[Family, ...] = BOTH) -> LabSpec:
    """Return a lab with two pods and one of the host network on node-a, one of each on node-b.

    The internet has no private addresses, which networks may leave unmasqueraded.
    """
    return LabSpec(
        network=network,
        families=families,
        nodes=(
            NodeSpec(
                name="node-a", pods=(pod("a-1"), pod("a-2"), pod("host-a", host_network=True))
            ),
            NodeSpec(name="node-b", pods=(pod("b-1"), pod("host-b", host_network=True))),
        ),
        clients=(ClientSpec(name="outside"),),
        client_cidrs=("198.51.100.0/24", "2001:db8:198::/64"),
        edge=EdgeSpec(),
    )


def names(lab: Lab, family: Family) -> dict[str, str]:
    """Return address -> name of its host. Pods of the host network are named as their nodes."""
    found = {host.addresses[family]: host.name for host in lab.clients.values()}
    found |= {each.addresses[family]: each.name for each in lab.pods.values()}
    for node in lab.nodes.values():
        found[node.addresses[family]] = node.name
        found[node.gateways[family]] = f"gateway of {node.name}"
        found[str(ip_network(node.subnets[family]).network_address)] = f"tunnel of {node.name}"
        found[node.public[family]] = f"EIP of {node.name}"
    return found


def address(lab: Lab, name: str, family: Family) -> str:
    """Return the address of a host, or of `EIP of` a node."""
    if name.startswith("EIP of "):
        return lab.nodes[name.removeprefix("EIP of ")].public[family]
    return lab.hosts[name].addresses[family]


def met(
    lab: Lab, asked: Sequence[tuple[str, str]], family: Family, protocol: str
) -> dict[tuple[str, str], tuple[str, str] | str]:
    """Return, for each client and target, the pod that answered and the source that it saw, or the
    failure.
    """
    packets = [
        Packet(client=client, address=address(lab, target, family), port=80, protocol=protocol)
        for client, target in asked
    ]
    called = names(lab, family)

    def read(seen: Connection) -> tuple[str, str] | str:
        if seen.success:
            return seen.pod, called.get(seen.source, seen.source)
        return str(seen)

    return dict(zip(asked, map(read, connect_many(lab, packets)), strict=True))


def followed(lab: Lab, packets: Sequence[Packet]) -> list[tuple[Journey, Reason]]:
    """Return the journeys of packets, all of one family, and the reasons why they ended."""
    family = family_of(packets[0].address)
    watched = {name: host for name, host in lab.hosts.items() if name not in lab.clients}
    with lab.hosts["router"].namespace.entered():
        variant = choose_variant(family)
    facts = Facts(lab.hosts)
    with Prober(lab) as prober, Traces(watched, variant) as traces:
        journeys = prober.follow_many(packets)
        steps = traces.read({journey.tag for journey in journeys})
        return [
            (journey, explain(packet, journey, steps.get(journey.tag, []), facts, traces.describe))
            for packet, journey in zip(packets, journeys, strict=True)
        ]
