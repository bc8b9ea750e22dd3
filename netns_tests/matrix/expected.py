"""The expected cells of the matrix with the profile `cce` and externalTrafficPolicy Local.

Taken from measurements with the real kube-proxy v1.36 (and v1.20 for `before_1_25`) on the same
networks.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from kproxy.matrix.measure import Cell
from kproxy.matrix.places import Client, Kind, Question, Target
from kproxy.matrix.setting import Setting

COLUMNS = ("tunnel-ipvs", "vpc-ipvs", "tunnel-iptables", "vpc-iptables")


class Ending(Struct, frozen=True):
    """The expected end of a request.

    `source`: the kind of source that the server sees of a client that succeeds. For a failing one:
    `at`, `mechanism`, and words of the reason.
    """

    source: str = ""
    at: str = ""
    mechanism: str = ""
    words: str = ""
    outcome: str = "timeout"

    def __str__(self) -> str:
        return self.source or f"{self.outcome} at {self.at}, {self.mechanism}"


POD, NODE, EIP, GW, VTEP, OUT = map(Ending, ("pod", "node", "eip", "gateway", "tunnel", "client"))

# iptables: no endpoint on the node, and the source is not its own
DROP_B = Ending("", "node-b", "rule", "KUBE-EXTERNAL-SERVICES")
DROP_C = Ending("", "node-c", "rule", "KUBE-EXTERNAL-SERVICES")
# IPVS falls back to all endpoints, and keeps the source
CHECK_B = Ending("", "router", "rule", 'SOURCE-node-b "source/destination check of the port')
CHECK_C = Ending("", "router", "rule", 'SOURCE-node-c "source/destination check of the port')
VX_MARTIAN = Ending("", "node-a", "martian source", "comes in by vx0")
VX_STRICT = Ending("", "node-a", "reverse path filter", "comes in by vx0")
# the load balancer keeps the source, too
MARTIAN = Ending("", "node-a", "martian source", "comes in by eth0")
STRICT = Ending("", "node-a", "reverse path filter", "comes in by eth0")
# two pods on a bridge
BYPASS = Ending("", "client-a", "answer from elsewhere", "from 10.244.1.11:8080 instead of")
NO_ROUTE = Ending("", "gateway", "no route", "no route to 203.0.113.200")
# IPVS before 1.25: a virtual server without destinations
REFUSED_B = Ending("", "node-b", "refused", "ICMP port unreachable", "refused")
REFUSED_C = Ending("", "node-c", "refused", "ICMP port unreachable", "refused")

_CLUSTER_IP = [  # client, target, then the columns
    ("node-same", "cluster-ip", GW, GW, GW, GW),
    ("node-other", "cluster-ip", VTEP, NODE, VTEP, NODE),
    ("container-same", "cluster-ip", GW, GW, GW, GW),
    ("container-other", "cluster-ip", VTEP, NODE, VTEP, NODE),
]
_NODE_PORT = [
    ("node-same", "server-node-private", NODE, NODE, GW, GW),
    ("node-same", "server-node-public", EIP, EIP, EIP, EIP),
    ("node-same", "another-node-private", VX_MARTIAN, CHECK_C, DROP_C, DROP_C),
    ("node-same", "another-node-public", VX_STRICT, CHECK_C, DROP_C, DROP_C),
    ("node-other", "server-node-private", NODE, NODE, NODE, NODE),
    ("node-other", "server-node-public", EIP, EIP, EIP, EIP),
    ("node-other", "own-node-private", VX_STRICT, NODE, VTEP, NODE),
    ("node-other", "own-node-public", VX_STRICT, CHECK_B, DROP_B, DROP_B),
    ("node-other", "another-node-private", VX_STRICT, CHECK_C, DROP_C, DROP_C),
    ("node-other", "another-node-public", VX_STRICT, CHECK_C, DROP_C, DROP_C),
    ("container-same", "server-node-private", POD, BYPASS, POD, BYPASS),
    ("container-same", "server-node-public", EIP, EIP, EIP, EIP),
    ("container-same", "another-node-private", VX_MARTIAN, CHECK_C, DROP_C, DROP_C),
    ("container-same", "another-node-public", VX_STRICT, CHECK_C, DROP_C, DROP_C),
    ("container-other", "server-node-private", NODE, POD, NODE, POD),
    ("container-other", "server-node-public", EIP, EIP, EIP, EIP),
    ("container-other", "own-node-private", POD, POD, DROP_B, DROP_B),
    ("container-other", "own-node-public", VX_STRICT, CHECK_B, DROP_B, DROP_B),
    ("container-other", "another-node-private", VX_STRICT, CHECK_C, DROP_C, DROP_C),
    ("container-other", "another-node-public", VX_STRICT, CHECK_C, DROP_C, DROP_C),
    ("outside", "server-node-public", OUT, OUT, OUT, OUT),
    ("outside", "another-node-public", VX_STRICT, CHECK_C, DROP_C, DROP_C),
]
_BALANCED = [  # by a load balancer, also in front of the ingress
    ("node-same", "lb-private", MARTIAN, MARTIAN, MARTIAN, MARTIAN),
    ("node-same", "lb-public", EIP, EIP, EIP, EIP),
    ("node-other", "lb-private", NODE, NODE, NODE, NODE),
    ("node-other", "lb-public", EIP, EIP, EIP, EIP),
    ("container-same", "lb-private", MARTIAN, STRICT, MARTIAN, STRICT),
    ("container-same", "lb-public", EIP, EIP, EIP, EIP),
    ("container-other", "lb-private", NODE, POD, NODE, POD),
    ("container-other", "lb-public", EIP, EIP, EIP, EIP),
    ("outside", "lb-public", OUT, OUT, OUT, OUT),
]
_DNAT = [
    ("node-same", "dnat-public", NO_ROUTE, NO_ROUTE, NO_ROUTE, NO_ROUTE),
    ("node-other", "dnat-public", NO_ROUTE, NO_ROUTE, NO_ROUTE, NO_ROUTE),
    ("container-same", "dnat-public", NO_ROUTE, NO_ROUTE, NO_ROUTE, NO_ROUTE),
    ("container-other", "dnat-public", NO_ROUTE, NO_ROUTE, NO_ROUTE, NO_ROUTE),
    ("outside", "dnat-public", OUT, OUT, OUT, OUT),
]
_TABLES = {
    Kind.CLUSTER_IP: _CLUSTER_IP,
    Kind.NODE_PORT: _NODE_PORT,
    Kind.LOAD_BALANCER: _BALANCED,
    Kind.DNAT_GATEWAY: _DNAT,
    Kind.NGINX: _BALANCED,
}
_ENDINGS = {
    (Question(kind, Client(client), Target(target)), column): each
    for kind, rows in _TABLES.items()
    for client, target, *endings in rows
    for column, each in zip(COLUMNS, endings, strict=True)
}
QUESTIONS = tuple(dict.fromkeys(question for question, _ in _ENDINGS))
_IN_NFTABLES = {"KUBE-EXTERNAL-SERVICES": "by map no-endpoint-nodeports"}


def ending(setting: Setting, question: Question) -> Ending:
    """Return the expected ending of a question in a setting."""
    if setting.mode == "nftables":
        return in_mode("nftables", _ENDINGS[question, f"{setting.network}-iptables"])
    if not setting.local_fallback and question.kind is Kind.NODE_PORT:
        if question.target in (Target.OWN_PRIVATE, Target.OWN_PUBLIC):
            return REFUSED_B
        if question.target in (Target.ANOTHER_PRIVATE, Target.ANOTHER_PUBLIC):
            return REFUSED_C
    return _ENDINGS[question, f"{setting.network}-{setting.mode}"]


def in_mode(mode: str, same: Ending) -> Ending:
    """Return an ending of iptables mode with the names that rules have in nftables mode."""
    renamed = _IN_NFTABLES.get(same.words, same.words)
    return replace(same, words=renamed) if mode == "nftables" else same


def met(cell: Cell, wanted: Ending) -> Ending:
    """Return the end of a cell, with the whole reason if it lacks the expected words."""
    if cell.connection.success:
        return Ending(cell.source_is)
    reason = cell.reason
    words = wanted.words if wanted.words in reason.text else reason.text
    return Ending("", reason.at, reason.mechanism, words, cell.connection.outcome)
