"""The requests of probes, and the answers that are successes."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.api.types import HTTPGetAction, Probe, TCPSocketAction
from kproxy.errors import BadInput
from kproxy.lab.cluster.probe_questions import Question, question
from kproxy.lab.spec import PortSpec

IP = "10.244.1.11"
PORTS = (PortSpec(port=53), PortSpec(port=8080, name="http"), PortSpec(port=9090, name="metrics"))


def http(port: int | str = 8080, path: str = "/", **more: Any) -> Probe:
    return Probe(http_get=HTTPGetAction(port=port, path=path, **more))


def tcp(port: int | str, host: str = "") -> Probe:
    return Probe(tcp_socket=TCPSocketAction(port=port, host=host))


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (tcp(8080), (IP, 8080, "")),
        (tcp("metrics"), (IP, 9090, "")),
        (tcp("81"), (IP, 81, "")),
        (tcp(81, "fd00:0::1"), ("fd00::1", 81, "")),
        (http("http"), (IP, 8080, "/")),
        (http(path=""), (IP, 8080, "/")),
        (http(path="ready"), (IP, 8080, "/ready")),
        (http(path="/a b?c=d%20e#f"), (IP, 8080, "/a%20b?c=d%20e")),
        (http(path="/\r\nX: y"), (IP, 8080, "/%0D%0AX:%20y")),
        (http(host="192.0.2.1"), ("192.0.2.1", 8080, "/")),
    ],
)
def test_question(probe: Probe, expected: tuple[str, int, str]) -> None:
    asks = question(probe, IP, PORTS)
    assert (asks.address, asks.port, asks.path) == expected


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        (tcp("https"), "the pod has no port named 'https'"),
        (tcp(""), "the pod has no port named ''"),
        (tcp(0), "0 is no port number"),
        (http("65536"), "65536 is no port number"),
        (http(scheme="HTTPS"), "scheme HTTPS: probes of a lab speak HTTP and TCP"),
        (http(host="web"), "host 'web' is no IP address, and nodes resolve no names"),
        (Probe(), "probes of a lab speak HTTP and TCP"),
    ],
)
def test_what_cannot_be_asked(probe: Probe, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        question(probe, IP, PORTS)
    assert caught.value.problems == [problem]


def test_request() -> None:
    assert Question(address="fd00::1", port=80, path="/ready").request == (
        b"GET /ready HTTP/1.1\r\nHost: [fd00::1]:80\r\nUser-Agent: kube-probe/1.36\r\n"
        b"Accept: */*\r\nConnection: close\r\n\r\n"
    )
    assert Question(address="fd00::1", port=80).request == b""


ASKS = Question(address=IP, port=8080, path="/ready")
URL = f"http://{IP}:8080/ready"
NO_HTTP = f"{URL}: no complete answer in HTTP"


@pytest.mark.parametrize(
    ("answer", "complete", "failure"),
    [  # `complete` while the connection is open: an answer, or what will never be one
        (b"", False, NO_HTTP),
        (b"hello\n", False, NO_HTTP),
        (b"hello\r\n\r\n", True, NO_HTTP),
        (b"HTTP/1.1 200 OK\r\n", False, NO_HTTP),
        (b"HTTP/1.1 2000\r\n\r\n", True, NO_HTTP),
        (b"HTTP/1.0 200 OK\n\n", False, ""),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, ""),
        (b"HTTP/1.1 204\r\n\r\n", True, ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nA: b\r\n\r\nab", False, ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nA: b\r\n\r\nabc", True, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True, ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", False, ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True, ""),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 10240, True, ""),
        (b"HTTP/1.1 200 " + b"a" * 65536, True, NO_HTTP),
        (b"HTTP/1.1 199 Low\r\n\r\n", False, NO_HTTP),  # Go's client waits for another one, too
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True, ""),
        (b"HTTP/1.1 101 Switch\r\n\r\n", True, NO_HTTP),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", True, ""),
        (b"HTTP/1.1 399 High\r\nContent-Length: 0\r\n\r\n", True, ""),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", True, f"HTTP 400 from {URL}"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", True, f"HTTP 503 from {URL}"),
    ],
)
def test_answers(answer: bytes, complete: bool, failure: str) -> None:
    assert ASKS.enough(answer) == complete
    assert ASKS.failure(connected=True, error="", answer=answer) == failure


@pytest.mark.parametrize(
    ("asks", "connected", "text"),
    [
        (ASKS, False, f"connect to {IP}:8080: connection refused"),
        (ASKS, True, f"{URL}: connection refused"),
        (
            Question(address="fd00::1", port=80),
            False,
            "connect to [fd00::1]:80: connection refused",
        ),
    ],
)
def test_errors_of_the_network(asks: Question, connected: bool, text: str) -> None:
    assert asks.failure(connected=connected, error="Connection refused", answer=b"") == text
