"""The connections that IPVS of the calling thread's namespace has balanced.

Source: net/netfilter/ipvs/ip_vs_conn.c (ip_vs_conn_seq_show)
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

_TABLE = Path("/proc/thread-self/net/ip_vs_conn")
_IPV4_DIGITS = 8


class BalancedConnection(NamedTuple):
    """A connection: the client, the virtual server that it asked, the real server it was given."""

    protocol: str
    client: tuple[str, int]
    virtual: tuple[str, int]
    real: tuple[str, int]


def balanced_connections() -> list[BalancedConnection]:
    """Return all connections; none on a kernel without IPVS."""
    try:
        return parse_connections(_TABLE.read_text(encoding="ascii"))
    except FileNotFoundError:
        return []


def parse_connections(table: str) -> list[BalancedConnection]:
    """Return the connections of the kernel's table, which has a line of headings. Pure.

    Addresses of IPv4 are eight hexadecimal digits, those of IPv6 are in full, in brackets or not.
    """
    found = []
    for line in table.splitlines()[1:]:
        protocol, *ends = line.split()[:7]
        client, virtual, real = (
            (_address(ends[place]), int(ends[place + 1], 16)) for place in (0, 2, 4)
        )
        found.append(BalancedConnection(protocol, client, virtual, real))
    return found


def _address(text: str) -> str:
    wide = len(text) != _IPV4_DIGITS
    return str(ip_address(text.strip("[]") if wide else bytes.fromhex(text)))
