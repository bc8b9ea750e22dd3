"""One question to a server over TCP: connect, perhaps ask, read the answer, in a given time.

The common part of load balancers' health checks and of readiness probes.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable

from kproxy.address import socket_family
from kproxy.kernel.netns import Namespace
from kproxy.loop.reactor import Connection, Reactor

_RECEIVE_MAX_BYTES = 4096
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # as load balancers do: no TIME_WAIT at either end


class Check:
    """A question under way. It is created and used in the thread of a reactor.

    `connected`: the server has accepted. `error`: the network's error, "" if there was none.
    `timed_out`: it took too long. `answer`: the bytes received so far.
    """

    def __init__(
        self,
        reactor: Reactor,
        namespace: Namespace,
        address: str,
        port: int,
        done: Callable[[Check], object],
        *,
        timeout_s: float,
        source: str = "",
        request: bytes = b"",
        enough: Callable[[bytes], bool] = bool,
    ) -> None:
        """Ask from `namespace`. `done` is called once, with this check, when it is over and closed.

        `source`: the source address; "" lets the kernel choose. Without a `request` the check is
        over once connected. `enough` tells whether the part received so far will do as the answer.

        Raises OSError if it fails at once, KernelRefused, Unsupported; `done` is not called then.
        """
        self.connected = self.timed_out = False
        self.error = ""
        self.answer = b""
        self._asks = bool(request)
        self._request = request
        self._enough = enough
        self._done = done
        with namespace.entered():
            sock = socket.socket(socket_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            if source:
                sock.bind((source, 0))
            code = sock.connect_ex((address, port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            sock.close()
            raise
        self._reactor = reactor
        self._connection = Connection(reactor, sock)
        self._connection.when_writable(self._write)
        self._timer = reactor.at(time.monotonic() + timeout_s, self._time_out)

    def close(self) -> None:
        """Stop the check without calling `done`. Harmless when repeated, or when it is over."""
        self._timer.cancel()
        self._connection.close()

    def extend(self, seconds: float) -> None:
        """Move the time-out so much later. Must not be called when the check is over."""
        self._timer.cancel()
        self._timer = self._reactor.at(self._timer.when() + seconds, self._time_out)

    def _write(self) -> None:
        sock = self._connection.sock
        try:
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
            self.connected = True
            if self._request:
                self._request = self._request[sock.send(self._request) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        if not self._asks:
            self._end()
        elif not self._request:
            self._connection.when_readable(self._read)

    def _read(self) -> None:
        try:
            received = self._connection.sock.recv(_RECEIVE_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        self.answer += received
        if not received or self._enough(self.answer):
            self._end()

    def _time_out(self) -> None:
        self.timed_out = True
        self._end()

    def _fail(self, error: OSError) -> None:
        self.error = os.strerror(error.errno or errno.EIO)
        self._end()

    def _end(self) -> None:
        self.close()
        self._done(self)
