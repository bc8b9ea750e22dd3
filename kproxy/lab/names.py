"""Names of hosts, interfaces and published namespaces: one rule.

- The interface of a host towards the rest of the world is `eth0`; the other end of that cable
  bears the name of the host it leads to, on its node (pods) or on the router (nodes, clients).
- A name of more than 15 characters does not fit an interface: it is cut to 10, and a hyphen and
  four digits of its SHA-256 follow. `a-very-long-pod-name` -> `a-very-lon-492d`.
- A published namespace is `<lab>-<host>`: `ip netns exec demo-node-a ip route`.
"""

from __future__ import annotations

from hashlib import sha256

ROUTER = "router"
UPLINK = "eth0"
RESERVED = frozenset({ROUTER, UPLINK, "lo", "all", "default"})

_INTERFACE_MAX = 15  # IFNAMSIZ - 1


def interface(host: str) -> str:
    """The interface that leads to `host`. At most 15 characters."""
    if len(host) <= _INTERFACE_MAX:
        return host
    return f"{host[:10]}-{sha256(host.encode()).hexdigest()[:4]}"


def published(lab: str, host: str) -> str:
    """The name of the host's namespace under /run/netns."""
    return f"{lab}-{host}"
