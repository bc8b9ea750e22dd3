"""Another mode takes over: connections go on, and the objects they need are removed with them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from kproxy_ipvs.names import DEVICE

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.errors import KernelRefused
from kproxy.kernel import addresses, ipset
from kproxy.kernel.ipvs import Ipvs, VirtualServer
from kproxy.kernel.process import run
from kproxy.proxy import NodeProxy
from kproxy.proxy.leftovers import LOOK_AGAIN_S, Leftovers
from kproxy.testing.node import CONFIG
from netns_tests.ipvs.test_draining import reset, speaks
from netns_tests.modes import Mode
from netns_tests.node import Bench, bench
from netns_tests.run.running import until
from tests.proxy.objects import DNS, endpoints, service

pytestmark = pytest.mark.ipvs

IPVS, IPTABLES = Mode("ipvs", "legacy"), Mode("iptables", "legacy")
POD = "10.244.0.1"  # the node's own address stands for it
WEB = service("web", "10.96.0.1")
OBJECTS: list[KubernetesObject] = [WEB, endpoints("web", POD), DNS, endpoints("dns", POD)]


@contextmanager
def left() -> Iterator[tuple[Leftovers, socket.socket, socket.socket]]:
    """Yield a node that ipvs mode has just left, and both ends of a connection to 10.96.0.1."""
    with bench(IPVS) as node, ExitStack() as stack:
        node.sync(OBJECTS)
        listener = stack.enter_context(socket.create_server((POD, 8080)))
        client = stack.enter_context(socket.create_connection(("10.96.0.1", 80), timeout=5))
        server = stack.enter_context(listener.accept()[0])
        successor = Bench(IPTABLES)
        successor.store.replace(OBJECTS)
        proxy = NodeProxy(successor.store, CONFIG, successor.backends)
        proxy.sync()
        yield Leftovers(proxy, successor.backends, CONFIG, IPTABLES.options), client, server


def virtual_servers() -> set[VirtualServer]:
    with Ipvs() as ipvs:
        return set(ipvs.virtual_servers(Family.IPV4))


def nothing_is_left() -> bool:
    return (
        not virtual_servers()
        and not ipset.sizes()
        and not addresses.addresses_of(DEVICE, Family.IPV4)
        and "IPVS" not in run(["iptables-legacy-save"]) + run(["ip6tables-legacy-save"])
    )


def test_a_connection_keeps_its_virtual_server_until_it_ends() -> None:
    """Other ports of that address are refused, though the node listens there."""
    with (
        left() as (leftovers, client, server),
        socket.create_server(("0.0.0.0", 22)),
    ):
        assert leftovers.remove() == LOOK_AGAIN_S
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("10.96.0.1", 22), timeout=5)
        assert speaks(client, server)
        assert virtual_servers() == {VirtualServer("TCP", "10.96.0.1", 80)}
        assert addresses.addresses_of(DEVICE, Family.IPV4) == {"10.96.0.1"}
        assert leftovers.remove() == LOOK_AGAIN_S
        assert speaks(client, server)
        reset(client)
        _until_idle()
        assert leftovers.remove() == 0
        assert nothing_is_left()


def test_back_in_ipvs_mode_it_takes_new_connections_again() -> None:
    with left() as (leftovers, client, server):
        leftovers.remove()
        again = Bench(IPVS)
        again.sync(OBJECTS)
        leftovers = Leftovers(again.proxy, again.backends, CONFIG, IPVS.options)
        assert leftovers.remove() == 0
        assert speaks(client, server)
        with Ipvs() as ipvs:
            loads = ipvs.real_servers(VirtualServer("TCP", "10.96.0.1", 80)).values()
        assert [load.weight for load in loads] == [1]
        rules = run(["iptables-legacy-save"])
        assert "KUBE-SVC-" not in rules
        assert "KUBE-IPVS-SOURCES" not in rules


def test_a_chain_in_use_by_others_is_reported_and_all_else_is_removed() -> None:
    """The chain is removed once the foreign rule is."""
    with left() as (leftovers, client, _):
        reset(client)
        _until_idle()
        run(["iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-j", "KUBE-LOAD-BALANCER"])
        with pytest.raises(KernelRefused, match="ipvs IPv4: nat KUBE-LOAD-BALANCER was emptied"):
            leftovers.remove()
        assert not virtual_servers()
        run(["iptables-legacy", "-t", "nat", "-D", "OUTPUT", "-j", "KUBE-LOAD-BALANCER"])
        assert leftovers.remove() == 0
        assert nothing_is_left()


def _until_idle() -> None:
    """Wait until IPVS forgets a connection that was reset, after ten seconds."""

    def is_idle() -> bool:
        with Ipvs() as ipvs:
            loads = [load for key in virtual_servers() for load in ipvs.real_servers(key).values()]
        return not any(load.active + load.inactive for load in loads)

    until("connections are forgotten", is_idle, pause_s=0.2)
