"""Messages packed and parsed by hand are the same to pyroute2."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic import ipvs as pyroute2

from kproxy.address import Family, family_of, socket_family
from kproxy.kernel.ipvs import (
    Batch,
    Load,
    RealServer,
    Settings,
    VirtualServer,
    parse_dest,
    parse_service,
)

PROTOCOL = {"TCP": 6, "UDP": 17, "SCTP": 132}

ports = st.integers(1, 65535)
counts = st.integers(0, 0xFFFFFFFF)
families = st.sampled_from(Family)
choices = st.builds(
    Settings,
    scheduler=st.sampled_from(["rr", "wlc", "mh", "a-scheduler-nam"]),
    flags=st.sampled_from([0x0, 0x1, 0x10, 0x11]),
    timeout_s=st.integers(0, 86400),
)


@st.composite
def servers(draw: st.DrawFn, family: Family) -> tuple[VirtualServer, RealServer]:
    """Generate a virtual server of one family."""
    addresses = (
        st.ip_addresses(v=4 if family is Family.IPV4 else 6)
        # The text of an address that embeds an IPv4 one is chosen by Python, not by pyroute2.
        .filter(lambda address: int(address) >> 32 not in (0, 0xFFFF) or address.version == 4)
        .map(str)
    )
    return (
        VirtualServer(draw(st.sampled_from(sorted(PROTOCOL))), draw(addresses), draw(ports)),
        RealServer(draw(addresses), draw(ports)),
    )


pairs = families.flatmap(servers)


def decoded(batch: Batch) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Return command and attributes of the virtual and the real server, as pyroute2 reads them."""
    [(command, body, _)] = batch.requests
    generic = bytes([command, 1, 0, 0])
    length = 16 + len(generic) + len(body)
    message = pyroute2.ipvsmsg(length.to_bytes(4, sys.byteorder) + bytes(12) + generic + body)
    message.decode()
    service = message.get_attr("IPVS_CMD_ATTR_SERVICE")
    dest = message.get_attr("IPVS_CMD_ATTR_DEST")
    return (
        message["cmd"],
        {name: plain(value) for name, value in service["attrs"]},
        {name: plain(value) for name, value in dest["attrs"]} if dest else {},
    )


def plain(value: Any) -> Any:
    return (value["flags"], value["mask"]) if isinstance(value, dict) else value


def encoded(kind: str, attrs: list[tuple[str, Any]]) -> memoryview:
    """Return the attributes of a message made by pyroute2."""
    message = pyroute2.ipvsmsg()
    message["attrs"] = [(kind, {"attrs": attrs})]
    message.encode()
    return memoryview(bytes(message.data))[16 + 4 + 4 :]


def key_of(server: VirtualServer) -> dict[str, Any]:
    return {
        "IPVS_SVC_ATTR_AF": socket_family(server.address),
        "IPVS_SVC_ATTR_PROTOCOL": PROTOCOL[server.protocol],
        "IPVS_SVC_ATTR_ADDR": server.address,
        "IPVS_SVC_ATTR_PORT": server.port,
    }


def key_of_real(real: RealServer) -> dict[str, Any]:
    return {
        "IPVS_DEST_ATTR_ADDR_FAMILY": socket_family(real.address),
        "IPVS_DEST_ATTR_ADDR": real.address,
        "IPVS_DEST_ATTR_PORT": real.port,
    }


@given(pairs, choices)
def test_virtual_servers(pair: tuple[VirtualServer, RealServer], chosen: Settings) -> None:
    server, _ = pair
    mask = IPv4Address("255.255.255.255") if family_of(server.address) is Family.IPV4 else None
    full = key_of(server) | {
        "IPVS_SVC_ATTR_SCHED_NAME": chosen.scheduler,
        "IPVS_SVC_ATTR_FLAGS": (chosen.flags, 0xFFFFFFFF),
        "IPVS_SVC_ATTR_TIMEOUT": chosen.timeout_s,
        # A prefix length for IPv6, in the byte order of the machine.
        "IPVS_SVC_ATTR_NETMASK": str(mask or IPv4Address((128).to_bytes(4, sys.byteorder))),
    }
    add, edit, delete = Batch(), Batch(), Batch()
    add.add(server, chosen)
    edit.edit(server, chosen)
    delete.delete(server)
    assert decoded(add) == (pyroute2.IPVS_CMD_NEW_SERVICE, full, {})
    assert decoded(edit) == (pyroute2.IPVS_CMD_SET_SERVICE, full, {})
    assert decoded(delete) == (pyroute2.IPVS_CMD_DEL_SERVICE, key_of(server), {})


@given(pairs, st.integers(0, 65535))
def test_real_servers(pair: tuple[VirtualServer, RealServer], weight: int) -> None:
    server, real = pair
    full = key_of_real(real) | {
        "IPVS_DEST_ATTR_FWD_METHOD": 0,  # masquerade
        "IPVS_DEST_ATTR_WEIGHT": weight,
        "IPVS_DEST_ATTR_U_THRESH": 0,
        "IPVS_DEST_ATTR_L_THRESH": 0,
    }
    add, edit, delete = Batch(), Batch(), Batch()
    add.add_real(server, real, weight)
    edit.edit_real(server, real, weight)
    delete.delete_real(server, real)
    assert decoded(add) == (pyroute2.IPVS_CMD_NEW_DEST, key_of(server), full)
    assert decoded(edit) == (pyroute2.IPVS_CMD_SET_DEST, key_of(server), full)
    assert decoded(delete) == (pyroute2.IPVS_CMD_DEL_DEST, key_of(server), key_of_real(real))


@given(pairs, choices, st.booleans(), st.booleans())
def test_reading_virtual_servers(
    pair: tuple[VirtualServer, RealServer], chosen: Settings, grouping: bool, engine: bool
) -> None:
    """Persistence for groups of clients, or by an engine, is told apart."""
    server, _ = pair
    hashed = 0x2
    whole = "128.0.0.0" if family_of(server.address) is Family.IPV6 else "255.255.255.255"
    data = encoded(
        "IPVS_CMD_ATTR_SERVICE",
        [
            *key_of(server).items(),
            ("IPVS_SVC_ATTR_SCHED_NAME", chosen.scheduler),
            ("IPVS_SVC_ATTR_FLAGS", {"flags": chosen.flags | hashed, "mask": 0xFFFFFFFF}),
            ("IPVS_SVC_ATTR_TIMEOUT", chosen.timeout_s),
            ("IPVS_SVC_ATTR_NETMASK", "24.0.0.0" if grouping else whole),
            *([("IPVS_SVC_ATTR_PE_NAME", "sip")] if engine else []),
            ("IPVS_SVC_ATTR_STATS", {"attrs": [("IPVS_STATS_ATTR_CONNS", 7)]}),
        ],
    )
    family = family_of(server.address)
    usual = not grouping and not engine
    assert parse_service(data, family) == (server, chosen._replace(usual=usual))
    assert parse_service(data, family.other) is None


@pytest.mark.parametrize(
    "other",
    [
        {"IPVS_SVC_ATTR_FWMARK": 7},
        key_of(VirtualServer("TCP", "10.0.0.1", 80)) | {"IPVS_SVC_ATTR_PROTOCOL": 50},
    ],
    ids=["firewall mark", "ESP"],
)
def test_virtual_servers_that_no_service_wants(other: dict[str, Any]) -> None:
    attrs = {"IPVS_SVC_ATTR_AF": 2, **other, "IPVS_SVC_ATTR_SCHED_NAME": "rr"}
    data = encoded("IPVS_CMD_ATTR_SERVICE", [*attrs.items()])
    assert parse_service(data, Family.IPV4) is None


@given(pairs, counts, counts, counts, st.sampled_from([(0, 0, 0), (3, 0, 0), (0, 9, 0), (0, 9, 1)]))
def test_reading_real_servers(
    pair: tuple[VirtualServer, RealServer],
    weight: int,
    active: int,
    inactive: int,
    shape: tuple[int, int, int],
) -> None:
    """Another forwarding method, and thresholds, are told apart."""
    _, real = pair
    method, upper, lower = shape
    data = encoded(
        "IPVS_CMD_ATTR_DEST",
        [
            *key_of_real(real).items(),
            ("IPVS_DEST_ATTR_FWD_METHOD", method),
            ("IPVS_DEST_ATTR_WEIGHT", weight),
            ("IPVS_DEST_ATTR_U_THRESH", upper),
            ("IPVS_DEST_ATTR_L_THRESH", lower),
            ("IPVS_DEST_ATTR_ACTIVE_CONNS", active),
            ("IPVS_DEST_ATTR_INACT_CONNS", inactive),
        ],
    )
    usual = shape == (0, 0, 0)
    assert parse_dest(data) == (real, Load(weight, active, inactive, usual))


def test_text_of_addresses_that_embed_others() -> None:
    """Addresses are text as `ipaddress` prints it, so that they equal those of a plan."""
    for text in ("::ffff:10.0.0.1", "::102:304", "64:ff9b::a00:1"):
        address = str(IPv6Address(text))
        server = VirtualServer("TCP", address, 80)
        batch = Batch()
        batch.add(server, Settings("rr", 0, 0))
        [(_, body, _)] = batch.requests
        assert parse_service(memoryview(body)[4:], Family.IPV6) == (server, Settings("rr", 0, 0))
