"""Names of hosts, interfaces and published namespaces: one rule.

- The interface of a host towards the rest of the world is `eth0`; the other end of that cable
  bears the name of the host it leads to, on its node (pods), on the router (nodes, load balancers,
  clients) or on the internet gateway (clients, where there is one).
- A name of more than 15 characters does not fit an interface: it is cut to 10, and a hyphen and
  four digits of its SHA-256 follow. `a-very-long-pod-name` -> `a-very-lon-492d`.
- A published namespace is `<lab>-<host>`: `ip netns exec demo-node-a ip route`.
"""

from __future__ import annotations

from hashlib import sha256

ROUTER = "router"
GATEWAY = "gateway"
DNAT = "dnat"  # no host: the name of the public address that the DNAT gateway shares out
UPLINK = "eth0"
SECOND = "eth1"  # of a node that has the ports of its pods, of a pod that has a port of the VPC
POD_BRIDGE, TUNNEL, SEGMENT = "cni0", "vx0", "segment"
RESERVED = frozenset(
    {ROUTER, GATEWAY, DNAT, UPLINK, SECOND, POD_BRIDGE, TUNNEL, SEGMENT, "lo", "all", "default"}
)

_INTERFACE_MAX = 15  # IFNAMSIZ - 1


def interface(host: str) -> str:
    """The interface that leads to `host`. At most 15 characters."""
    return _fitting(host, _INTERFACE_MAX)


def second_port(node: str) -> str:
    """The router's interface that leads to the node's second one. No host can be called so."""
    return f"{_fitting(node, _INTERFACE_MAX - 4)}.eni"


def _fitting(host: str, longest: int) -> str:
    if len(host) <= longest:
        return host
    return f"{host[: longest - 5]}-{sha256(host.encode()).hexdigest()[:4]}"


def published(lab: str, host: str) -> str:
    """The name of the host's namespace under /run/netns."""
    return f"{lab}-{host}"
