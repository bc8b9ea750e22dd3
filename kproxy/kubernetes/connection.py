"""Requests and streams to one API server, over HTTP/1.1 with urllib3.

Each stream has a connection of its own; requests share theirs. Nothing is repeated here but one
request after a 401, and no redirect is followed: when to try again is for the caller to decide.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from msgspec import Struct

from kproxy.errors import BadInput, Unreachable
from kproxy.kubernetes.credentials import (
    SERVICE_ACCOUNT,
    Credentials,
    Settings,
    from_kubeconfig,
    from_service_account,
)

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_S = 10.0
CHUNK_BYTES = 262_144
_UNAUTHORIZED = 401
_NO_ANSWER = "<error>"  # instead of a status, as client-go counts it
_WITHOUT_BODY = (204, 304)
_LENGTHS = {"content-length", "transfer-encoding"}
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A peer that is gone is noticed after a minute without traffic, and after 45 s with some.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000),
]


class Answer(Struct, frozen=True):
    """An answer of any status but 401. `headers`: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Requests to one API server. May be used by several threads.

    `kubeconfig` "": the service account of this Pod. `master` overrides the server's URL. With
    `settings` nothing is read. Raises
    BadInput if the configuration is wrong, AccessRefused if a credential plug-in fails. Nothing is
    sent before the first request.

    Each method raises Unreachable if there is no complete answer, and AccessRefused if the server's
    certificate or, also once they were read again, the credentials are not accepted.
    """

    def __init__(
        self,
        kubeconfig: str,
        *,
        master: str = "",
        service_account: Path = SERVICE_ACCOUNT,
        environment: Mapping[str, str] = os.environ,
        settings: Settings | None = None,
    ) -> None:
        def read() -> Settings:
            if settings:
                return settings
            if kubeconfig:
                return from_kubeconfig(Path(kubeconfig), master=master)
            return from_service_account(service_account, environment, master=master)

        self._credentials = Credentials(read)
        self._lock = threading.Lock()
        self._shared: tuple[Settings, PoolManager] | None = None
        # Called by the thread that asks, with status, method, host and seconds until the status.
        self.on_answer: Callable[[str, str, str, float], object] = lambda *_: None

    @property
    def url(self) -> str:
        """The server, for messages."""
        return self._credentials.latest.url

    def get(self, path: str, query: Mapping[str, str], *, timeout_s: float) -> Answer:
        """Return the answer to GET. `timeout_s`: how long to wait for any next bytes."""
        return self._answer("GET", _target(path, query), None, timeout_s)

    def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """Return the answer to POST. `body`: JSON. `timeout_s` as of `get`."""
        return self._answer("POST", path, body, timeout_s)

    def stream(self, path: str, query: Mapping[str, str], *, silence_s: float) -> Stream:
        """Return the answer to GET once its status has come; its body may go on for ever.

        It is broken off if no bytes come for `silence_s`.
        """
        target = _target(path, query)
        settings = self._credentials.current()
        try:
            return self._open_stream(settings, target, silence_s)
        except _NotAuthorized:
            renewed = self._renewed(settings)
        try:
            return self._open_stream(renewed, target, silence_s)
        except _NotAuthorized:
            raise _refusal(renewed) from None

    def close(self) -> None:
        """Close the connections that no request uses. Streams are closed by who opened them."""
        with self._lock:
            if self._shared:
                _end(self._shared[1], self._shared[0])
            self._shared = None

    def _answer(self, method: str, target: str, body: bytes | None, timeout_s: float) -> Answer:
        settings = self._credentials.current()
        answer = self._ask(settings, method, target, body, timeout_s)
        if answer.status == _UNAUTHORIZED:
            settings = self._renewed(settings)
            answer = self._ask(settings, method, target, body, timeout_s)
            if answer.status == _UNAUTHORIZED:
                raise _refusal(settings)
        return answer

    def _ask(
        self, settings: Settings, method: str, target: str, body: bytes | None, timeout_s: float
    ) -> Answer:
        from urllib3.exceptions import HTTPError

        pool = self._pool(settings)
        response = self._request(pool, settings, method, target, body, timeout_s)
        try:
            contents = response.read()
        except (HTTPError, OSError) as error:
            raise _failure(error, settings, timeout_s) from None
        finally:
            response.release_conn()
        answer = Answer(response.status, _headers(response), contents)
        if not contents and not _LENGTHS & {*answer.headers} and answer.status not in _WITHOUT_BODY:
            # http.client takes a header that breaks off for a complete one, of an empty answer.
            raise _cut_off(settings)
        return answer

    def _open_stream(self, settings: Settings, target: str, silence_s: float) -> Stream:
        pool = _new_pool(settings, 1)
        with ExitStack() as undo:
            undo.callback(_end, pool, settings)
            response = self._request(pool, settings, "GET", target, None, silence_s)
            undo.callback(response.close)  # the pool does not know a connection that is in use
            if response.status == _UNAUTHORIZED:
                raise _NotAuthorized
            stream = Stream(response, pool, settings, silence_s)
            undo.pop_all()
        return stream

    def _request(
        self,
        pool: PoolManager,
        settings: Settings,
        method: str,
        target: str,
        body: bytes | None,
        timeout_s: float,
    ) -> BaseHTTPResponse:
        """Return a response whose body is still to be read."""
        start, status = time.monotonic(), _NO_ANSWER
        try:
            response = _request(pool, settings, method, target, body, timeout_s)
            status = str(response.status)
        finally:
            host = urlsplit(settings.url).netloc
            self.on_answer(status, method, host, time.monotonic() - start)
        return response

    def _renewed(self, refused: Settings) -> Settings:
        """Read the configuration again after a 401: what it names may have been renewed."""
        try:
            return self._credentials.after_refusal(refused)
        except BadInput as error:
            said = _refusal(refused)
            raise type(said)([*said.problems, *error.problems], remedy=error.remedy) from None

    def _pool(self, settings: Settings) -> PoolManager:
        with self._lock:
            if self._shared is None or self._shared[0] is not settings:
                # The former one may be in use; its connections end with the last of its requests.
                self._shared = (settings, _new_pool(settings, 8))
            return self._shared[1]


class Stream:
    """An answer whose body is read as it comes, by one thread. Closed at the end of `with`."""

    def __init__(
        self, response: BaseHTTPResponse, pool: PoolManager, settings: Settings, silence_s: float
    ) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = _headers(response)
        self._response = response
        self._pool = pool
        self._settings = settings
        self._silence_s = silence_s
        self._socket = _socket_of(response)
        self._reading = threading.Lock()
        self._closed = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes, in pieces of at most `CHUNK_BYTES`.

        Ends at the end of the body, and soon after `close`. Raises Unreachable if the body breaks
        off or nothing comes for the stream's `silence_s`.
        """
        from urllib3.exceptions import HTTPError

        pieces = self._pieces()
        while True:
            with self._reading:
                if self._closed:
                    return
                try:
                    piece = next(pieces, b"")
                except (HTTPError, OSError, ValueError) as error:
                    self._release()
                    if self._closed:  # in the middle of reading
                        return
                    if isinstance(error, ValueError):
                        raise
                    raise _failure(error, self._settings, self._silence_s) from None
                if not piece:
                    self._release()
            if not piece or self._closed:
                return
            yield piece

    def read(self) -> bytes:
        """Return the rest of the body. Raises as `chunks` does."""
        return b"".join(self.chunks())

    def close(self) -> None:
        """End the stream. May be called by any thread, several times; wakes one that reads."""
        self._closed = True
        with suppress(OSError, ValueError, RuntimeError):  # closed already, by either side
            if self._socket is not None:
                # Not SSLSocket.shutdown, which changes the object that is being read.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            else:
                self._response.shutdown()
        with self._reading:
            self._release()

    def _pieces(self) -> Iterator[bytes]:
        if getattr(self._response, "chunked", False):
            # Each chunk as soon as it is there: an API server sends an event in one.
            return self._response.read_chunked(CHUNK_BYTES)
        return iter(lambda: self._response.read1(CHUNK_BYTES), b"")

    def _release(self) -> None:
        self._socket = None
        self._response.close()
        _end(self._pool, self._settings)


class _NotAuthorized(Exception):
    pass


def _new_pool(settings: Settings, connections: int) -> PoolManager:
    import urllib3
    from urllib3.util import make_headers, parse_url

    options: dict[str, Any] = {
        "num_pools": 1,
        "maxsize": connections,
        "socket_options": _SOCKET_OPTIONS,
        "ssl_context": settings.tls,
    }
    if settings.server_name:
        options["server_hostname"] = settings.server_name
    if settings.tls and not settings.tls.check_hostname:
        # Said once by us, with the server's name; urllib3 would say it at each request.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        options["cert_reqs"] = "CERT_NONE"
    if not settings.proxy:
        return urllib3.PoolManager(**options)
    proxy = parse_url(settings.proxy)
    headers = make_headers(proxy_basic_auth=_unquoted(proxy.auth)) if proxy.auth else None
    address = proxy._replace(auth=None).url
    return urllib3.ProxyManager(
        address, proxy_headers=headers, proxy_ssl_context=settings.tls, **options
    )


def _end(pool: PoolManager, settings: Settings) -> None:
    """Close the connections that are not in use; `clear` would leave that to garbage collection."""
    pool.connection_from_url(settings.url).close()
    pool.clear()


def _request(
    pool: PoolManager,
    settings: Settings,
    method: str,
    target: str,
    body: bytes | None,
    timeout_s: float,
) -> BaseHTTPResponse:
    """Return a response whose body is still to be read."""
    from urllib3 import Timeout
    from urllib3.exceptions import HTTPError

    headers = {"Accept": "application/json", "User-Agent": _user_agent()}
    if settings.authorization:
        headers["Authorization"] = settings.authorization
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        return pool.urlopen(
            method,
            settings.url + target,
            body=body,
            headers=headers,
            timeout=Timeout(connect=CONNECT_S, read=timeout_s),
            retries=False,
            redirect=False,
            preload_content=False,
        )
    except (HTTPError, OSError) as error:
        raise _failure(error, settings, timeout_s) from None


def _failure(error: Exception, settings: Settings, waited_s: float) -> BadInput | Unreachable:
    from kproxy.kubernetes.reasons import failure  # with urllib3

    return failure(error, settings, waited_s=waited_s)


def _cut_off(settings: Settings) -> Unreachable:
    from kproxy.kubernetes.reasons import CUT_OFF, unreachable

    return unreachable(settings, CUT_OFF)


def _refusal(settings: Settings) -> BadInput:
    from kproxy.kubernetes.reasons import not_authorized

    return not_authorized(settings)


def _target(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _headers(response: BaseHTTPResponse) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _socket_of(response: BaseHTTPResponse) -> socket.socket | None:
    """Return the socket below a response. None if the server closes it after this response, as
    servers of HTTP/1.0 do: the response keeps it to itself.
    """
    connection = response.connection
    found: Any = getattr(connection, "sock", None)
    if found is not None and not isinstance(found, socket.socket):
        found = found.socket  # TLS in the TLS of a proxy
    return found if isinstance(found, socket.socket) else None


def _unquoted(user_info: str) -> str:
    from urllib.parse import unquote

    return unquote(user_info)


@cache
def _user_agent() -> str:
    from importlib.metadata import version

    return f"kproxy/{version('kproxy')}"
