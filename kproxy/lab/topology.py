"""Namespaces, cables, addresses and routes of a lab.

                 client           client            198.51.100.11/32, default via 198.51.100.1
                  eth0             eth0
                    \\               /
                  <client>     <client>             198.51.100.1/32
                    +-- router ---+                 + routes: VIPs and external IPs -> a node
                  <node>       <node>               192.168.10.1/32
                    /               \\
                  eth0             eth0             192.168.10.11/32, default via 192.168.10.1
                 node-a           node-b
               <pod>  <pod>    <pod>  <pod>         10.244.1.1/32 on each, route to the pod
                 |      |        |      |
               eth0   eth0     eth0   eth0          10.244.1.11/32, default via 10.244.1.1
               pod-1  pod-2    pod-3  pod-4

Every line is a cable (veth pair) of its own and every address stands alone (/32, /128): no bridge
and no shared segment, so all traffic of a pod passes its node's netfilter, also between two pods of
that node. A masqueraded packet gets the address of the interface it leaves by: the pods' gateway
towards a local pod, the node's address towards all others. Destinations that the router
has no route for are refused with "network unreachable"; IPv4 sends the first five of
these to a source at once and then one in each second (a limit of the kernel that
cannot be lifted for a namespace).

Namespaces inherit some settings from the machine's own, so all that matter are set here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from kproxy.errors import KernelRefused
from kproxy.forwarding.plan import Family
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace
from kproxy.lab.layout import Addresses, Layout
from kproxy.lab.names import ROUTER, UPLINK, interface
from kproxy.lab.spec import LabSpec

_CARRIER_TIMEOUT_S = 5.0
_FIRST_INDEX = 100  # of upper ends; never that of an `eth0`, which is 2: see Links.add_veth
_ANYWHERE = {Family.IPV4: "0.0.0.0/0", Family.IPV6: "::/0"}
_SINGLE = {Family.IPV4: 32, Family.IPV6: 128}


def build(spec: LabSpec, layout: Layout, namespaces: Mapping[str, Namespace]) -> None:
    """Cable up empty namespaces, one for each host and the router, by name.

    Returns when every link carries packets. What an error leaves half done goes away with the
    namespaces. Raises KernelRefused, Unsupported.
    """
    forwarding = {ROUTER, *(node.name for node in spec.nodes)}
    for name, namespace in namespaces.items():
        with namespace.entered():
            _set_up_kernel(spec.families, forwards=name in forwarding)
    _build_router(spec, layout, namespaces)
    for node in spec.nodes:
        pods = [pod.name for pod in node.pods]
        with namespaces[node.name].entered(), Links() as links:
            _attach(links, layout.addresses[node.name], layout.node_gateway)
            gateways = layout.gateways[node.name]
            _lead_to(links, pods, layout.addresses, gateways, namespaces, _FIRST_INDEX)
        for pod in pods:
            with namespaces[pod].entered(), Links() as links:
                _attach(links, layout.addresses[pod], layout.gateways[node.name])
    for client in spec.clients:
        with namespaces[client.name].entered(), Links() as links:
            _attach(links, layout.addresses[client.name], layout.client_gateway)
    _await_carriers(namespaces)


def route_to_node(layout: Layout, cidr: str, node: str) -> Route:
    """The router's route that sends a CIDR to a node."""
    family = Family.IPV6 if ":" in cidr else Family.IPV4
    via = layout.addresses[node][family]
    return Route(destination=cidr, link=interface(node), via=via)


def _build_router(spec: LabSpec, layout: Layout, namespaces: Mapping[str, Namespace]) -> None:
    with namespaces[ROUTER].entered(), Links() as links:
        links.up("lo")
        nodes = [node.name for node in spec.nodes]
        clients = [client.name for client in spec.clients]
        _lead_to(links, nodes, layout.addresses, layout.node_gateway, namespaces, _FIRST_INDEX)
        index = _FIRST_INDEX + len(nodes)
        _lead_to(links, clients, layout.addresses, layout.client_gateway, namespaces, index)
        for node in spec.nodes:
            for subnet in layout.subnets[node.name].values():
                links.add_route(route_to_node(layout, subnet, node.name))
        for cidr, name in spec.routes.items():
            links.add_route(route_to_node(layout, cidr, name))


def _lead_to(
    links: Links,
    hosts: Iterable[str],
    addresses: Mapping[str, Addresses],
    gateways: Addresses,
    namespaces: Mapping[str, Namespace],
    first_index: int,
) -> None:
    """A cable to each host. Its upper end has our gateway address and a route to the lower one."""
    for index, host in enumerate(hosts, first_index):
        name = interface(host)
        links.add_veth(name, peer=UPLINK, peer_namespace=namespaces[host], index=index)
        links.up(name)
        for family, address in addresses[host].items():
            links.add_address(name, _alone(family, gateways[family]))
            links.add_route(
                Route(destination=_alone(family, address), link=name, source=gateways[family])
            )


def _attach(links: Links, addresses: Addresses, gateways: Addresses) -> None:
    """The lower end of a cable: everything goes out of `eth0`."""
    links.up("lo")
    links.up(UPLINK)
    for family, address in addresses.items():
        links.add_address(UPLINK, _alone(family, address))
        links.add_route(Route(destination=_alone(family, gateways[family]), link=UPLINK))
        links.add_route(Route(destination=_ANYWHERE[family], link=UPLINK, via=gateways[family]))


def _alone(family: Family, address: str) -> str:
    return f"{address}/{_SINGLE[family]}"


def _await_carriers(namespaces: Mapping[str, Namespace]) -> None:
    """The kernel turns carriers on in a worker of its own; usually they are there already."""
    deadline = time.monotonic() + _CARRIER_TIMEOUT_S
    for name, namespace in namespaces.items():
        with namespace.entered(), Links() as links:
            while not links.all_running():
                if time.monotonic() > deadline:
                    raise KernelRefused(f"the links of {name} have no carrier")
                time.sleep(0.001)


def _set_up_kernel(families: Iterable[Family], *, forwards: bool) -> None:
    """Before the links are made: they copy `default`. `ip_forward` first: it resets others."""
    sysctl.write("net/ipv4/ip_forward", int(forwards))
    for scope in ("all", "default", "lo"):
        for name in ("rp_filter", "route_localnet", "accept_redirects", "send_redirects"):
            sysctl.write(f"net/ipv4/conf/{scope}/{name}", 0)
        for name in ("accept_local", "arp_ignore", "arp_announce", "arp_filter"):
            sysctl.write(f"net/ipv4/conf/{scope}/{name}", 0)
    # No ICMP type is rate limited: a refusal must reach everyone who asks.
    sysctl.write("net/ipv4/icmp_ratemask", 0)
    if Family.IPV6 in families:
        for scope in ("all", "default"):
            sysctl.write(f"net/ipv6/conf/{scope}/disable_ipv6", 0)
            sysctl.write(f"net/ipv6/conf/{scope}/forwarding", int(forwards))
            # Link-local addresses, without which no neighbour is found, work at once.
            for name in ("accept_dad", "dad_transmits", "accept_ra", "router_solicitations"):
                sysctl.write(f"net/ipv6/conf/{scope}/{name}", 0)
        sysctl.write("net/ipv6/conf/lo/disable_ipv6", 0)
        sysctl.write("net/ipv6/icmp/ratelimit", 0)
        sysctl.write("net/ipv6/icmp/ratemask", "")
    if Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").exists():
        sysctl.write("net/netfilter/nf_conntrack_tcp_be_liberal", 0)
