"""Places of clients and targets of their requests, in the words of the vendors' tables.

The server pod runs on node-a. Clients "other" are on node-b, and node-c is a third node.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

SERVER_NODE, OTHER_NODE, THIRD_NODE = "node-a", "node-b", "node-c"


class Client(StrEnum):
    """The place of a client."""

    NODE_SAME = "node-same"  # a process on the node that runs the server pod
    NODE_OTHER = "node-other"  # a process on a node that does not run it
    CONTAINER_SAME = "container-same"  # another pod on the server's node
    CONTAINER_OTHER = "container-other"
    OUTSIDE = "outside"  # on the internet


class Target(StrEnum):
    """The address that is asked. `own`: the client's node, if that is not the server's; `another`:
    a third node.
    """

    CLUSTER_IP = "cluster-ip"
    SERVER_PRIVATE = "server-node-private"
    SERVER_PUBLIC = "server-node-public"
    OWN_PRIVATE = "own-node-private"
    OWN_PUBLIC = "own-node-public"
    ANOTHER_PRIVATE = "another-node-private"
    ANOTHER_PUBLIC = "another-node-public"
    LB_PRIVATE = "lb-private"
    LB_PUBLIC = "lb-public"
    DNAT_PUBLIC = "dnat-public"


class Kind(StrEnum):
    """The kind of a Service, and of the way to it."""

    CLUSTER_IP = "clusterip"
    NODE_PORT = "nodeport"
    LOAD_BALANCER = "loadbalancer"
    DNAT_GATEWAY = "dnat-gateway"
    NGINX = "nginx-ingress-loadbalancer"


HOSTS = {
    Client.NODE_SAME: SERVER_NODE,
    Client.NODE_OTHER: OTHER_NODE,
    Client.CONTAINER_SAME: "client-a",
    Client.CONTAINER_OTHER: "client-b",
    Client.OUTSIDE: "outside",
}
"""The host of the lab that is each client."""

_NODE_PORTS = (
    Target.SERVER_PRIVATE,
    Target.SERVER_PUBLIC,
    Target.OWN_PRIVATE,
    Target.OWN_PUBLIC,
    Target.ANOTHER_PRIVATE,
    Target.ANOTHER_PUBLIC,
)
TARGETS = {
    Kind.CLUSTER_IP: (Target.CLUSTER_IP,),
    Kind.NODE_PORT: _NODE_PORTS,
    Kind.LOAD_BALANCER: (Target.LB_PRIVATE, Target.LB_PUBLIC),
    Kind.DNAT_GATEWAY: (Target.DNAT_PUBLIC,),
    Kind.NGINX: (Target.LB_PRIVATE, Target.LB_PUBLIC),
}
_PRIVATE = {
    Target.CLUSTER_IP,
    Target.SERVER_PRIVATE,
    Target.OWN_PRIVATE,
    Target.ANOTHER_PRIVATE,
    Target.LB_PRIVATE,
}


class Question(Struct, frozen=True, order=True):
    """A client and its target. A row of a table."""

    kind: Kind
    client: Client
    target: Target


def questions(kinds: Iterable[Kind] = tuple(Kind)) -> list[Question]:
    """Return all questions that make sense: the internet does not reach private addresses, and only
    a client on a node without the server has an own node besides the server's.
    """
    return [
        Question(kind, client, target)
        for kind in kinds
        for client in Client
        for target in TARGETS[kind]
        if _makes_sense(client, target)
    ]


def _makes_sense(client: Client, target: Target) -> bool:
    if client is Client.OUTSIDE:
        return target not in _PRIVATE and target is not Target.OWN_PUBLIC
    if target in (Target.OWN_PRIVATE, Target.OWN_PUBLIC):
        return client in (Client.NODE_OTHER, Client.CONTAINER_OTHER)
    return True
