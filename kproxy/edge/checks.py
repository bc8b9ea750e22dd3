"""One health check: a socket that connects, perhaps asks, and is read until the answer is clear."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct

from kproxy.edge.listeners import Asks, Target, destination
from kproxy.forwarding.plan import Family
from kproxy.kernel.netns import Namespace

_ANSWER_MAX_BYTES = 64  # more than a status line needs
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # as load balancers do: nothing lingers at either end


class Check:
    """Made in the namespace of a load balancer. Feed it with `advance` when its socket is ready.

    `result`: "" for success, else what was wrong; None while it goes on.
    """

    def __init__(self, target: Target, namespace: Namespace, source: str, deadline: float) -> None:
        """`source`: the address it comes from. `deadline`: when it has failed, for the caller.

        Raises OSError if it fails at once.
        """
        self.target = target
        self.deadline = deadline
        self.result: str | None = None
        self._request = b""
        self._answer = b""
        family = Family.IPV6 if ":" in target.address else Family.IPV4
        if target.asks is Asks.HTTP:
            host = destination(family, target.address, target.port)
            request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            self._request = request.encode()
        kind = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
        with namespace.entered():
            self.socket = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.socket.bind((source, 0))
            code = self.socket.connect_ex((target.address, target.port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            self.close()
            raise

    @property
    def events(self) -> int:
        """What to wait for."""
        asked = self.target.asks is Asks.HTTP and not self._request
        return selectors.EVENT_READ if asked else selectors.EVENT_WRITE

    def advance(self) -> None:
        try:
            self._advance()
        except BlockingIOError:
            pass
        except OSError as error:
            self.result = os.strerror(error.errno or errno.EIO)

    def close(self) -> None:
        self.socket.close()

    def _advance(self) -> None:
        if self.events == selectors.EVENT_READ:
            received = self.socket.recv(_ANSWER_MAX_BYTES)
            self._answer += received
            if not received or b"\r\n" in self._answer or len(self._answer) > _ANSWER_MAX_BYTES:
                status = self._answer.partition(b"\r\n")[0].decode(errors="replace")
                self.result = "" if status.split(" ")[1:2] == ["200"] else f"answer {status!r}"
            return
        if code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.result = os.strerror(code)
        elif self._request:
            self._request = self._request[self.socket.send(self._request) :]
        else:
            self.result = ""
