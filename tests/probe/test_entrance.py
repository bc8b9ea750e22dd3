"""A line that refuses a question says what would be one."""

from __future__ import annotations

import pytest

from kproxy.errors import BadInput
from kproxy.forwarding.network import Host, HostKind, Network, Packet
from kproxy.probe.entrance import checked

NODE = Host(name="node-a", kind=HostKind.NODE, addresses=("192.168.10.11", "fd00:192::11"))
NETWORK = Network(hosts={"node-a": NODE}, routes={})
CLIENTS = ("node-a", "lb")
ASKED = Packet(client="node-a", address="10.96.0.10", port=80)

WRONG = [  # fields -> the problem
    ({"client": "node-b"}, "no host is called 'node-b'; there are: node-a, lb"),
    (
        {"address": "node-a"},
        "'node-a' is not an IP address; the host of that name has 192.168.10.11 and fd00:192::11",
    ),
    (
        {"address": "web.default"},
        (
            "'web.default' is not an IP address; a pod resolves names: "
            "lab.pod(NAME).resolve('web.default')"
        ),
    ),
    *(
        ({"address": text}, f"{text!r} is not an IP address; a pod resolves names:")
        for text in ("", "10.96.0.10:80", "010.96.0.10", "fe80::1%eth0", "10.96.0.0/16")
    ),
    ({"source": "outside"}, "'outside' is not an IP address; a pod resolves names:"),
    *(({"port": port}, f"{port} is no port: ports are 1 to 65535") for port in (0, -1, 65536)),
    ({"protocol": "tcp"}, "'tcp' is no protocol here: there are TCP, UDP, SCTP"),
    ({"protocol": "ICMP"}, "'ICMP' is no protocol here: there are TCP, UDP, SCTP"),
]


@pytest.mark.parametrize(("fields", "problem"), WRONG)
def test_wrong(fields: dict[str, object], problem: str) -> None:
    values = {name: getattr(ASKED, name) for name in ASKED.__struct_fields__} | fields
    packets = [ASKED, Packet(**values), Packet(**values)]
    with pytest.raises(BadInput) as error:
        checked(NETWORK, CLIENTS, packets)
    (told,) = error.value.problems
    assert told.startswith(problem)


def test_addresses_become_canonical() -> None:
    packet = Packet(client="lb", address="FD00:192:0::0011", port=80, source="::FFFF")
    (found,) = checked(NETWORK, CLIENTS, [packet])
    assert (found.address, found.source) == ("fd00:192::11", "::ffff")
    assert checked(NETWORK, CLIENTS, [ASKED]) == [ASKED]


def test_only_a_probe_can_be_an_echo() -> None:
    echo = Packet(client="lb", address="10.96.0.10", port=0, protocol="ICMP")
    assert checked(NETWORK, CLIENTS, [echo], echo=True) == [echo]
    with pytest.raises(BadInput):
        checked(NETWORK, CLIENTS, [echo])
    for wrong in ({"port": 80}, {"protocol": "TCP"}):
        values = {name: getattr(echo, name) for name in echo.__struct_fields__} | wrong
        with pytest.raises(BadInput):
            checked(NETWORK, CLIENTS, [Packet(**values)], echo=True)
