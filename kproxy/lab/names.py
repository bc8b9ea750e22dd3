"""Names of hosts, interfaces and published namespaces: one rule.

- The interface of a host towards the rest of the world is `eth0`; the other end of that cable
  bears the name of the host it leads to, on its node (pods), on the router (nodes, load balancers,
  clients) or on the internet gateway (clients, where there is one).
- A name of more than 15 characters does not fit an interface: it is cut to 10, and a hyphen and
  four digits of its SHA-256 follow. `a-very-long-pod-name` -> `a-very-lon-492d`. Where a pod comes
  to a running lab and that interface is another host's, the next of these is taken that is not:
  cut to 10 with four digits, to 9 with five (`a-very-lo-492d8`), and so on.
- A published namespace is `<lab>-<host>`: `ip netns exec demo-node-a ip route`.
"""

from __future__ import annotations

from collections.abc import Container
from hashlib import sha256

from kproxy.errors import BadInput

ROUTER = "router"
GATEWAY = "gateway"
DNAT = "dnat"  # no host: the name of the public address that the DNAT gateway shares out
UPLINK = "eth0"
SECOND = "eth1"  # of a node that has the ports of its pods, of a pod that has a port of the VPC
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
    """What the host of a Kubernetes Pod is called: `web-1`, or `web-1.prod` outside `default`."""
    return pod if namespace == "default" else f"{pod}.{namespace}"


def interface(host: str) -> str:
    """The interface that leads to `host`. At most 15 characters."""
    return _fitting(host, _INTERFACE_MAX)


def free_interface(host: str, taken: Container[str]) -> str:
    """As `interface`, but none of `taken`. Raises BadInput if all that it may have are."""
    names = [interface(host)]
    names += [_cut(host, _INTERFACE_MAX, digits) for digits in range(4, _INTERFACE_MAX - 1)]
    for name in names:
        if name not in taken:
            return name
    raise BadInput([f"all names of an interface that leads to {host} are taken"])


def second_port(node: str) -> str:
    """The router's interface that leads to the node's second one. No node can be called so."""
    return f"{_fitting(node, _INTERFACE_MAX - 4)}.eni"


def _fitting(host: str, longest: int) -> str:
    if len(host) <= longest:
        return host
    return _cut(host, longest, 4)


def _cut(host: str, longest: int, digits: int) -> str:
    return f"{host[: longest - 1 - digits]}-{sha256(host.encode()).hexdigest()[:digits]}"


def published(lab: str, host: str) -> str:
    """The name of the host's namespace under /run/netns."""
    return f"{lab}-{host}"
