"""A server on loopback, over TLS if wanted, that answers byte for byte what a test tells it to, and
a proxy in front of it.
"""

from __future__ import annotations

import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import RawIOBase
from typing import BinaryIO, Self
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from kproxy.address import host_port
from tests.kubernetes.certificates import Authority, Pair

PATIENCE_S = 30.0
CUT = b""  # in an answer: the connection ends here, without a word


class Request(Struct, frozen=True):
    """A request. `client`: the common name in the client's certificate. `server_name`: its SNI."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    client: str = ""
    server_name: str = ""


Handler = Callable[[Request], Iterable[bytes]]


def answer(body: bytes = b"{}", status: int = 200, **headers: str) -> Iterable[bytes]:
    lines = [f"HTTP/1.1 {status} Some words", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ["\r\n".join([*lines, "", ""]).encode() + body]


def chunked(*pieces: bytes, end: bool = True) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *map(chunk, pieces), *([b"0\r\n\r\n"] if end else [])]


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class _Server(ABC):
    """Accepts connections, each in a thread of its own, until the end of `with`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        _shut(self._listener)
        self._listener.close()
        for each in self._open:
            _shut(each)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)

    @property
    def address(self) -> str:
        return host_port("127.0.0.1", self.port)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Go does
            self._open.append(accepted)
            self._start(self._guarded, accepted)

    def _guarded(self, accepted: socket.socket) -> None:
        with accepted, suppress(OSError):  # a client that does not accept us, or is gone
            self._serve(accepted)

    @abstractmethod
    def _serve(self, accepted: socket.socket) -> None:
        """Serve one connection, in its thread."""


class ApiServer(_Server):
    """Answers what `handle` returns, piece by piece, and keeps what it was asked in `requests`.

    `pair`: speaks TLS with it. `clients`: asks for a client certificate of this authority.
    """

    def __init__(
        self,
        handle: Handler,
        pair: Pair | None = None,
        clients: Authority | None = None,
        *,
        clients_need_one: bool = False,
    ) -> None:
        super().__init__()
        self._handle = handle
        self.requests: list[Request] = []
        self.connections = 0
        self.gone = threading.Semaphore(0)  # released whenever a client's connection has ended
        self._server_name = ""
        self._tls = None
        if pair:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(pair.certificate, pair.key)
            self._tls.sni_callback = self._named
        if self._tls and clients:
            self._tls.load_verify_locations(clients.certificate)
            self._tls.verify_mode = ssl.CERT_REQUIRED if clients_need_one else ssl.CERT_OPTIONAL

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}"

    @property
    def tokens(self) -> list[str]:
        """The Authorization of each request, "" for none."""
        return [each.headers.get("authorization", "") for each in self.requests]

    def _named(self, _socket: object, name: str | None, _context: object) -> None:
        self._server_name = name or ""

    def _serve(self, accepted: socket.socket) -> None:
        self.connections += 1
        client = ""
        connection = accepted
        if self._tls:
            connection = tls = self._tls.wrap_socket(
                accepted, server_side=True, do_handshake_on_connect=False
            )
            self._open.append(connection)
            try:
                tls.do_handshake()
            except OSError:
                _linger(tls)
                raise
            subject = (tls.getpeercert() or {}).get("subject", ())
            client = "".join(str(part[0][1]) for part in subject)
        try:
            with connection, connection.makefile("rb") as file:
                if not self._tls and file.peek(1)[:1] == b"\x16":  # a client that speaks TLS
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    return
                while request := self._read(file, client):
                    self.requests.append(request)
                    for piece in self._handle(request):
                        if piece == CUT:
                            return
                        connection.sendall(piece)
        finally:
            self.gone.release()

    def _read(self, file: BinaryIO, client: str) -> Request | None:
        head = read_head(file)
        if head is None:
            return None
        method, target, headers = head
        body = file.read(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        return Request(method, parts.path, query, headers, body, client, self._server_name)


class Proxy(_Server):
    """A proxy that makes tunnels. `required`: the Proxy-Authorization that it wants, if any."""

    def __init__(self, required: str = "") -> None:
        super().__init__()
        self._required = required
        self.tunnels: list[str] = []

    def _serve(self, accepted: socket.socket) -> None:
        with accepted.makefile("rb", buffering=0) as file:
            head = read_head(file)
        if head is None:
            return
        method, target, headers = head
        if headers.get("proxy-authorization", "") != self._required:
            accepted.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        assert method == "CONNECT"
        self.tunnels.append(target)
        port = target.rpartition(":")[2]
        # A name need not exist: the tunnel leads to this machine.
        with socket.create_connection(("127.0.0.1", int(port))) as there:
            self._open.append(there)
            accepted.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            self._start(_copy, there, accepted)
            _copy(accepted, there)


def read_head(file: BinaryIO | RawIOBase) -> tuple[str, str, dict[str, str]] | None:
    """Return method, target and headers of a request; None if there is no more."""
    lines = []
    while line := file.readline().strip():
        lines.append(line.decode())
    if not lines:
        return None
    method, target, _ = lines[0].split()
    pairs = [line.partition(":") for line in lines[1:]]
    return method, target, {name.lower(): value.strip() for name, _, value in pairs}


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _linger(tls: ssl.SSLSocket) -> None:
    """Let the client read why it was refused: closing at once might overtake that."""
    with tls:
        socket.socket.shutdown(tls, socket.SHUT_WR)
        while socket.socket.recv(tls, 65536):
            pass


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(each, socket.SHUT_RDWR)
