"""Sizes and raw entries of legacy tables, read without a process.

Source: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from kproxy.address import Family
from kproxy.errors import KernelRefused

_SO_GET_INFO, _SO_GET_ENTRIES = 64, 65  # IPT_SO_* and IP6T_SO_*
_NO_TABLE = (errno.ENOENT, errno.ENOPROTOOPT)  # no module for the table, or for any
_INFO = struct.Struct("=32sI5I5III")  # struct ipt_getinfo
_ENTRIES = struct.Struct("@32sI0Q")  # struct ipt_get_entries, then the entries


class NoTable(KernelRefused):
    """The kernel was built without that table."""


def require(family: Family, table: str) -> None:
    """Have the kernel make the table, unless it exists. Raises NoTable, or KernelRefused without
    the privilege.
    """
    _info(family, table)


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
        found += _info(family, table) if table in present else (0, 0)
    return tuple(found)


def _info(family: Family, table: str) -> tuple[int, int]:
    """Return the numbers of entries and bytes of one table."""
    head = _INFO.pack(table.encode(), *([0] * 13))
    fields = _INFO.unpack(_answer(family, _SO_GET_INFO, head, _INFO.size))
    return int(fields[-2]), int(fields[-1])


def entries(family: Family, table: str) -> bytes:
    """Return a table as the kernel has it: a chain's name is in the entry before its first rule."""
    size = _info(family, table)[1]
    head = _ENTRIES.pack(table.encode(), size)
    return _answer(family, _SO_GET_ENTRIES, head, _ENTRIES.size + size)


def _answer(family: Family, option: int, head: bytes, size: int) -> bytes:
    """Return the buffer that getsockopt fills. It begins with `head`, which names the table."""
    import ctypes  # the nft variant does not need it

    level = socket.IPPROTO_IP if family is Family.IPV4 else socket.IPPROTO_IPV6
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(head, size)
    length = ctypes.c_uint32(size)
    with socket.socket(family.socket_family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        if libc.getsockopt(raw.fileno(), level, option, buffer, ctypes.byref(length)):
            code = ctypes.get_errno()
            kind = NoTable if code in _NO_TABLE else KernelRefused
            raise kind(f"cannot read a legacy table: {os.strerror(code)}")
    return buffer.raw
