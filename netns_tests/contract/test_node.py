"""The node of the contract tests: what is looked at does not depend on when."""

from __future__ import annotations

import pytest

from kproxy.errors import KernelRefused
from kproxy.kernel.process import run
from kproxy.testing.backend_contract import namespace_state, new_node, unprivileged

LATE = ["local fd00:192::10 dev eth0 table local", "fd00:192::/64 dev eth0"]


@pytest.mark.parametrize("route", LATE)
def test_routes_that_the_kernel_makes_late_do_not_count(route: str) -> None:
    """On a busy machine they are there up to a second after the address that they belong to."""
    with new_node():
        before = namespace_state()
        run(["ip", "-6", "route", "replace", *route.split(), "proto", "kernel"])
        run(["ip", "-6", "route", "delete", *route.split()])
        assert namespace_state() == before


CHANGES = [
    "nft add table ip mine",
    "ip address add 10.9.9.9/32 dev lo",
    "ip route add 10.9.0.0/16 dev cni0",
    "ip rule add from 10.9.9.9 table 7",
    "ipset create MINE hash:ip",
    "sysctl -q net.ipv4.ip_forward=1",
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_backend_may_do_is_seen(change: str) -> None:
    with new_node():
        before = namespace_state()
        run(change.split())
        assert namespace_state() != before


@pytest.mark.parametrize("change", CHANGES)
def test_the_kernel_refuses_all_of_it_to_a_thread_without_privilege(change: str) -> None:
    with new_node():
        before = namespace_state()
        with unprivileged(), pytest.raises(KernelRefused):
            run(change.split())
        assert namespace_state() == before
        run(change.split())  # the privilege is back
