"""Questions to the servers of a proxy, asked inside its namespace."""

from __future__ import annotations

import http.client
from typing import NamedTuple

from kproxy.kernel.process import run
from netns_tests.run.running import Place
from tests.serve.kube_proxy_metrics import values

HEALTH, METRICS = 10256, 10249


class Answer(NamedTuple):
    """An answer; status 0 if no process listens."""

    status: int
    body: str = ""


def with_loopback(place: Place) -> Place:
    place.namespace.run(lambda: run(["ip", "link", "set", "lo", "up"]))
    return place


def ask(
    place: Place,
    path: str,
    port: int = METRICS,
    *,
    address: str = "127.0.0.1",
    method: str = "GET",
    body: str | None = None,
) -> Answer:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        place.namespace.run(connection.connect)
    except ConnectionRefusedError:
        return Answer(0)
    connection.request(method, path, body)
    response = connection.getresponse()
    answer = Answer(response.status, response.read().decode())
    connection.close()
    return answer


def scrape(place: Place) -> dict[str, float]:
    """Return the samples of /metrics, by name and labels."""
    return values(ask(place, "/metrics").body)
