"""Node ports on loopback addresses: the objects that reject packets to them. Pure.

There are none unless the feature gate is on (`NodeSettings.loopback_node_ports`). No rule
translates such packets; without these objects the node's own processes get them.
Source: kube-proxy v1.37 nftables/proxier.go, KEP-6032.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.forwarding.plan import NodeSettings
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables.objects import Rule, Set
from kproxy.kernel.nftables.types import PORT, PROTOCOL, VERDICT, concatenation
from kproxy_nftables import words
from kproxy_nftables.localhost_rejected import rejected

REJECT_PORTS = "localhost-nodeport-reject-ports"


def chain(protocol: str) -> str:
    return f"localhost-nodeport-reject-{protocol.lower()}"


def counter(protocol: str) -> str:
    """Return the name of the counter of rejected packets."""
    return f"localhost-nodeport-rejected-{protocol.lower()}"


def counters(settings: NodeSettings) -> tuple[str, ...]:
    return tuple(map(counter, rejected(settings)))


def sets(settings: NodeSettings) -> Iterator[Set]:
    if rejected(settings):
        comment = "localhost NodePorts rejected by kube-proxy"
        yield Set(REJECT_PORTS, concatenation(PROTOCOL, PORT), VERDICT, comment)


def chains(settings: NodeSettings) -> dict[str, tuple[Rule, ...]]:
    reject = expr.reject(settings.family)
    return {
        chain(each): (Rule((expr.count_in(counter(each)), reject)),) for each in rejected(settings)
    }


def checks(settings: NodeSettings) -> tuple[Rule, ...]:
    """Return the rule for new packets to the node that leads to these chains, if there are any."""
    if not rejected(settings):
        return ()
    to_port = words.protocol_and_port() + expr.lookup(REJECT_PORTS, 0)
    return (Rule((words.loopback(settings.family), to_port)),)
