"""Transactions of load balancers: the first one, and changes after it."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.address import Family
from kproxy.edge.annotations import BalancerClass
from kproxy.edge.listeners import Listener, listeners_of
from kproxy.edge.rules import Shares, transaction
from tests.edge.objects import PORTS, V4, V6, edge, service

UDP_PORTS = tuple(type(port)(name="dns", protocol="UDP", port=53, node_port=1) for port in PORTS)
PERSISTENCE = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-persistence-timeout"


def listener(family: Family = V4, **special: Any) -> Listener:
    (found,) = listeners_of(service(families=(family,), **special), [], edge())
    return found


def shares(of: Listener, *slots: int) -> Shares:
    return Shares(listener=of, slots=tuple(of.backends[index] for index in slots))


WEB = listener()
STICKY = listener(annotations={PERSISTENCE: "60"})

WHOLE = [
    (
        BalancerClass.SHARED,
        V4,
        [shares(WEB, 0, 1, 2)],
        """\
*nat
:EDGE - [0:0]
:EDGE-TCP-80 - [0:0]
-A PREROUTING -j EDGE
-A EDGE -d 192.168.20.11 -p tcp --dport 80 -m comment --comment "default/web:http" -j EDGE-TCP-80
-A EDGE-TCP-80 -p tcp -m statistic --mode nth --every 3 --packet 0 \
-m comment --comment "default/web:http on node-a" -j DNAT --to-destination 192.168.10.11:30080
-A EDGE-TCP-80 -p tcp -m statistic --mode nth --every 2 --packet 0 \
-m comment --comment "default/web:http on node-b" -j DNAT --to-destination 192.168.10.12:30080
-A EDGE-TCP-80 -p tcp \
-m comment --comment "default/web:http on node-c" -j DNAT --to-destination 192.168.10.13:30080
COMMIT
*filter
:EDGE - [0:0]
-A INPUT -j EDGE
COMMIT
""",
    ),
    (
        BalancerClass.SHARED,
        V6,
        [shares(listener(V6)), shares(listener(V6, ports=UDP_PORTS))],
        """\
*nat
:EDGE - [0:0]
-A PREROUTING -j EDGE
COMMIT
*filter
:EDGE - [0:0]
-A INPUT -j EDGE
-A EDGE -d fd00:192:20::11 -p tcp --dport 80 \
-m comment --comment "default/web:http has no healthy backend" -j REJECT --reject-with tcp-reset
-A EDGE -d fd00:192:20::11 -p udp --dport 53 \
-m comment --comment "default/web:dns has no healthy backend" \
-j REJECT --reject-with icmp6-port-unreachable
COMMIT
""",
    ),
    (
        BalancerClass.SHARED,
        V4,
        [shares(STICKY, 0, 0)],
        """\
*nat
:EDGE - [0:0]
:EDGE-TCP-80 - [0:0]
-A PREROUTING -j EDGE
-A EDGE -d 192.168.20.11 -p tcp --dport 80 -m comment --comment "default/web:http" -j EDGE-TCP-80
-A EDGE-TCP-80 -p tcp -m recent --name EDGE-TCP-80-P7TLHAYY --update --seconds 60 --rsource \
-m comment --comment "default/web:http on node-a" -j DNAT --to-destination 192.168.10.11:30080
-A EDGE-TCP-80 -p tcp -m statistic --mode nth --every 2 --packet 0 \
-m recent --name EDGE-TCP-80-P7TLHAYY --set --rsource \
-m comment --comment "default/web:http on node-a" -j DNAT --to-destination 192.168.10.11:30080
-A EDGE-TCP-80 -p tcp -m recent --name EDGE-TCP-80-P7TLHAYY --set --rsource \
-m comment --comment "default/web:http on node-a" -j DNAT --to-destination 192.168.10.11:30080
COMMIT
*filter
:EDGE - [0:0]
-A INPUT -j EDGE
COMMIT
""",
    ),
    (
        BalancerClass.DNAT,
        V4,
        [shares(WEB, 0), shares(listener(ports=UDP_PORTS))],
        """\
*nat
:EDGE - [0:0]
:EDGE-TCP-80 - [0:0]
-A PREROUTING -j EDGE
-A EDGE ! -i eth0 -d 192.168.20.11 -p tcp --dport 80 \
-m comment --comment "default/web:http" -j EDGE-TCP-80
-A EDGE-TCP-80 -p tcp \
-m comment --comment "default/web:http on node-a" -j DNAT --to-destination 192.168.10.11:30080
COMMIT
""",
    ),
]


@pytest.mark.parametrize(("kind", "family", "wanted", "expected"), WHOLE)
def test_from_nothing(
    kind: BalancerClass, family: Family, wanted: list[Shares], expected: str
) -> None:
    assert "".join(transaction(kind, family, wanted, None)) == expected


def test_what_stays_is_not_written_again() -> None:
    udp = listener(ports=UDP_PORTS)
    before = [shares(WEB, 0, 1), shares(udp, 0)]
    lines = transaction(BalancerClass.SHARED, V4, [shares(WEB, 0, 1), shares(udp, 1)], before)
    assert ":EDGE-TCP-80 - [0:0]\n" not in lines
    assert ":EDGE-UDP-53 - [0:0]\n" in lines
    assert sum(line.startswith("-A EDGE ") for line in lines) == 2
    assert not any(line.startswith(("-A PREROUTING", "-A INPUT")) for line in lines)


@pytest.mark.parametrize("after", [[], [shares(WEB)]], ids=["no listener", "no backend"])
def test_what_is_gone_is_deleted(after: list[Shares]) -> None:
    lines = transaction(BalancerClass.SHARED, V4, after, [shares(WEB, 0)])
    assert lines[:4] == [
        "*nat\n",
        ":EDGE - [0:0]\n",
        ":EDGE-TCP-80 - [0:0]\n",
        "-X EDGE-TCP-80\n",
    ]
    assert sum("REJECT" in line for line in lines) == len(after)
