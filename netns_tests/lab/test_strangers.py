"""A program that is no pod's server is told from a pod, and from nobody."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from kproxy.address import Family
from kproxy.errors import BadInput, Unsupported
from kproxy.outcome import Connection, Outcome
from kproxy.probe import HttpRequest, Prober, fetch
from kproxy.probe.http import Fetched
from kproxy.testing import LabFactory, ProbedLab, delivered, dropped, refused
from kproxy.testing.node import unprivileged

PORT = 22
Serve = Callable[[socket.socket], object]
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nno!\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[ProbedLab]:
    with LabFactory() as factory:
        yield factory(nodes=("node-a", "node-b"), pods={"web": "node-a"})


@pytest.fixture
def stranger(lab: ProbedLab) -> Iterator[Callable[[Serve], str]]:
    """Start a program on a port of the pod `web`, and return the pod's address."""
    ends: list[Callable[[], object]] = []
    address = lab.pods["web"].addresses[Family.IPV4]

    def start(serve: Serve) -> str:
        with lab.pods["web"].namespace.entered():
            listener = socket.create_server((address, PORT))
        over = threading.Event()

        def run() -> None:
            client, _ = listener.accept()
            with client:
                serve(client)
                over.wait(10)

        thread = threading.Thread(target=run)
        thread.start()
        ends.extend((listener.close, thread.join, over.set))
        return address

    yield start
    while ends:
        ends.pop()()


def closing(said: bytes) -> Serve:
    def serve(client: socket.socket) -> None:
        client.recv(1024)
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)

    return serve


def staying(said: bytes) -> Serve:
    def serve(client: socket.socket) -> None:
        client.recv(1024)
        client.sendall(said)

    return serve


def deaf(said: bytes) -> Serve:
    """It never reads, so the kernel answers the question with a reset."""

    def serve(client: socket.socket) -> None:
        client.sendall(said)
        client.close()

    return serve


def endless(said: bytes, pause_s: float) -> Serve:
    """It goes on until the client is gone."""

    def serve(client: socket.socket) -> None:
        gone = select.poll()
        gone.register(client, select.POLLRDHUP)
        with suppress(OSError):
            client.sendall(said)
            while not gone.poll(1000 * pause_s):
                client.sendall(said)

    return serve


SAID = [  # what it does -> what is said of it
    (staying(b"SSH-2.0-OpenSSH_9.2\r\n"), r"'SSH-2.0-OpenSSH_9.2\r\n'"),
    (staying(b"login: "), "'login: '"),
    (closing(HTTP), repr(HTTP.decode())),
    (closing(b"\x16\x03\x01\xff"), r"'\x16\x03\x01\\xff'"),
    (closing(b'{"status": "ok"}\n'), """'{"status": "ok"}\\n'"""),
    (closing(b"[1]\n"), "'[1]\\n'"),
    (staying(b"x" * 1000 + b"\n"), repr("x" * 80)),
    (deaf(b"too many connections"), "'too many connections'"),
    (endless(b"x" * 1000, 0), repr("x" * 80)),
]


@pytest.mark.parametrize(("serve", "said"), SAID)
def test_it_says_something(
    lab: ProbedLab, stranger: Callable[[Serve], str], serve: Serve, said: str
) -> None:
    found = lab.connect("node-b", stranger(serve), PORT)
    assert str(found).endswith(f": connected, answered by an unknown program: {said}")
    assert found.found.outcome is Outcome.ANSWERED
    for expected in (delivered(), delivered("web"), refused(), dropped()):
        assert found != expected


def test_it_never_stops_talking(lab: ProbedLab, stranger: Callable[[Serve], str]) -> None:
    found = lab.connect("node-b", stranger(endless(b"x", 0.2)), PORT)
    assert "answered by an unknown program: 'xx" in str(found)


def test_no_http_answer(lab: ProbedLab, stranger: Callable[[Serve], str]) -> None:
    request = HttpRequest(client="node-b", address=stranger(endless(b"x" * 100, 0.01)), port=PORT)
    assert fetch(lab, request) == Connection(outcome=Outcome.TIMEOUT, connected=True)


SILENT = [
    (closing(b""), "connected, but closed without an answer", refused()),
    (staying(b""), "connected, but nobody answered in time", dropped()),
]


@pytest.mark.parametrize(("serve", "said", "expected"), SILENT)
def test_it_says_nothing(
    lab: ProbedLab, stranger: Callable[[Serve], str], serve: Serve, said: str, expected: object
) -> None:
    """A client cannot tell it from a relay whose pod refuses or is silent."""
    found = lab.connect("node-b", stranger(serve), PORT)
    assert str(found).endswith(f": {said}")
    assert found == expected


def test_it_answers_datagrams(lab: ProbedLab) -> None:
    address = lab.pods["web"].addresses[Family.IPV4]
    with lab.pods["web"].namespace.entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((address, PORT))

    def serve() -> None:
        _, client = server.recvfrom(1024)
        server.sendto(b"\0\1", client)

    thread = threading.Thread(target=serve)
    thread.start()
    with server:
        found = lab.connect("node-b", address, PORT, "UDP")
        thread.join()
    assert str(found).endswith(r"unknown program: '\x00\x01'")


HTTP_SERVERS = [
    closing(HTTP),
    staying(HTTP),  # it keeps the connection alive
    closing(HTTP.replace(b"no!\n", b"[1]\n")),
]


@pytest.mark.parametrize("serve", HTTP_SERVERS)
def test_it_speaks_http(lab: ProbedLab, stranger: Callable[[Serve], str], serve: Serve) -> None:
    request = HttpRequest(client="node-b", address=stranger(serve), port=PORT)
    assert fetch(lab, request) == Fetched(status=400)


def test_no_question(lab: ProbedLab) -> None:
    """Every way to ask refuses what cannot be asked."""
    for ask in (lab.ask, lab.connect, lab.predict):
        with pytest.raises(BadInput, match="no host is called 'node-x'; there are: node-a"):
            ask("node-x", "10.96.0.1", 80)
        with pytest.raises(BadInput, match="'node-a' is not an IP address; the host of that name"):
            ask("outside", "node-a", 80)
    with pytest.raises(BadInput, match="'web' is not an IP address"):
        fetch(lab, HttpRequest(client="outside", address="web"))


def test_without_the_privilege_to_watch_packets(lab: ProbedLab) -> None:
    with unprivileged(), pytest.raises(Unsupported, match="CAP_NET_RAW is missing") as error:
        Prober(lab).ask_many([])
    assert "--cap-add NET_RAW" in error.value.remedy
