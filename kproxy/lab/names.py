"""Names of hosts, interfaces and published namespaces.

- The uplink of a host is `eth0`; the other end of that cable has the name of the host it leads to,
  on its node (pods), on the router (nodes, load balancers, clients) or on the internet gateway
  (clients, if there is one).
- A name of more than 15 characters does not fit an interface: it is cut to 10, and a hyphen and
  four digits of its SHA-256 follow. `a-very-long-pod-name` -> `a-very-lon-492d`. If a pod is added
  to a running lab and another host has that interface, the first free one of these is taken: cut
  to 10 with four digits, to 9 with five (`a-very-lo-492d8`), and so on.
- A published namespace is `<lab>-<host>`: `ip netns exec demo-node-a ip route`.
"""

from __future__ import annotations

from collections.abc import Container
from hashlib import sha256

from kproxy.errors import BadInput

ROUTER = "router"
GATEWAY = "gateway"
DNAT = "dnat"  # no host: the name of the public address that the DNAT gateway shares
UPLINK = "eth0"
SECOND = "eth1"  # on a node that has the ports of its pods, on a pod that has a port of the VPC
POD_BRIDGE, TUNNEL, SEGMENT = "cni0", "vx0", "segment"
_PROXYS = "kube-ipvs0"  # in ipvs mode each node has that interface
RESERVED = frozenset(
    {
        *(ROUTER, GATEWAY, DNAT),
        *(UPLINK, SECOND, POD_BRIDGE, TUNNEL, SEGMENT, _PROXYS),
        *("lo", "all", "default"),
    }
)

_INTERFACE_MAX = 15  # IFNAMSIZ - 1


def host_name(pod: str, namespace: str) -> str:
    """Return the host name of a Kubernetes Pod: `web-1`, or `web-1.prod` outside `default`."""
    return pod if namespace == "default" else f"{pod}.{namespace}"


def interface(host: str) -> str:
    """Return the name of the interface that leads to `host`, at most 15 characters."""
    return _fitting(host, _INTERFACE_MAX)


def free_interface(host: str, taken: Container[str]) -> str:
    """Return an interface name that is not in `taken`. Raises BadInput if there is none."""
    names = [interface(host)]
    names += [_cut(host, _INTERFACE_MAX, digits) for digits in range(4, _INTERFACE_MAX - 1)]
    for name in names:
        if name not in taken:
            return name
    raise BadInput([f"all names of an interface that leads to {host} are taken"])


def second_port(node: str) -> str:
    """Return the router's interface to a node's second one, a name that no node can have."""
    return f"{_fitting(node, _INTERFACE_MAX - 4)}.eni"


def _fitting(host: str, longest: int) -> str:
    if len(host) <= longest:
        return host
    return _cut(host, longest, 4)


def _cut(host: str, longest: int, digits: int) -> str:
    return f"{host[: longest - 1 - digits]}-{sha256(host.encode()).hexdigest()[:digits]}"


def published(lab: str, host: str) -> str:
    """Return the name of a host's namespace under /run/netns."""
    return f"{lab}-{host}"
