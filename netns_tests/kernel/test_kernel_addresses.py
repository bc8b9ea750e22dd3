"""Addresses of interfaces, many at once, and the interface for those of Services."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import addresses
from kproxy.kernel.links import Links
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run

V4, V6 = Family.IPV4, Family.IPV6


@pytest.fixture(autouse=True)
def _own_namespace() -> Iterator[None]:
    """Make lo; eth0 with an address of each family and link-local ones; holder, down and empty."""
    with Namespace.create() as namespace, Namespace.create() as other:
        with namespace.entered(), Links() as links:
            links.add_veth("eth0", peer="eth0", peer_namespace=other)
            links.add_veth("holder", peer="holder", peer_namespace=other)
            for name in ("lo", "eth0"):
                links.up(name)
            for address in ("192.168.0.10/24", "169.254.7.7/16", "fd00::10/64", "fe80::10/64"):
                links.add_address("eth0", address)
        with namespace.entered():
            yield


def ip_says(link: str, family: str) -> list[str]:
    """Return the addresses, written 10.0.0.1/32, in the kernel's order."""
    lines = run(["ip", family, "-oneline", "address", "show", "dev", link]).splitlines()
    return [line.split()[3] for line in lines]


def test_addresses_are_added_and_removed() -> None:
    v4 = ["10.96.0.1", "10.96.0.10"]
    v6 = ["fd00:96::1", "fd00:96::a"]
    addresses.add_addresses("holder", [*v4, *v6])
    assert ip_says("holder", "-4") == ["10.96.0.1/32", "10.96.0.10/32"]
    assert set(ip_says("holder", "-6")) == {"fd00:96::1/128", "fd00:96::a/128"}
    addresses.add_addresses("holder", [v4[0], v6[0], "10.96.0.11"])  # two exist already
    assert addresses.addresses_of("holder", V4) == {*v4, "10.96.0.11"}
    assert addresses.addresses_of("holder", V6) == set(v6)
    assert addresses.count_of("holder", V4) == 3
    assert addresses.count_of("holder", V6) == 2
    addresses.remove_addresses("holder", [*v4, *v6])
    addresses.remove_addresses("holder", [*v4, *v6])  # they are removed already
    assert addresses.addresses_of("holder", V4) == {"10.96.0.11"}
    assert ip_says("holder", "-6") == []


def test_addresses_of_the_node() -> None:
    """Loopback, IPv6 link-local ones and those of the excluded interface are left out."""
    addresses.add_addresses("holder", ["10.96.0.1", "fd00:96::1"])
    addresses.add_addresses("lo", ["127.0.0.2", "172.16.0.1"])
    node_v4 = ["169.254.7.7", "172.16.0.1", "192.168.0.10"]
    assert addresses.node_addresses(V4, but="holder") == node_v4
    assert addresses.node_addresses(V6, but="holder") == ["fd00::10"]
    assert addresses.node_addresses(V4, but="none") == ["10.96.0.1", *node_v4]
    assert addresses.node_addresses(V6, but="none") == ["fd00::10", "fd00:96::1"]


def test_addresses_of_an_interface() -> None:
    assert addresses.addresses_of("eth0", V4) == {"192.168.0.10", "169.254.7.7"}
    assert addresses.addresses_of("eth0", V6) == {"fd00::10"}
    assert addresses.addresses_of("holder", V4) == set()
    assert addresses.addresses_of("nobody", V4) == set()
    assert addresses.count_of("nobody", V4) == 0


def test_addresses_within_networks() -> None:
    addresses.add_addresses("holder", ["10.96.0.1"])
    found = addresses.local_addresses(V4, ["192.168.0.0/16", "127.0.0.0/8", "10.0.0.0/8"])
    assert found == ["10.96.0.1", "127.0.0.1", "192.168.0.10"]
    assert addresses.local_addresses(V6, ["fe80::/10", "::1/128"]) == ["::1", "fe80::10"]


def test_more_than_fit_into_one_send() -> None:
    many = {f"10.{number >> 8}.{number & 255}.1" for number in range(2000)}
    addresses.add_addresses("holder", many)
    assert addresses.addresses_of("holder", V4) == many
    assert addresses.node_addresses(V4, but="holder") == ["169.254.7.7", "192.168.0.10"]
    addresses.remove_addresses("holder", many)
    assert addresses.addresses_of("holder", V4) == set()


def test_refusals() -> None:
    with pytest.raises(KernelRefused, match="no interface called nobody"):
        addresses.add_addresses("nobody", ["10.0.0.1"])
    with pytest.raises(KernelRefused, match="add ff02::1 to holder: Cannot assign"):
        addresses.add_addresses("holder", ["ff02::1", "fd00:96::1"])
    assert addresses.addresses_of("holder", V6) == {"fd00:96::1"}
    addresses.add_addresses("nobody", [])


def test_only_a_dummy_interface_is_deleted() -> None:
    addresses.delete_dummy("holder")
    addresses.delete_dummy("nobody")
    assert "holder" in _names()


@pytest.mark.ipvs
def test_a_dummy_interface() -> None:
    for _ in range(2):
        addresses.ensure_dummy("kube-ipvs0")
    shown = run(["ip", "-details", "link", "show", "dev", "kube-ipvs0"])
    assert "<BROADCAST,NOARP>" in shown  # not UP
    assert " dummy " in shown
    addresses.add_addresses("kube-ipvs0", ["10.96.0.1", "fd00:96::1"])
    assert addresses.addresses_of("kube-ipvs0", V4) == {"10.96.0.1"}
    assert addresses.addresses_of("kube-ipvs0", V6) == {"fd00:96::1"}
    addresses.delete_dummy("kube-ipvs0")
    assert "kube-ipvs0" not in _names()


@pytest.mark.ipvs
def test_added_addresses_are_local_at_once() -> None:
    addresses.ensure_dummy("kube-ipvs0")
    added = [f"fd00:96::{number:x}" for number in range(1, 201)]
    addresses.add_addresses("kube-ipvs0", added)
    routes = run(["ip", "-6", "route", "show", "table", "local"]).splitlines()
    assert {line.split()[1] for line in routes if line[:5] == "local"} >= set(added)


def test_addresses_that_stay_without_a_route_are_told(caplog: pytest.LogCaptureFixture) -> None:
    addresses.add_addresses("holder", ["fd00:96::1"])
    assert caplog.messages == ["fd00:96::1 is not reachable on holder yet: it has no route"]
    assert addresses.addresses_of("holder", V6) == {"fd00:96::1"}


def _names() -> list[str]:
    return [name for _, name in socket.if_nameindex()]
