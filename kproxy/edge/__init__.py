"""The cloud edge at work: load balancers and the DNAT gateway of a lab, by real packets.

    Services, slices -> EdgeController: admit -> Services with addresses -> the nodes' proxies
                                        follow -> Listeners -> Balancing: health checks
                                                               -> rules of iptables

Nouns: `Place`, `Listener`, `Backend`, `Target` (`kproxy.edge.listeners`). What is decided
(annotations, listeners, scheduling, rules, health) is pure; `Balancing` is one thread for all
load balancers of a lab, each of which has a namespace of its own.
"""

from kproxy.edge.annotations import BalancerClass
from kproxy.edge.balancing import PlaceHost
from kproxy.edge.controller import CHECK_INTERVAL_S, DRAIN_S, EdgeController, check_times
from kproxy.edge.listeners import Backend, Edge, Listener, ListenerKey, Place
from kproxy.edge.state import BackendState, ListenerState

__all__ = [
    "CHECK_INTERVAL_S",
    "DRAIN_S",
    "Backend",
    "BackendState",
    "BalancerClass",
    "Edge",
    "EdgeController",
    "Listener",
    "ListenerKey",
    "ListenerState",
    "Place",
    "PlaceHost",
    "check_times",
]
