"""The control socket of a lab: requests of other commands, answered by the lab's process.

A request is one line of JSON, `{"do": NAME, ...}`; so is the answer, which may come with
descriptors. An answer `{"problems": [...]}` is a BadInput of the one who asks. The socket is in the
lab's place, so only its owner can reach it.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kproxy.errors import BadInput, KproxyError, Unreachable
from kproxy.resident.records import SOCKET

_LONGEST = 1 << 16  # bytes of a request
_MOST_DESCRIPTORS = 4
_TIMEOUT_S = 30.0


class Reply(NamedTuple):
    """An answer. `descriptors` are the receiver's to close; `then` goes on with the
    connection: it sends nothing before the caller does.
    """

    values: Mapping[str, Any]
    descriptors: Sequence[int] = ()
    then: Callable[[socket.socket], object] = lambda _: None


Handler = Callable[[Mapping[str, Any]], Reply]


class ControlServer:
    """Answers requests until it is closed, each in a thread of its own: some wait for the lab."""

    def __init__(self, folder: int, handlers: Mapping[str, Handler]) -> None:
        """Listen in a place, an open `folder`. A handler may raise KproxyError; that is the answer
        then.
        """

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False

        class Conversation(socketserver.StreamRequestHandler):
            timeout = _TIMEOUT_S

            def handle(self) -> None:
                _answer(self.connection, self.rfile.readline(_LONGEST), handlers)

        # By way of the folder: the path of a socket has at most 107 bytes.
        self._server = Server(f"/proc/self/fd/{folder}/{SOCKET}", Conversation)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="kproxy-control-socket", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def ask(place: Path, request: Mapping[str, Any], *, timeout_s: float = _TIMEOUT_S) -> Reply:
    """Return the answer of the lab at `place`.

    Raises Unreachable if it does not answer, BadInput or another KproxyError as it says.
    """
    with _connected(place) as connection:
        connection.settimeout(timeout_s)
        return _asked(place, connection, request)


@contextmanager
def converse(place: Path, request: Mapping[str, Any]) -> Iterator[socket.socket]:
    """Yield the connection after the lab's answer. Raises what `ask` raises."""
    with _connected(place) as connection:
        connection.settimeout(_TIMEOUT_S)
        _asked(place, connection, request)
        yield connection


def _asked(place: Path, connection: socket.socket, request: Mapping[str, Any]) -> Reply:
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        data, descriptors, _, _ = socket.recv_fds(
            connection, _LONGEST, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        while not data.endswith(b"\n"):
            more = connection.recv(_LONGEST)
            if not more:
                raise ConnectionResetError("the answer breaks off")
            data += more
    except OSError as error:
        raise _silent(place, error) from None
    values = json.loads(data)
    if "problems" in values:
        raise BadInput(values["problems"], remedy=values["remedy"])
    if "error" in values:
        raise KproxyError(values["error"], remedy=values["remedy"])
    return Reply(values, descriptors)


def _connected(place: Path) -> socket.socket:
    """Return a connection to the lab at `place`. Raises Unreachable."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)
    except OSError as error:
        connection.close()
        raise _silent(place, error) from None
    return connection


def _silent(place: Path, error: OSError) -> Unreachable:
    return Unreachable(f"lab {place.name} does not answer: {error.strerror or error}")


def _answer(connection: socket.socket, line: bytes, handlers: Mapping[str, Handler]) -> None:
    reply = Reply({})
    try:
        request = json.loads(line)
        if not isinstance(request, dict) or request.get("do") not in handlers:
            raise BadInput([f"a lab can do {', '.join(handlers)}"])
        reply = handlers[request["do"]](request)
        values = reply.values
    except ValueError:
        values = {"problems": ["the request is no JSON"], "remedy": ""}
    except BadInput as error:
        values = {"problems": error.problems, "remedy": error.remedy}
    except KproxyError as error:
        values = {"error": str(error), "remedy": error.remedy}
    data = json.dumps(values).encode() + b"\n"
    try:
        sent = socket.send_fds(connection, [data], reply.descriptors)
        connection.sendall(data[sent:])
        connection.settimeout(None)
        reply.then(connection)
    except (BrokenPipeError, ConnectionResetError):  # nobody waits any more
        return
    finally:
        for descriptor in reply.descriptors:
            os.close(descriptor)
