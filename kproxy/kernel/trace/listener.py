"""A netlink socket of netfilter for messages that nobody asked for."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.netlink import NETLINK_NETFILTER, Netlink

FAMILY_NAMES = {1: "inet", 2: "ip", 10: "ip6"}  # NFPROTO_, as nft names them

_RCVBUFFORCE = 33  # of SOL_SOCKET, beyond net.core.rmem_max
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_RECEIVE_BYTES = 1 << 16
_HEADER = struct.Struct("=LHHLL")


class Listener(Netlink):
    """In the namespace of the calling thread. What it hears waits in a buffer of `buffer_bytes`."""

    def __init__(self, buffer_bytes: int) -> None:
        super().__init__(NETLINK_NETFILTER)
        self._buffer_bytes = buffer_bytes
        self._names: dict[int, str] = {}
        with suppress(PermissionError):  # root of a user namespace has to do with the default
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, buffer_bytes)

    def join(self, group: int) -> None:
        """Hear what the kernel tells this multicast group. Raises Unsupported."""
        try:
            self._socket.bind((0, 0))  # one without a number is passed over
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            raise Unsupported(
                f"cannot listen to netfilter: {error.strerror}",
                remedy="run as root; the kernel needs nf_tables",
            ) from None

    def heard(self, kind: int) -> Iterator[memoryview]:
        """The bodies of the messages of this kind that wait. Never waits itself.

        Raises KernelRefused if there were more than the buffer could hold; then none are left.
        """
        self._names.clear()
        try:
            while True:
                yield from _bodies(self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT), kind)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        raise KernelRefused(
            f"steps of traced packets were lost: {self._buffer_bytes} bytes do not hold them",
            remedy="read more often, or send fewer packets at once",
        )

    def link_name(self, index: memoryview | None) -> str:
        """Of the link with this index: "" for none, and for one that is gone."""
        number = int.from_bytes(index or b"", "big")
        if number not in self._names:
            try:
                self._names[number] = socket.if_indextoname(number)
            except OSError:
                self._names[number] = ""
        return self._names[number]


def _bodies(data: bytes, kind: int) -> Iterator[memoryview]:
    view = memoryview(data)
    position = 0
    while position + _HEADER.size <= len(view):
        length, found, *_ = _HEADER.unpack_from(view, position)
        if found == kind:
            yield view[position + _HEADER.size : position + length]
        position += max(_HEADER.size, (length + 3) & ~3)


def text(value: memoryview) -> str:
    """A string as the kernel writes it."""
    return bytes(value).rstrip(b"\0").decode(errors="replace")
