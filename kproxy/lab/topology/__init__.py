"""Namespaces, cables, addresses, routes and rules of a lab.

This is the network `routed`; `kproxy.lab.models` describes the others.

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

Every line is a cable (veth pair) of its own and every address is a /32 or /128: there is no bridge
and no shared segment, so all traffic of a pod passes its node's netfilter, also between two pods of
that node. A masqueraded packet gets the address of the interface it leaves by: the pods' gateway
towards a local pod, the node's address towards all others. Destinations that the router
has no route for are refused with "network unreachable"; IPv4 sends the first five of
these to a source at once and then one in each second (a limit of the kernel that
cannot be lifted for a namespace).

With an edge, the clients are connected to a `gateway` to the internet instead, and the gateway and
the load balancers to the router. Hosts that are not Linux machines in a cloud (router, gateway,
load balancers) have iptables rules as well, so that their behaviour can be inspected.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from kproxy.address import Family
from kproxy.errors import Unsupported
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links
from kproxy.kernel.netns import Namespace
from kproxy.lab.layout import Layout
from kproxy.lab.models import MODELS, Attachment
from kproxy.lab.names import GATEWAY, ROUTER, UPLINK
from kproxy.lab.spec import LabSpec
from kproxy.lab.topology.cables import attach, await_all_ready, single_cidr
from kproxy.lab.topology.gateway import build_gateway
from kproxy.lab.topology.kernel_settings import Kind, set_up_kernels
from kproxy.lab.topology.node import build_node
from kproxy.lab.topology.router import build_router, route_to_node

__all__ = ["build", "route_to_node"]

log = logging.getLogger("kproxy")


def build(spec: LabSpec, layout: Layout, namespaces: Mapping[str, Namespace], variant: str) -> None:
    """Connect empty namespaces, one for each host, the router and the hosts of the edge, by name.

    `variant` is that of iptables. Returns when every link carries packets. After an error, partial
    work is removed with the namespaces. Raises KernelRefused, Unsupported.
    """
    _warn_of_neighbours(spec.families, len(namespaces))
    model = MODELS[spec.network]
    balancers = [each.name for each in spec.edge.balancers] if spec.edge else []
    nodes = {node.name for node in spec.nodes}
    forwarding = {ROUTER, GATEWAY, *nodes, *balancers}
    filters = model.attachment is Attachment.FILTERED_BRIDGE
    set_up_kernels(
        spec.families,
        (
            (
                namespace,
                Kind(
                    forwards=name in forwarding,
                    strict=model.strict and name in nodes,
                    filters_bridges=filters and name in nodes,
                ),
            )
            for name, namespace in namespaces.items()
        ),
    )
    build_router(spec, model, layout, namespaces, variant)
    if spec.edge:
        build_gateway(spec, spec.edge, layout, namespaces, variant)
        for each in balancers:
            with namespaces[each].entered(), Links() as links:
                attach(links, layout.addresses[each], layout.node_gateway)
                for family, address in layout.check_sources[each].items():
                    links.add_address(UPLINK, single_cidr(family, address))
    for node in spec.nodes:
        build_node(spec, node, model, layout, namespaces, variant)
    for client in spec.clients:
        with namespaces[client.name].entered(), Links() as links:
            attach(links, layout.addresses[client.name], layout.client_gateway)
    await_all_ready(namespaces, spec.families)


def _warn_of_neighbours(families: Iterable[Family], hosts: int) -> None:
    """Warn if the hosts are more than the kernel remembers as neighbours, two for each cable."""
    for family in families:
        name = f"net.{family.value.lower()}.neigh.default.gc_thresh3"
        with suppress(Unsupported):  # only the machine's first namespace has it
            most = int(sysctl.read(name.replace(".", "/")))
            if most < 2 * hosts:
                log.warning(
                    "this kernel remembers %d neighbours of %s, in all namespaces together: in a"
                    " lab of %d hosts connections may time out; to change that: sysctl -w %s=%d",
                    *(most, family.value, hosts, name, 4 * hosts),
                )
