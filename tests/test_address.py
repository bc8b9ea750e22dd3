from __future__ import annotations

import ipaddress
from typing import Literal, NamedTuple

import msgspec
import pytest

from kproxy.address import (
    Family,
    bracketed,
    family_of,
    family_of_parsed,
    host_port,
    socket_family,
    split_host_port,
)

V4, V6 = Family.IPV4, Family.IPV6


class Case(NamedTuple):
    address: str
    family: Family
    with_port_80: str


ADDRESSES = [
    Case("10.0.0.1", V4, "10.0.0.1:80"),
    Case("0.0.0.0", V4, "0.0.0.0:80"),
    Case("255.255.255.255", V4, "255.255.255.255:80"),
    Case("fd00::1", V6, "[fd00::1]:80"),
    Case("::", V6, "[::]:80"),
    Case("::1", V6, "[::1]:80"),
    Case("2001:db8:1:2:3:4:5:6", V6, "[2001:db8:1:2:3:4:5:6]:80"),
    Case("::ffff:10.0.0.1", V6, "[::ffff:10.0.0.1]:80"),
]


@pytest.mark.parametrize("case", ADDRESSES, ids=lambda case: case.address)
def test_addresses(case: Case) -> None:
    address = case.address
    assert family_of(address) is case.family
    assert family_of_parsed(ipaddress.ip_address(address)) is case.family
    assert socket_family(address) == {V4: 2, V6: 10}[case.family]  # of Linux
    assert host_port(address, 80) == case.with_port_80
    assert bracketed(address) == case.with_port_80.removesuffix(":80")
    assert split_host_port(case.with_port_80) == (address, "80")


@pytest.mark.parametrize(
    ("cidr", "family"),
    [("10.0.0.0/8", V4), ("0.0.0.0/0", V4), ("fd00::/8", V6), ("::/0", V6), ("::1/128", V6)],
)
def test_cidrs(cidr: str, family: Family) -> None:
    assert family_of(cidr) is family
    assert family_of_parsed(ipaddress.ip_network(cidr)) is family


@pytest.mark.parametrize(
    ("text", "parts"),
    [  # as Go's net.SplitHostPort
        ("localhost:http", ("localhost", "http")),
        (":80", ("", "80")),
        ("10.0.0.1:", ("10.0.0.1", "")),
        ("[]:80", ("", "80")),
        ("[10.0.0.1]:80", ("10.0.0.1", "80")),
        ("", None),
        ("10.0.0.1", None),
        ("::1", None),
        ("::1:80", None),  # too many colons
        ("[::1]", None),
        ("[::1]80", None),
        ("[::1:80", None),
        ("::1]:80", None),
        ("[[::1]]:80", None),
        ("[::1]:80:90", None),
        ("x[::1]:80", None),
        ("10.0.0.1:80\n", ("10.0.0.1", "80\n")),  # for the caller to refuse
    ],
)
def test_split_host_port(text: str, parts: tuple[str, str] | None) -> None:
    assert split_host_port(text) == parts


def test_the_other_family() -> None:
    assert [family.other for family in Family] == [V6, V4]


class Fields(msgspec.Struct, frozen=True):
    families: tuple[Family, ...]
    kind: Literal["IPv4", "IPv6", "FQDN"] = "FQDN"


def test_a_family_is_its_text_in_objects_of_kubernetes() -> None:
    decoded = msgspec.json.decode(b'{"families": ["IPv6", "IPv4"]}', type=Fields)
    assert decoded.families[0] is V6
    assert decoded.families[1] is V4
    assert msgspec.to_builtins(decoded) == {"families": ("IPv6", "IPv4"), "kind": "FQDN"}
    assert msgspec.json.encode(decoded.families) == b'["IPv6","IPv4"]'
    assert {"IPv4": 1}[V4] == 1
    assert f"{V4} {V6}" == "IPv4 IPv6"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"families": ["IPv5"]}', type=Fields)
