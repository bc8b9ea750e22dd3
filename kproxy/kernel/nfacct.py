"""Named packet counters of netfilter (nfacct), for rules of either iptables variant.

They are made over netlink, as by the `nfacct` program, which need not be installed.
Source: linux/netfilter/nfnetlink_acct.h
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress

from kproxy.errors import KernelRefused
from kproxy.kernel.netlink import CREATE, EXCL, NETLINK_NETFILTER, Netlink, Request, attribute

_NEW, _DELETE = (7 << 8) | 0, (7 << 8) | 3  # NFNL_SUBSYS_ACCT, NFNL_MSG_ACCT_NEW and _DEL
_ATTR_NAME = 1


def ensure_counter(name: str) -> bool:
    """Create the counter if it is missing. Return False if this kernel has no such counters.

    `name` is at most 31 characters.
    """
    try:
        _ask(_NEW, ("add counter", name), CREATE | EXCL)
    except KernelRefused:
        return False
    return True


def delete_counter(name: str) -> None:
    """Delete the counter if it exists and no rule uses it."""
    with suppress(KernelRefused):
        _ask(_DELETE, ("delete counter", name))


def _ask(kind: int, what: tuple[str, str], flags: int = 0) -> None:
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
    body += attribute(_ATTR_NAME, what[1].encode() + b"\0")
    fine = frozenset([errno.EEXIST, errno.EBUSY])
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.send([Request(kind, body, what, flags, fine)])
