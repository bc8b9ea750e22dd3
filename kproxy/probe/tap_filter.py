"""The filter of taps, as a program of classic BPF for packet sockets.

Every packet, except segments of TCP that neither begin nor refuse a connection, also inside VXLAN:
these are most of all packets, and tell nothing of where a SYN has come to. The offsets count from
the IP header. Source: Linux, Documentation/networking/filter.rst
"""

from __future__ import annotations

import struct
from socket import IPPROTO_TCP, IPPROTO_UDP
from typing import NamedTuple

from kproxy.probe.vxlan import PORTS

_INSTRUCTION = struct.Struct("=HBBI")  # sock_filter: code, jump if true, jump if false, operand
# Loads of a byte or half a word, at an offset or that many after the IPv4 header (_LOAD_LENGTH).
_LOAD, _LOAD_HALF, _LOAD_AFTER, _LOAD_HALF_AFTER, _LOAD_LENGTH = 0x30, 0x28, 0x50, 0x48, 0xB1
_SHIFT, _EQUALS, _HAS_ANY, _RETURN = 0x74, 0x15, 0x45, 0x06
_SYN_OR_RST = 0x02 | 0x04
_INNER = 8 + 8 + 14  # from the end of the IP header: UDP, VXLAN, Ethernet
_EVERYTHING = 0xFFFFFFFF


class _Step(NamedTuple):
    """An instruction. `yes`, `no`: the labels to jump to, "" for the next one; `label`: its own."""

    code: int
    operand: int
    yes: str = ""
    no: str = ""
    label: str = ""


_STEPS: tuple[_Step, ...] = (
    _Step(_LOAD, 0),
    _Step(_SHIFT, 4),
    _Step(_EQUALS, 4, no="other version"),
    _Step(_LOAD_LENGTH, 0),
    _Step(_LOAD, 9),
    _Step(_EQUALS, IPPROTO_TCP, yes="segment"),
    _Step(_EQUALS, IPPROTO_UDP, no="take"),
    _Step(_LOAD_HALF_AFTER, 2),
    _Step(_EQUALS, PORTS[0], yes="tunnel"),
    _Step(_EQUALS, PORTS[1], no="datagram"),
    _Step(_LOAD_AFTER, _INNER, label="tunnel"),
    _Step(_EQUALS, 0x45, no="take"),  # IPv4 with options, or IPv6: rare here
    _Step(_LOAD_AFTER, _INNER + 9),
    _Step(_EQUALS, IPPROTO_TCP, no="take"),
    _Step(_LOAD_AFTER, _INNER + 20 + 13),
    _Step(_HAS_ANY, _SYN_OR_RST, yes="take", no="leave"),
    _Step(_LOAD_AFTER, 13, label="segment"),
    _Step(_HAS_ANY, _SYN_OR_RST, yes="take", no="leave"),
    _Step(_EQUALS, 6, no="leave", label="other version"),
    _Step(_LOAD, 6),
    _Step(_EQUALS, IPPROTO_TCP, yes="segment of IPv6"),
    _Step(_EQUALS, IPPROTO_UDP, no="take"),
    _Step(_LOAD_HALF, 40 + 2),
    _Step(_EQUALS, PORTS[0], yes="take"),
    _Step(_EQUALS, PORTS[1], yes="take", no="datagram"),
    _Step(_LOAD, 40 + 13, label="segment of IPv6"),
    _Step(_HAS_ANY, _SYN_OR_RST, yes="take", no="leave"),
    _Step(_RETURN, _EVERYTHING, label="take"),
    _Step(_RETURN, 0, label="leave"),
)


def program(*, datagrams: bool = True) -> bytes:
    """Return the instructions, eight bytes each. Without `datagrams`, UDP is left out but for
    VXLAN.
    """
    places = {step.label: place for place, step in enumerate(_STEPS) if step.label}
    places["datagram"] = places["take" if datagrams else "leave"]

    def distance(label: str, place: int) -> int:
        return places[label] - place - 1 if label else 0

    return b"".join(
        _INSTRUCTION.pack(
            step.code, distance(step.yes, place), distance(step.no, place), step.operand
        )
        for place, step in enumerate(_STEPS)
    )
