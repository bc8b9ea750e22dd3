"""Real HTTP requests to a pod, or through an ingress, which must pass the client's address on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kproxy.address import host_port
from kproxy.forwarding.network import Packet
from kproxy.loop.http import get, read_answer
from kproxy.outcome import Connection
from kproxy.probe.connection import Exchange, exchange_many
from kproxy.probe.prober import Probed

TIMEOUT_S = 4.0
"""Long enough for a second SYN of the client, and then one of the ingress, which allows 2 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """GET `path` from a server at `address` and `port`."""

    client: str
    """The name of the client's host."""
    address: str
    port: int = 80
    host: str = ""
    """The field Host, at most 253 characters; "" for the address."""
    path: str = "/"
    source: str = ""
    """The client's address to use; "" for the kernel's choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The answer to a request."""

    status: int
    pod: str = ""
    """The pod that answered, "" if an ingress answered by itself."""
    source: str = ""
    """The source of the connection as the pod saw it."""
    forwarded_for: str = ""
    """The source of the request as the ingress saw it; "" without one."""
    source_port: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if not self.pod:
            return f"answered with {self.status}"
        behind = f", on behalf of {self.forwarded_for}" if self.forwarded_for else ""
        return f"{self.pod} answered with {self.status} and saw {self.source}{behind}"


def fetch(
    probed: Probed, request: HttpRequest, *, timeout_s: float = TIMEOUT_S
) -> Fetched | Connection:
    """Make one request; see `fetch_many`."""
    return fetch_many(probed, [request], timeout_s=timeout_s)[0]


def fetch_many(
    probed: Probed, requests: Sequence[HttpRequest], *, timeout_s: float = TIMEOUT_S
) -> list[Fetched | Connection]:
    """Make all requests at once, each over its own connection; results in their order.

    `timeout_s` is as in `exchange_many`. A connection that ends amid a response counts as refused.
    Raises BadInput for a host or path that HTTP does not allow.
    """
    return exchange_many(probed, [*map(request_exchange, requests)], timeout_s=timeout_s)


def request_exchange(request: HttpRequest) -> Exchange[Fetched]:
    """Return the exchange of `fetch_many`. Raises BadInput like it."""
    return Exchange(packet=_packet(request), question=_question(request), read=read_response)


def read_response(received: bytes, ended: bool) -> Fetched | None:
    """Return the answer of a server that closes the connection after it.

    None until it has closed it, and if the answer is not complete.
    """
    if not ended:
        return None
    found = read_answer(received, ended=True)
    if not found.complete:
        return None
    answer = _fields(found.body)
    return Fetched(
        status=found.status,
        pod=answer.get("pod", ""),
        source=answer.get("source", ""),
        source_port=answer.get("source_port", 0),
        forwarded_for=answer.get("forwarded_for", ""),
    )


def _fields(body: bytes) -> dict[str, Any]:
    """Return what a pod says; nothing if another program has answered."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and "pod" in found else {}


def _packet(request: HttpRequest) -> Packet:
    return Packet(
        client=request.client,
        protocol="TCP",
        address=request.address,
        port=request.port,
        source=request.source,
    )


def _question(request: HttpRequest) -> bytes:
    host = request.host or host_port(request.address, request.port)
    return get(request.path, [("Host", host)])
