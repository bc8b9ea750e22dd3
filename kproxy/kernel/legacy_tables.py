"""Sizes and raw entries of legacy tables, read and written without a process.

Source: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from kproxy.address import Family
from kproxy.errors import KernelRefused

_SO_GET_INFO, _SO_GET_ENTRIES = 64, 65  # IPT_SO_* and IP6T_SO_*
_SO_SET_REPLACE, _SO_SET_ADD_COUNTERS = 64, 65
_LEVELS = {Family.IPV4: socket.IPPROTO_IP, Family.IPV6: socket.IPPROTO_IPV6}
# User-mode Linux 6.1 says EFAULT to some calls in which a signal arrives, as if the buffer were
# not ours.
_TRIES = 5
_NO_TABLE = (errno.ENOENT, errno.ENOPROTOOPT)  # no module for the table, or for any
_INFO = struct.Struct("=32sI5I5III")  # struct ipt_getinfo
_ENTRIES = struct.Struct("@32sI0Q")  # struct ipt_get_entries, then the entries
_ADDED = struct.Struct("@32sI0Q")  # struct xt_counters_info, then packets and bytes of each entry


class Raw(Struct, frozen=True):
    """A table as the kernel gives it. Offsets of chains are by hook, 0 where it has none."""

    hooks: int
    """A bit for each."""
    starts: Sequence[int]
    ends: Sequence[int]
    number: int
    """Of entries."""
    entries: bytes


class NoTable(KernelRefused):
    """The kernel was built without that table."""


def require(family: Family, table: str) -> None:
    """Have the kernel make the table, unless it exists. Raises NoTable, or KernelRefused without
    the privilege.
    """
    size(family, table)


def names(family: Family) -> list[str]:
    """Return the tables that have been used in this namespace. Reading one creates it."""
    name = "ip_tables_names" if family is Family.IPV4 else "ip6_tables_names"
    try:
        return Path(f"/proc/thread-self/net/{name}").read_text().split()
    except OSError:  # no legacy support in this kernel, or no permission to read it
        return []


def sizes(family: Family, tables: Iterable[str]) -> tuple[int, ...]:
    """Return the numbers of entries and bytes of each table, 0 for one that does not exist."""
    present = names(family)
    found: list[int] = []
    for table in tables:
        found += size(family, table) if table in present else (0, 0)
    return tuple(found)


def size(family: Family, table: str) -> tuple[int, int]:
    """Return the numbers of entries and bytes of a table, which is created if it does not exist.
    Raises KernelRefused.
    """
    fields = _all_info(family, table)
    return fields[-2], fields[-1]


def _all_info(family: Family, table: str) -> tuple[int, ...]:
    """Return the hooks, the offsets for each, and the numbers of entries and bytes of one table."""
    head = _INFO.pack(table.encode(), *([0] * 13))
    return _INFO.unpack(_answer(family, _SO_GET_INFO, head, _INFO.size))[1:]


def entries(family: Family, table: str) -> bytes:
    """Return a table as the kernel has it: a chain's name is in the entry before its first rule."""
    return whole(family, table).entries


def whole(family: Family, table: str) -> Raw:
    """Return a table, which is created if it does not exist. Raises KernelRefused."""
    hooks, *offsets, number, length = _all_info(family, table)
    head = _ENTRIES.pack(table.encode(), length)
    answer = _answer(family, _SO_GET_ENTRIES, head, _ENTRIES.size + length)
    return Raw(hooks, offsets[:5], offsets[5:], number, answer[_ENTRIES.size :])


def replace(family: Family, message: bytes) -> None:
    """Put other entries into a table: a struct ipt_replace or ip6t_replace. Raises OSError."""
    _set(family, _SO_SET_REPLACE, message)


def add_counters(family: Family, table: str, counters: Sequence[bytes]) -> None:
    """Add packets and bytes (struct xt_counters) to each entry of a table. Raises OSError."""
    message = _ADDED.pack(table.encode(), len(counters)) + b"".join(counters)
    _set(family, _SO_SET_ADD_COUNTERS, message)


def _set(family: Family, option: int, message: bytes) -> None:
    with _socket(family) as raw:
        raw.setsockopt(_LEVELS[family], option, message)


def _socket(family: Family) -> socket.socket:
    return socket.socket(family.socket_family, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _answer(family: Family, option: int, head: bytes, size: int) -> bytes:
    """Return the buffer that getsockopt fills. It begins with `head`, which names the table."""
    import ctypes  # the nft variant does not need it

    libc = ctypes.CDLL(None, use_errno=True)
    with _socket(family) as raw:
        for _ in range(_TRIES):
            buffer = ctypes.create_string_buffer(head, size)
            length = ctypes.c_uint32(size)
            arguments = (_LEVELS[family], option, buffer, ctypes.byref(length))
            if not libc.getsockopt(raw.fileno(), *arguments):
                return buffer.raw
            if (code := ctypes.get_errno()) != errno.EFAULT:
                break
    kind = NoTable if code in _NO_TABLE else KernelRefused
    raise kind(f"cannot read a legacy table: {os.strerror(code)}")
