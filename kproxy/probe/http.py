"""Real HTTP requests: to a pod, or through an ingress, which has to tell the pod who asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
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
    """GET `path` from a server at `address` and `port`. `client`: name of the host that asks.

    `host`: as in the field Host, of at most 253 characters; "": the address. `source`: the address
    to ask from; "": the kernel chooses.
    """

    client: str
    address: str
    port: int = 80
    host: str = ""
    path: str = "/"
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """`pod` answered, and this is where it saw the connection come from; "" if no pod answered,
    but an ingress for itself. `forwarded_for`: from where the ingress saw it; "" without one.
    """

    status: int
    pod: str = ""
    source: str = ""
    forwarded_for: str = ""

    def __str__(self) -> str:
        if not self.pod:
            return f"answered with {self.status}"
        behind = f", on behalf of {self.forwarded_for}" if self.forwarded_for else ""
        return f"{self.pod} answered with {self.status} and saw {self.source}{behind}"


def fetch(
    probed: Probed, request: HttpRequest, *, timeout_s: float = TIMEOUT_S
) -> Fetched | Connection:
    return fetch_many(probed, [request], timeout_s=timeout_s)[0]


def fetch_many(
    probed: Probed, requests: Sequence[HttpRequest], *, timeout_s: float = TIMEOUT_S
) -> list[Fetched | Connection]:
    """All at once, each over a connection of its own; results in their order.

    `timeout_s` holds for the whole batch. What breaks off amid a response is refused.
    Raises BadInput for a host or path that HTTP does not allow.
    """
    exchanges = [
        Exchange(packet=_packet(request), question=_question(request), read=read_response)
        for request in requests
    ]
    return exchange_many(probed, exchanges, timeout_s=timeout_s)


def read_response(received: bytes, ended: bool) -> Fetched | None:
    """Return the answer of a server that closes the connection after it; None until it has, and if
    what it sent is no complete answer.
    """
    if not ended:
        return None
    found = read_answer(received, ended=True)
    if not found.complete:
        return None
    is_json = found.headers.get("content-type", "").lower().startswith("application/json")
    answer: dict[str, Any] = json.loads(found.body) if is_json else {}
    return Fetched(
        status=found.status,
        pod=answer.get("pod", ""),
        source=answer.get("source", ""),
        forwarded_for=answer.get("forwarded_for", ""),
    )


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
