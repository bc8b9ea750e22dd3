"""One check of a server over TCP: a socket that connects, perhaps asks, and reads the answer.

What load balancers' health checks and readiness probes have in common. Nothing here waits: whoever
has a selector feeds a `Check` until it is over, and judges.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
from collections.abc import Callable

from kproxy.address import socket_family
from kproxy.kernel.netns import Namespace

_RECEIVE_MAX_BYTES = 4096
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # as load balancers do: nothing lingers at either end


class Check:
    """Made in the namespace it asks from. Feed it with `advance` when its socket is ready.

    `over`: nothing more will come. `connected`: the server has accepted. `error`: why the network
    let it fail, "" if it did not. `answer`: what has come so far.
    """

    def __init__(
        self,
        namespace: Namespace,
        address: str,
        port: int,
        *,
        source: str = "",
        request: bytes = b"",
        enough: Callable[[bytes], bool] = bool,
    ) -> None:
        """`source`: the address it comes from; "" lets the kernel choose. Without a `request` it is
        over once connected. `enough`: whether an answer, or the part that came, will do.

        Raises OSError if it fails at once, KernelRefused and Unsupported.
        """
        self.over = self.connected = False
        self.error = ""
        self.answer = b""
        self._asks = bool(request)
        self._request = request
        self._enough = enough
        with namespace.entered():
            self.socket = socket.socket(
                socket_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK
            )
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            if source:
                self.socket.bind((source, 0))
            code = self.socket.connect_ex((address, port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            self.close()
            raise

    @property
    def events(self) -> int:
        """What to wait for."""
        asked = self._asks and not self._request
        return selectors.EVENT_READ if asked else selectors.EVENT_WRITE

    def advance(self) -> None:
        try:
            self._advance()
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(error.errno or errno.EIO)

    def close(self) -> None:
        """End it, over or not."""
        self.socket.close()

    def _advance(self) -> None:
        if self.events == selectors.EVENT_READ:
            received = self.socket.recv(_RECEIVE_MAX_BYTES)
            self.answer += received
            self.over = not received or self._enough(self.answer)
        elif code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._fail(code)
        else:
            self.connected = True
            self.over = not self._asks
            self._request = self._request[self.socket.send(self._request) :] if self._asks else b""

    def _fail(self, code: int) -> None:
        self.error = os.strerror(code)
        self.over = True
