"""The node that the cases were recorded on, as a network namespace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kproxy.kernel import sysctl
from kproxy.kernel.links import Links, Route
from kproxy.kernel.netns import Namespace

# A new namespace inherits some of these from the machine's own.
SYSCTLS_OFF = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_announce",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)


@contextmanager
def recorded_node() -> Iterator[None]:
    """Put the calling thread on node-0: eth0 towards a router, and cni0, the bridge of its pods.

    ::

        router (no address) ---- eth0  node-0  cni0
                                 192.168.10.10/24, fd00:192::10/64      10.244.0.1/24
    """
    with (
        Namespace.create("router") as router,
        Namespace.create("node-0") as node,
    ):
        with node.entered(), Links() as links:
            for name in SYSCTLS_OFF:
                sysctl.write(name, 0)
            links.add_veth("eth0", peer="e0", peer_namespace=router)
            links.add_bridge("cni0")
            for name in ("lo", "eth0", "cni0"):
                links.up(name)
            links.add_address("eth0", "192.168.10.10/24")
            links.add_address("eth0", "fd00:192::10/64")
            links.add_address("cni0", "10.244.0.1/24")
            links.add_route(Route(destination="0.0.0.0/0", link="eth0", via="192.168.10.1"))
            links.add_route(Route(destination="::/0", link="eth0", via="fd00:192::1"))
        with router.entered(), Links() as links:
            links.up("e0")
        with node.entered():
            yield
