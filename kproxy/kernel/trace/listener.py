"""A netlink socket of netfilter for messages that the kernel sends unasked."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.netlink import (
    NETLINK_NETFILTER,
    RCVBUFFORCE,
    RECEIVE_BYTES,
    SOL_NETLINK,
    Netlink,
    messages,
)

FAMILY_NAMES = {1: "inet", 2: "ip", 10: "ip6"}  # NFPROTO_, as nft names them

_ADD_MEMBERSHIP = 1


class Listener(Netlink):
    """A socket in the namespace of the calling thread, with room for `buffer_bytes` of messages."""

    def __init__(self, buffer_bytes: int) -> None:
        super().__init__(NETLINK_NETFILTER)
        self._buffer_bytes = buffer_bytes
        self._names: dict[int, str] = {}
        with suppress(PermissionError):  # root of a user namespace has only the default
            self._socket.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, buffer_bytes)

    def join(self, *groups: int) -> None:
        """Receive the messages of these multicast groups. To be called once. Raises Unsupported."""
        try:
            self._socket.bind((0, 0))  # the kernel skips a socket without a port number
            for group in groups:
                self._socket.setsockopt(SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            raise Unsupported(
                f"cannot listen to netfilter: {error.strerror}",
                remedy="run as root; the kernel needs nf_tables",
            ) from None

    def heard(self, kind: int) -> Iterator[memoryview]:
        """Yield the bodies of the messages of this kind that have been received. Never blocks.

        Raises KernelRefused if there were more than the buffer could hold; then all are dropped.
        """
        return (body for _, body in self.heard_of((kind,)))

    def heard_of(self, kinds: Collection[int]) -> Iterator[tuple[int, memoryview]]:
        """Do the same as `heard` for several kinds, and yield also the kind of each."""
        self._names.clear()
        try:
            while True:
                received = self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
                yield from (
                    (kind, body) for kind, _, _, body in messages(received) if kind in kinds
                )
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        self.discard()
        raise KernelRefused(
            f"steps of traced packets were lost: they did not fit into {self._buffer_bytes} bytes",
            remedy="read more often, or send fewer packets at once",
        )

    def discard(self) -> None:
        """Discard all messages that have been received, or have not fitted into the buffer."""
        while True:
            try:
                self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def link_name(self, index: memoryview | None) -> str:
        """Return the name of the link with this index, "" for none or one that was removed."""
        number = int.from_bytes(index or b"", "big")
        if number not in self._names:
            try:
                self._names[number] = socket.if_indextoname(number)
            except OSError:
                self._names[number] = ""
        return self._names[number]


def text(value: memoryview) -> str:
    """Return a string from the kernel without its final zero byte."""
    return bytes(value).rstrip(b"\0").decode(errors="replace")
