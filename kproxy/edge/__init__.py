"""The cloud edge of a lab: load balancers and the DNAT gateway, which handle real packets.

    Services, slices -> EdgeController: admit -> Services with addresses -> the nodes' proxies
                                        follow -> Listeners -> Balancing: health checks
                                                               -> rules of iptables

Nouns: `Place`, `Listener`, `ListenerBackend`, `Target` (`kproxy.edge.listeners`). The modules that
decide (annotations, listeners, scheduling, rules, health) are pure; `Balancing` is one thread for
all load balancers of a lab, each of which has a namespace of its own.
"""

from kproxy.edge.annotations import BalancerClass
from kproxy.edge.balancing import PlaceHost
from kproxy.edge.controller import EdgeController, check_times
from kproxy.edge.listeners import Edge, Listener, ListenerBackend, ListenerKey, Place
from kproxy.edge.state import BackendState, ListenerState

__all__ = [
    "BackendState",
    "BalancerClass",
    "Edge",
    "EdgeController",
    "Listener",
    "ListenerBackend",
    "ListenerKey",
    "ListenerState",
    "Place",
    "PlaceHost",
    "check_times",
]
