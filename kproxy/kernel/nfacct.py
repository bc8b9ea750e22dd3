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
from kproxy.kernel.netlink import (
    CREATE,
    EXCL,
    NETLINK_NETFILTER,
    Netlink,
    Request,
    attribute,
    attributes,
)

# NFNL_SUBSYS_ACCT, NFNL_MSG_ACCT_NEW, _GET and _DEL
_NEW, _GET, _DELETE = (7 << 8) | 0, (7 << 8) | 1, (7 << 8) | 3
_ATTR_NAME, _ATTR_PACKETS = 1, 2


def ensure_counter(name: str) -> bool:
    """Create the counter if it is missing. Return False if this kernel has no such counters.

    `name` is at most 31 characters.
    """
    try:
        _ask(_NEW, ("add counter", name), CREATE | EXCL)
    except KernelRefused:
        return False
    return True


def packets() -> dict[str, int]:
    """Return how many packets each counter of the namespace has counted.

    Raises KernelRefused if this kernel has no such counters, Unsupported without the privilege.
    """
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
    with Netlink(NETLINK_NETFILTER) as netlink:
        answers = netlink.dump(Request(_GET, body, ("list counters",)))
    found = (dict(attributes(answer[4:])) for answer in answers)
    return {
        bytes(each[_ATTR_NAME]).rstrip(b"\0").decode(): int.from_bytes(each[_ATTR_PACKETS], "big")
        for each in found
        if _ATTR_NAME in each and _ATTR_PACKETS in each
    }


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
