"""A client of a lab's API that costs as little as can be: what is measured is the server."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from kproxy.errors import Unreachable
from kproxy.resident.kubeconfig import read_access, tls_context

_TIMEOUT_S = 120.0
_CHUNK = 1 << 18


class Server(NamedTuple):
    """Where an API is, whom to trust, and the token."""

    host: str
    port: int
    tls: ssl.SSLContext
    token: str

    @classmethod
    def of(cls, kubeconfig: Path) -> Self:
        """Read the kubeconfig of a lab."""
        access = read_access(kubeconfig)
        place = urlsplit(access.url)
        return cls(str(place.hostname), int(place.port or 443), tls_context(access), access.token)

    def request(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> bytes:
        """Return a request as it is sent."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nAccept: application/json\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Length: {len(body)}\r\n"
        )
        if body:
            head += f"Content-Type: {content_type}\r\n"
        return f"{head}\r\n".encode() + body


class Connection:
    """One connection, for one request after the other. A context manager."""

    def __init__(self, server: Server) -> None:
        self._server = server
        plain = socket.create_connection((server.host, server.port), timeout=_TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = server.tls.wrap_socket(plain, server_hostname=server.host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> bytes:
        """Return the body of the answer. Raises Unreachable if it is refused or breaks off."""
        self._socket.sendall(self._server.request(method, path, body, content_type))
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if not found:
            raise Unreachable(f"{method} {path}: an answer of unknown length")
        pieces, missing = [data[end + 4 :]], int(rest.partition(b"\r\n")[0]) - len(data) + end + 4
        while missing > 0:
            pieces.append(self._more())
            missing -= len(pieces[-1])
        answer = b"".join(pieces)
        if head.split(b" ", 2)[1][:1] != b"2":
            raise Unreachable(f"{method} {path}: {answer.decode(errors='replace')}")
        return answer

    def _more(self) -> bytes:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise Unreachable("the API has closed the connection")
        return data


class Watcher(asyncio.Protocol):
    """A watch that notes when it sees a text in its stream, such as a value that is written now."""

    def __init__(self, server: Server, path: str) -> None:
        self._request = server.request("GET", path)
        self._unread = b""
        self._wanted = b""
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        self.seen: asyncio.Future[None] = loop.create_future()

    def expect(self, text: bytes) -> asyncio.Future[None]:
        """Return what is done when this text has come."""
        self._wanted, self._unread = text, b""
        self.seen = asyncio.get_running_loop().create_future()
        return self.seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.started.done():
            self.started.set_result(None)
        self._unread += data
        if self._wanted and self._wanted in self._unread and not self.seen.done():
            self.seen.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        error = Unreachable(f"a watch has ended: {exc or 'closed by the API'}")
        for each in (self.started, self.seen):
            if not each.done():
                each.set_exception(error)
                each.exception()  # nobody may be waiting


def document(kind: str, name: str, **parts: Any) -> bytes:
    """Return an object of the API group "" as JSON."""
    return json.dumps(
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **parts}
    ).encode()
