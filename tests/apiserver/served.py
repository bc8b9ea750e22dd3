"""Speaks with an API over its socket."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.json import decode, encode

from kproxy.apiserver.http.server import HttpsServer
from kproxy.apiserver.request import User
from tests.apiserver.memory_plane import MemoryPlane

TOKEN = "open-sesame"
TOKENS = {TOKEN: User("teacher", ("system:masters", "system:authenticated"))}
PATIENCE_S = 20.0


class Served(NamedTuple):
    """A server with its control plane."""

    plane: MemoryPlane
    server: HttpsServer
    port: int
    authority: Path
    opened: ExitStack  # closes what is opened here

    def connection(self) -> HTTPSConnection:
        context = ssl.create_default_context(cafile=self.authority)
        made = HTTPSConnection("127.0.0.1", self.port, context=context, timeout=PATIENCE_S)
        return self.opened.enter_context(closing(made))

    def ask(self, method: str, path: str) -> HTTPResponse:
        """Ask over a connection of its own; the body of the answer is unread."""
        return self.opened.enter_context(closing(asked(self.connection(), method, path)))

    def socket(self) -> ssl.SSLSocket:
        """Return a connection that has not said anything."""
        context = ssl.create_default_context(cafile=self.authority)
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        return self.opened.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))

    def kubeconfig(self, folder: Path) -> Path:
        """Write a kubeconfig into a folder."""
        cluster = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": str(self.authority),
        }
        file = folder / "kubeconfig"
        file.write_bytes(
            encode(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "lab", "cluster": cluster}],
                    "users": [{"name": "teacher", "user": {"token": TOKEN}}],
                    "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "teacher"}}],
                    "current-context": "lab",
                }
            )
        )
        return file


def asked(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    **headers: str,
) -> HTTPResponse:
    """Send a request with the token, and return the answer with its body unread."""
    sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers}
    data = body if body is None or isinstance(body, bytes) else encode(body)
    connection.request(method, path, body=data, headers=sent)
    return connection.getresponse()


def answer(
    connection: HTTPConnection, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, Any]:
    """Send a request with the token; return the status and the body, read as JSON if it is."""
    response = asked(connection, method, path, body, **headers)
    text = response.read()
    is_json = response.headers["Content-Type"].startswith("application/json")
    return response.status, decode(text) if is_json and text else text
