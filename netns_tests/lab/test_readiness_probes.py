"""Readiness probes as a lab's nodes send them, to pods that answer, refuse, or do not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue

import pytest
from msgspec.structs import replace

from kproxy.address import Family, host_port, socket_family
from kproxy.api.types import HTTPGetAction, Probe, TCPSocketAction
from kproxy.kernel.process import run
from kproxy.lab import Lab, LabPod, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.cluster.readiness import ReadinessProbes

V4, V6 = Family.IPV4, Family.IPV6
PORT = 8080
NEVER_S = 3600  # within a test
PATIENCE_S = 30.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def spec(*families: Family) -> LabSpec:
    """Return a lab where `web` has a server; `bare`, `other` and `host` have none."""
    web = PodSpec(name="web", ports=(PortSpec(port=PORT, name="http"),))
    host = PodSpec(name="host", host_network=True)
    return LabSpec(
        nodes=(
            NodeSpec(name="node-a", pods=(web, PodSpec(name="bare"))),
            NodeSpec(name="node-b", pods=(PodSpec(name="other"), host)),
        ),
        families=families,
    )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(spec(V4, V6), mode=None) as up:
        yield up


class Probes(ReadinessProbes):
    """Readiness probes that collect the changes that they report. A context manager."""

    def __init__(self, lab: Lab) -> None:
        self.changes: SimpleQueue[tuple[str, bool]] = SimpleQueue()
        self._lab = lab
        super().__init__(lambda name, ready: self.changes.put((name, ready)))

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def see(self, name: str, probe: Probe) -> None:
        pod = self._lab.pods[name]
        self.watch(pod, self._lab.nodes[pod.node], probe)

    def change(self) -> tuple[str, bool]:
        return self.changes.get(timeout=PATIENCE_S)

    @property
    def told(self) -> bool:
        """True if there is a change that was not fetched, when the thread has done its work."""
        self.ask_now([])
        return not self.changes.empty()


class Server:
    """A server on a pod's first address that gives requests `answers`, in turn; b"" for none.

    `requests` has the received requests, `hang_ups` an item for each client that left unanswered.
    """

    def __init__(self, pod: LabPod, *answers: bytes) -> None:
        self.answers = answers or (OK,)
        self.requests: SimpleQueue[str] = SimpleQueue()
        self.hang_ups: SimpleQueue[None] = SimpleQueue()
        address = next(iter(pod.addresses.values()))
        with pod.namespace.entered():
            self._listener = socket.create_server((address, PORT), family=socket_family(address))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def seen(self) -> list[str]:
        found = []
        with suppress(Empty):
            while True:
                found.append(self.requests.get_nowait())
        return found

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    self._reply(connection)

    def _reply(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        request = connection.recv(4096)
        if not request:
            return
        self.requests.put(request.decode())
        answer, *others = self.answers
        self.answers = (*others, answer)
        if answer:
            connection.sendall(answer)
            return
        with suppress(ConnectionResetError):
            connection.recv(4096)
        self.hang_ups.put(None)


def http(port: int | str = PORT, **times: int) -> Probe:
    return _each_second(Probe(http_get=HTTPGetAction(port=port, path="/ready")), times)


def tcp(port: int | str = PORT, *, host: str = "", **times: int) -> Probe:
    return _each_second(Probe(tcp_socket=TCPSocketAction(port=port, host=host)), times)


def _each_second(probe: Probe, times: Mapping[str, int]) -> Probe:
    """Return a probe with a period of 1 s, a long timeout and failure after one outcome, except
    for what is in `times`.
    """
    own = {"period_seconds": 1, "timeout_seconds": 20, "failure_threshold": 1}
    return replace(probe, **{**own, **times})


@contextmanager
def dropping(pod: LabPod) -> Iterator[None]:
    rule = ["INPUT", "-p", "tcp", "--dport", str(PORT), "-j", "DROP"]
    pod.namespace.run(lambda: run(["iptables", "-A", *rule]))
    try:
        yield
    finally:
        pod.namespace.run(lambda: run(["iptables", "-D", *rule]))


@pytest.mark.parametrize("mode", [None, "iptables"])
@pytest.mark.parametrize("families", [(V4, V6), (V6, V4), (V6,)])
def test_ready_at_once(mode: str | None, families: tuple[Family, ...]) -> None:
    with Lab(spec(*families), mode) as lab, Probes(lab) as probes:
        for asked in (http("http"), http(), tcp("http"), tcp()):
            probes.see("web", replace(asked, period_seconds=NEVER_S))
            assert probes.change() == ("web", True)
            assert probes.ready("web")
            assert probes.problem("web") == ""
        for name in ("other", "host"):
            with Server(lab.pods[name]) as server:
                probes.see(name, http(period_seconds=NEVER_S))
                assert probes.change() == (name, True)
                where = host_port(lab.pods[name].addresses[families[0]], PORT)
                (request,) = server.seen()
                assert request.startswith(f"GET /ready HTTP/1.1\r\nHost: {where}\r\n")
                assert "\r\nUser-Agent: kube-probe/1.36\r\n" in request


def test_an_answer_of_503_counts_each_period(lab: Lab) -> None:
    with Probes(lab) as probes, Server(lab.pods["bare"]) as server:
        probes.see("bare", http(failure_threshold=3))
        assert probes.change() == ("bare", True)
        server.answers = (UNAVAILABLE,)
        server.seen()
        assert probes.change() == ("bare", False)
        assert len(server.seen()) == 3
        address = lab.pods["bare"].addresses[V4]
        assert probes.problem("bare") == f"HTTP 503 from http://{address}:8080/ready"
        server.answers = (OK,)
        assert probes.change() == ("bare", True)
        assert probes.problem("bare") == ""


def test_a_port_that_closes_and_opens_again(lab: Lab) -> None:
    pod = lab.pods["bare"]
    with Probes(lab) as probes:
        with Server(pod):
            probes.see("bare", tcp())
            assert probes.change() == ("bare", True)
        assert probes.change() == ("bare", False)
        assert probes.problem("bare") == f"connect to {pod.addresses[V4]}:8080: connection refused"
        with Server(pod):
            assert probes.change() == ("bare", True)


def test_a_pod_that_is_silent(lab: Lab) -> None:
    pod = lab.pods["bare"]
    where = f"{pod.addresses[V4]}:8080"
    with Probes(lab) as probes, Server(pod) as server:
        probes.see("bare", http(timeout_seconds=1))
        assert probes.change() == ("bare", True)
        server.answers = (b"",)
        assert probes.change() == ("bare", False)
        assert probes.problem("bare") == f"http://{where}/ready: no answer within 1 s"
        server.answers = (OK,)
        assert probes.change() == ("bare", True)
        with dropping(pod):
            assert probes.change() == ("bare", False)
            assert probes.problem("bare") == f"connect to {where}: no answer within 1 s"
        assert probes.change() == ("bare", True)


@pytest.mark.parametrize(("success", "failure"), [(1, 3), (2, 2)])
def test_asking_at_once(lab: Lab, success: int, failure: int) -> None:
    with (
        Probes(lab) as probes,
        Server(lab.pods["bare"], UNAVAILABLE) as bare,
        Server(lab.pods["other"], UNAVAILABLE) as other,
    ):
        for name, server in (("bare", bare), ("other", other)):
            probes.see(
                name,
                http(period_seconds=NEVER_S, success_threshold=success, failure_threshold=failure),
            )
            server.requests.get(timeout=PATIENCE_S)
        both = ("bare", "other")
        assert probes.ask_now(both) == {"bare": False, "other": False}
        bare.answers = other.answers = (OK,)
        bare.seen()
        assert probes.ask_now(both) == {"bare": True, "other": True}
        assert len(bare.seen()) == success
        assert probes.ask_now(["other", "gone"]) == {"other": True, "gone": False}
        bare.answers = (UNAVAILABLE,)
        assert probes.ask_now(both) == {"bare": False, "other": True}
        assert len(bare.seen()) == failure
        assert probes.ask_now([]) == {}
        assert not probes.told


def test_asking_a_pod_that_cannot_decide(lab: Lab) -> None:
    asked = http(period_seconds=NEVER_S, success_threshold=2, failure_threshold=2)
    with Probes(lab) as probes, Server(lab.pods["bare"]) as server:
        probes.see("bare", asked)
        assert probes.ask_now(["bare"]) == {"bare": True}
        server.answers = (UNAVAILABLE, OK)
        assert probes.ask_now(["bare"]) == {"bare": True}
        assert not probes.told


def test_asking_does_not_take_an_answer_from_before(lab: Lab) -> None:
    """A probe under way may have been answered before the pod was told to fail."""
    with Probes(lab) as probes, Server(lab.pods["bare"], b"") as server:
        probes.see("bare", http(timeout_seconds=NEVER_S, period_seconds=NEVER_S))
        server.requests.get(timeout=PATIENCE_S)
        server.answers = (UNAVAILABLE,)
        assert probes.ask_now(["bare"]) == {"bare": False}
        server.hang_ups.get(timeout=PATIENCE_S)
        assert probes.problem("bare").startswith("HTTP 503")


def test_the_initial_delay(lab: Lab) -> None:
    with Probes(lab) as probes, Server(lab.pods["bare"]) as server:
        probes.see("bare", http(initial_delay_seconds=NEVER_S))
        assert probes.ask_now(["bare"]) == {"bare": False}
        assert server.seen() == []
        probes.see("bare", http(initial_delay_seconds=1, period_seconds=NEVER_S))
        assert probes.change() == ("bare", True)
        assert probes.ask_now(["bare"]) == {"bare": True}


@pytest.mark.parametrize("how", ["forget", "watch another", "ask and forget", "close"])
def test_a_pod_that_goes_while_it_is_asked(lab: Lab, how: str) -> None:
    with Server(lab.pods["bare"], b"") as server:
        leave(Probes(lab), server, how)
        server.hang_ups.get(timeout=PATIENCE_S)


def leave(probes: Probes, server: Server, how: str) -> None:
    with probes:
        probes.see("bare", http(timeout_seconds=NEVER_S))
        server.requests.get(timeout=PATIENCE_S)
        if how == "watch another":
            server.answers = (OK,)
            probes.see("bare", http(period_seconds=NEVER_S))
            assert probes.change() == ("bare", True)
        elif how == "ask and forget":
            answers: SimpleQueue[dict[str, bool]] = SimpleQueue()
            asker = threading.Thread(target=lambda: answers.put(probes.ask_now(["bare"])))
            asker.start()
            server.requests.get(timeout=PATIENCE_S)
            probes.forget("bare")
            assert answers.get(timeout=PATIENCE_S) == {"bare": False}
            asker.join()
        elif how == "forget":
            probes.forget("bare")
            probes.forget("bare")
        assert not probes.told


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (tcp("no-such"), "the pod has no port named 'no-such'"),
        (tcp(host="192.0.2.1"), "connect to 192.0.2.1:8080: "),
        (tcp(9), "connect to 10.244.1.11:9: connection refused"),
    ],
)
def test_problems(lab: Lab, asked: Probe, problem: str) -> None:
    with Probes(lab) as probes:
        probes.see("web", asked)
        assert probes.ask_now(["web"]) == {"web": False}
        assert probes.problem("web").startswith(problem)
        probes.forget("web")
        assert probes.problem("web") == ""


def test_a_host_that_is_asked_instead(lab: Lab) -> None:
    with Probes(lab) as probes:
        probes.see("bare", tcp(host=lab.pods["web"].addresses[V6]))
        assert probes.change() == ("bare", True)


def test_a_change_that_nobody_can_take_is_logged_and_harms_no_other(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    changes: SimpleQueue[tuple[str, bool]] = SimpleQueue()

    def take(name: str, ready: bool) -> None:
        changes.put((name, ready))
        if ready:
            raise ArithmeticError

    probes = ReadinessProbes(take)
    with closing(probes), Server(lab.pods["bare"]) as bare, Server(lab.pods["other"]):
        for name in ("bare", "other"):
            pod = lab.pods[name]
            probes.watch(pod, lab.nodes[pod.node], http())
        assert {changes.get(timeout=PATIENCE_S) for _ in range(2)} == {
            ("bare", True),
            ("other", True),
        }
        assert probes.ask_now(["bare", "other"]) == {"bare": True, "other": True}
        bare.answers = (UNAVAILABLE,)
        assert changes.get(timeout=PATIENCE_S) == ("bare", False)
    failures = [record for record in caplog.records if record.exc_info]
    assert [failure.getMessage() for failure in failures] == [
        "kproxy-readiness: a callback failed"
    ] * 2
