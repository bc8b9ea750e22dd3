"""Listening sockets, and filters that keep some clients away from them.

A filter is a small program that the kernel runs for each packet that has found its socket, before
anything answers it. A client that it rejects gets no answer, as with a DROP rule: it is not even
accepted. No privilege and no netfilter is needed. Source: linux/filter.h; man 7 socket.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_network

from kproxy.backend import Family, KernelRefused, family_of
from kproxy_userspace.wanted import Listener, Place

_BACKLOG = 4096
_RECEIVE_BUFFER_FORCE = 33  # of SOL_SOCKET: beyond net.core.rmem_max, which 300 clients fill
_QUEUE_BYTES = 4 << 20  # a datagram counts for about a kilobyte
_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # of SOL_SOCKET
_LOAD_WORD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF
_SOURCE = {Family.IPV4: 12, Family.IPV6: 8}  # the offset of the source address in that header
_ACCEPT, _DROP = struct.pack("=HBBI", _RETURN, 0, 0, 0xFFFFFFFF), struct.pack("=HBBI", 6, 0, 0, 0)


class Taken(Exception):
    """Another process listens at a place."""


def open_at(place: Place, listener: Listener) -> socket.socket:
    """Return a socket that listens. Raises Taken, KernelRefused."""
    kind = socket.SOCK_STREAM if place.protocol == "TCP" else socket.SOCK_DGRAM
    sock = socket.socket(family_of(place.address).socket_family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:  # connections of a former listener may still exist
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _QUEUE_BYTES)
        hear(sock, listener)
        sock.bind((place.address, place.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except BaseException as error:
        sock.close()
        if not isinstance(error, OSError):
            raise
        if error.errno == errno.EADDRINUSE:
            raise Taken from None
        remedy = "ip link set lo up" if error.errno == errno.EADDRNOTAVAIL else ""
        raise KernelRefused(f"listen at {place}: {error.strerror}", remedy=remedy) from None
    return sock


def hear(sock: socket.socket, listener: Listener) -> None:
    """Let a socket receive from the clients of a listener only. Raises KernelRefused."""
    if listener.endpoints and not listener.source_ranges:
        with suppress(FileNotFoundError):  # it had no filter
            sock.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        return
    family = next(each for each in Family if each.socket_family == sock.family)
    program = program_for(family, listener.source_ranges if listener.endpoints else ())
    memory = ctypes.create_string_buffer(program)
    argument = struct.pack("HL", len(program) // len(_DROP), ctypes.addressof(memory))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, argument)
    except OSError as error:
        ranges = len(listener.source_ranges)
        raise KernelRefused(f"filter {ranges} source ranges: {error.strerror}") from None


def program_for(family: Family, source_ranges: Iterable[str]) -> bytes:
    """Return a program that accepts packets from the ranges of its family, and no others."""
    networks = [ip_network(text) for text in source_ranges if family_of(text) is family]
    return (
        b"".join(
            _words(network.network_address.packed, network.netmask.packed, _SOURCE[family])
            for network in networks
        )
        + _DROP
    )


def _words(address: bytes, mask: bytes, start: int) -> bytes:
    """Return instructions that accept packets from one range; others reach what follows them."""
    tests = [
        (start + at, int.from_bytes(mask[at : at + 4]), int.from_bytes(address[at : at + 4]))
        for at in range(0, len(address), 4)
        if any(mask[at : at + 4])
    ]
    program = b""
    for left, (at, mask_word, word) in zip(range(len(tests) - 1, -1, -1), tests, strict=True):
        program += struct.pack("=HBBI", _LOAD_WORD, 0, 0, _NETWORK_HEADER + at)
        program += struct.pack("=HBBI", _AND, 0, 0, mask_word)
        program += struct.pack("=HBBI", _JUMP_IF_EQUAL, 0, 3 * left + 1, word)
    return program + _ACCEPT
