"""Named packet counters of netfilter (nfacct), which rules of either iptables variant may count on.

Spoken over netlink, as the `nfacct` program does; it need not be installed.
Source: linux/netfilter/nfnetlink_acct.h
"""

from __future__ import annotations

import errno
import os
import socket
import struct

_NETLINK_NETFILTER = 12
_NEW, _DELETE = (7 << 8) | 0, (7 << 8) | 3  # NFNL_SUBSYS_ACCT, NFNL_MSG_ACCT_NEW and _DEL
_REQUEST, _ACK, _CREATE, _EXCL = 0x1, 0x4, 0x400, 0x200
_ATTR_NAME = 1


def ensure_counter(name: str) -> bool:
    """Create the counter if it is missing. False if this kernel has no such counters.

    `name` is at most 31 characters.
    """
    code = _talk(_NEW, name, _REQUEST | _ACK | _CREATE | _EXCL)
    return code in (0, errno.EEXIST, errno.EBUSY)


def delete_counter(name: str) -> None:
    """Delete the counter, unless a rule still counts on it. It need not be there."""
    _talk(_DELETE, name, _REQUEST | _ACK)


def _talk(kind: int, name: str, flags: int) -> int:
    """The errno the kernel answers with, 0 for success."""
    text = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(text), _ATTR_NAME) + text
    attribute += b"\0" * (-len(attribute) % 4)
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0) + attribute
    message = struct.pack("=LHHLL", 16 + len(body), kind, flags, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.send(message)
        answer = netlink.recv(8192)
    if struct.unpack_from("=H", answer, 4)[0] != 2:  # anything but NLMSG_ERROR
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    code: int = -struct.unpack_from("=i", answer, 16)[0]
    return code
