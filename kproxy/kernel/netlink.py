"""Netlink with many requests in one send, and one wait for all of them.

A message of pyroute2 takes half a millisecond to make, and a cold start of ipvs mode needs tens of
thousands. So frequent requests are packed with `struct` here.
Source: linux/netlink.h; man 7 netlink.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, Self, TypeAlias

from kproxy.errors import KernelRefused, Unsupported

NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER, NETLINK_GENERIC = 0, 4, 12, 16
CREATE, EXCL = 0x400, 0x200  # NLM_F_

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_DUMP_INTERRUPTED = 0x10
_ERROR, _DONE = 2, 3  # NLMSG_
_SNDBUFFORCE, RCVBUFFORCE = 32, 33  # of SOL_SOCKET, beyond net.core.wmem_max, rmem_max
SOL_NETLINK, _CAP_ACK, _EXT_ACK, _GET_STRICT_CHK = 270, 10, 11, 12
_EXT_ACK_MESSAGE = 1  # NLMSGERR_ATTR_MSG

_HEADER = struct.Struct("=LHHLL")
_ATTRIBUTE = struct.Struct("=HH")
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
_CHUNK_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 22
RECEIVE_BYTES = 1 << 16
_DUMP_ATTEMPTS = 10

_NEEDS_ROOT = "run as root; in a container with --privileged, or with the capability CAP_NET_ADMIN"


class Request(NamedTuple):
    """One netlink message to send."""

    kind: int
    body: bytes
    """Begins with the header of the family."""
    what: tuple[object, ...]
    """Words for an error message, joined by blanks."""
    flags: int = 0
    fine: frozenset[int] = frozenset()
    """Errors (errno) that count as success."""
    remedy: str = ""
    """What to do if the kernel does not support it."""


_Name: TypeAlias = tuple[tuple[object, ...], str]  # `what` and `remedy` of a request


class Packed(NamedTuple):
    """Requests in one message."""

    message: bytearray
    first: int
    """The sequence number of the first."""
    names: list[_Name]


class Netlink:
    """A netlink socket in the namespace of the thread that opened it. A context manager."""

    def __init__(self, protocol: int, errors: Mapping[int, str] | None = None) -> None:
        """Open the socket. `errors`: words for the codes beyond errno that some families have."""
        self._errors = errors or {}
        self._sequence = 0
        self._send_room = 1 << 17
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.setsockopt(SOL_NETLINK, _CAP_ACK, 1)  # errors without the whole request
        self._socket.setsockopt(SOL_NETLINK, _EXT_ACK, 1)  # but with the kernel's own words
        # Room for the errors of a whole chunk: all of them wait before the first one is read.
        with suppress(PermissionError):  # root of a user namespace has only the default
            self._socket.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, _BUFFER_BYTES)

    def be_strict(self) -> None:
        """Make dumps honour the filter in the request. NETLINK_ROUTE only."""
        self._socket.setsockopt(SOL_NETLINK, _GET_STRICT_CHK, 1)

    def send(self, requests: Iterable[Request]) -> None:
        """Have all requests carried out, in order. A failure does not stop those after it.

        Raises KernelRefused with the first failures, Unsupported without the privilege.
        """
        failures: list[str] = []
        chunk: list[bytes] = []
        asked: list[Request] = []
        size = 0
        for request in requests:
            self._sequence += 1
            chunk.append(_message(request, self._sequence, request.flags | _REQUEST))
            asked.append(request)
            size += len(chunk[-1])
            if size >= _CHUNK_BYTES:
                failures += self._exchange(chunk, asked)
                chunk, asked, size = [], [], 0
        if chunk:
            failures += self._exchange(chunk, asked)
        if failures:
            raise KernelRefused(_some(failures))

    def send_at_once(self, requests: Iterable[Request]) -> None:
        """Send all requests in one message, for the family to carry out by its own rules.

        For families that answer with errors only, and before the call returns.
        Raises KernelRefused with the first failures, Unsupported without the privilege.
        """
        self.send_packed(self.pack(requests))

    def pack(self, requests: Iterable[Request]) -> Packed:
        """Return the requests as one message for `send_packed`, without keeping them."""
        first = self._sequence + 1
        message = bytearray()
        names: list[_Name] = []
        for sequence, (kind, body, what, flags, _, remedy) in enumerate(requests, first):
            message += _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, sequence, 0)
            message += body
            names.append((what, remedy))
        self._sequence += len(names)
        return Packed(message, first, names)

    def send_packed(self, packed: Packed) -> None:
        """Send what `pack` of this socket returned. See `send_at_once`."""
        message, first, names = packed
        if len(message) > self._send_room:
            self._send_room = len(message)
            self._socket.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, len(message))
        self._socket.send(message)
        failures: list[str] = []
        with suppress(BlockingIOError):
            while True:
                for _, _, sequence, body in messages(
                    self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
                ):
                    if 0 <= sequence - first < len(names) and (code := _code(body)):
                        what, remedy = names[sequence - first]
                        request = Request(0, b"", what, remedy=remedy)
                        failures.append(self._complaint(request, code, body))
        if failures:
            raise KernelRefused(_some(failures))

    def ask(self, request: Request) -> memoryview:
        """Return the body of the one answer."""
        self._sequence += 1
        self._socket.send(_message(request, self._sequence, request.flags | _REQUEST))
        while True:
            for kind, _, _, body in self._receive():
                if kind == _ERROR:
                    raise KernelRefused(self._complaint(request, _code(body), body))
                return body

    def dump(self, request: Request) -> list[memoryview]:
        """Return the bodies of all answers. Asks again if the kernel's list changed meanwhile."""
        for _ in range(_DUMP_ATTEMPTS):
            self._sequence += 1
            self._socket.send(_message(request, self._sequence, request.flags | _REQUEST | _DUMP))
            answers, whole = self._collect(request)
            if whole:
                return answers
        raise KernelRefused(f"{_words(request)}: it changes faster than it can be read")

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        """Close the socket of an owner that is garbage collected."""
        with suppress(AttributeError):  # it could not be opened
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, chunk: list[bytes], asked: list[Request]) -> list[str]:
        """Send, wait for the answer to the last request, and return the failures."""
        last = _message(asked[-1], self._sequence, asked[-1].flags | _REQUEST | _ACK)
        self._socket.send(b"".join((*chunk[:-1], last)))
        failures: list[str] = []
        while True:
            try:
                answers = self._receive(len(asked))
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # The answer to the last one may be lost, too. What waits must be read, else the
                # kernel would silently drop the next answers.
                with suppress(BlockingIOError):
                    while True:
                        self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
                return [*failures, f"{_words(asked[0])} ...: so many errors that some were lost"]
            for _, _, sequence, body in answers:
                request = asked[sequence - self._sequence - 1]
                code = _code(body)
                if code and code not in request.fine:
                    failures.append(self._complaint(request, code, body))
                if sequence == self._sequence:
                    return failures

    def _collect(self, request: Request) -> tuple[list[memoryview], bool]:
        """Return the answers, and whether they show one state of the list."""
        found: list[memoryview] = []
        whole = True
        while True:
            for kind, flags, _, body in self._receive():
                whole = whole and not flags & _DUMP_INTERRUPTED
                if kind in (_ERROR, _DONE):
                    code = _code(body)
                    if code and code not in request.fine:
                        raise KernelRefused(self._complaint(request, code, body))
                    return found, whole
                found.append(body)

    def _receive(self, requests: int = 1) -> list[tuple[int, int, int, memoryview]]:
        """Return kind, flags, sequence number and body of messages that answer the last `requests`.

        Others may wait, if an error was raised before all answers were read; they are dropped.
        """
        first = self._sequence - requests + 1
        received = messages(self._socket.recv(RECEIVE_BYTES))
        return [message for message in received if message[2] >= first]

    def _complaint(self, request: Request, code: int, body: memoryview) -> str:
        """Return an error message. Raises Unsupported if what it needs is missing."""
        message = f"{_words(request)}: {self._errors.get(code) or os.strerror(code)}"
        if code == errno.EPERM:
            raise Unsupported(message, remedy=_NEEDS_ROOT)
        if code == errno.EOPNOTSUPP and request.remedy:
            raise Unsupported(message, remedy=request.remedy)
        # nlmsgerr: the code, the header of the request, then (with NETLINK_CAP_ACK) attributes.
        for kind, payload in attributes(body[4 + _HEADER.size :]):
            if kind == _EXT_ACK_MESSAGE:
                return f"{message} ({bytes(payload).rstrip(bytes(1)).decode(errors='replace')})"
        return message


def attribute(kind: int, payload: bytes) -> bytes:
    """Return an attribute with its header, padded to a multiple of four bytes."""
    length = len(payload)
    return _ATTRIBUTE.pack(4 + length, kind) + payload + _PADDING[length & 3]


def attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield kind and payload of each attribute, without the flags in the kind."""
    position = 0
    while position + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < 4:
            return
        yield kind & 0x3FFF, data[position + 4 : position + length]
        position += (length + 3) & ~3


def _some(failures: list[str]) -> str:
    more = f"\n... and {len(failures) - 3} more" if len(failures) > 3 else ""
    return "\n".join(failures[:3]) + more


def _message(request: Request, sequence: int, flags: int) -> bytes:
    length = _HEADER.size + len(request.body)
    return _HEADER.pack(length, request.kind, flags, sequence, 0) + request.body


def messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield kind, flags, sequence number and body of each message."""
    view = memoryview(data)
    position = 0
    while position + _HEADER.size <= len(view):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(view, position)
        if length < _HEADER.size:
            return
        yield kind, flags, sequence, view[position + _HEADER.size : position + length]
        position += (length + 3) & ~3


def _code(body: memoryview) -> int:
    code: int = struct.unpack_from("=i", body)[0]
    return -code


def _words(request: Request) -> str:
    return " ".join(map(str, request.what))
