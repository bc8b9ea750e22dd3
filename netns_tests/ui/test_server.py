"""The page's server, as programs see it that are not its page."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from netns_tests.ui.conftest import Served, serving
from netns_tests.up.machine import KPROXY, private_machine

LIVE, ASK = ("GET", "/live"), ("POST", "/ask/trace")
MEASURE, POLICY = ("POST", "/measure"), ("POST", "/ask/policy")


@contextmanager
def answered(
    served: Served, method: str, path: str, headers: dict[str, str], body: str = ""
) -> Iterator[http.client.HTTPResponse]:
    place = urlsplit(served.origin)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=30)
    try:
        connection.request(method, path, body or None, headers)
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def bearer(served: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {served.token}"}


def status(served: Served, method: str, path: str, headers: dict[str, str], body: str = "") -> int:
    with answered(served, method, path, headers, body) as answer:
        return answer.status


@pytest.mark.parametrize(("method", "path"), [LIVE, ASK, MEASURE, POLICY])
def test_without_the_token_nothing_is_told_or_done(served: Served, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"token={served.token}"}):
        with answered(served, method, path, headers) as answer:
            assert answer.status == 401
            assert b"outside" not in answer.read()


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Host": "rebound.example.com"}, 421),
        ({"Origin": "http://rebound.example.com"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_other_sites_get_nothing(served: Served, headers: dict[str, str], refused: int) -> None:
    bearing = headers | bearer(served)
    for method, path in (LIVE, ASK, ("GET", "/")):
        with answered(served, method, path, bearing) as answer:
            assert answer.status == refused
            assert answer.getheader("Access-Control-Allow-Origin") is None


def test_writes_are_posts_of_json(served: Served) -> None:
    bearing = bearer(served)
    assert status(served, "GET", "/ask/policy", bearing) == 405
    form = bearing | {"Content-Type": "text/plain"}
    assert status(served, "POST", "/ask/policy", form, "{}") == 415
    kind = bearing | {"Content-Type": "application/json"}
    assert status(served, "POST", "/ask/policy", kind, "[]") == 400
    assert status(served, "POST", "/ask/stop", kind, "{}") == 404
    with answered(served, *POLICY, kind, '{"field": "clusterIP"}') as answer:
        assert answer.status == 200
        assert json.loads(answer.read())["problems"]


def test_every_answer_forbids_what_a_page_does_not_need(served: Served) -> None:
    for path in ("/", "/style.css", "/app.js", "/nothing", "/../up.py"):
        with answered(served, "GET", path, {}) as answer:
            policy = answer.getheader("Content-Security-Policy") or ""
            assert policy.startswith("default-src 'self'")
            assert answer.getheader("X-Content-Type-Options") == "nosniff"
            assert answer.getheader("Set-Cookie") is None


def test_a_reader_that_stops_reading_harms_nobody(served: Served) -> None:
    bearing = bearer(served)
    with answered(served, *LIVE, bearing):  # never read
        for _ in range(3):
            served.machine.ok("apply", "-f", "examples/services/session-affinity.yaml")
            served.machine.ok("delete", "-f", "examples/services/session-affinity.yaml")
        with answered(served, *LIVE, bearing) as answer:
            assert "host/outside" in json.loads(answer.readline())


def test_the_server_ends_with_the_lab_and_logs_no_token(tmp_path: Path) -> None:
    with private_machine() as machine, (tmp_path / "errors").open("w+") as errors:
        machine.ok("up", "--name", "gone")
        with serving(machine, errors) as served:
            place = urlsplit(served.origin)
            with socket.create_connection((place.hostname, place.port)) as connection:
                connection.sendall(f"GET / HTTP/1.1\r\n{served.token}\r\n\r\n".encode())
                assert b" 400 " in connection.recv(4096)
            with answered(served, *LIVE, bearer(served)):
                pass  # it breaks off
            with answered(served, *LIVE, bearer(served)) as answer:
                assert "host/outside" in json.loads(answer.readline())
                log = machine.ok("logs", "gone")
                machine.ok("down", "gone")
                assert served.process.wait(30) == 0
                assert any(b'"state":"gone"' in line for line in answer)
        errors.seek(0)
        assert errors.read() == "lab gone has ended\n"
        assert served.token not in log


def test_who_changes_something_gets_a_measurement_that_begins_after_it(served: Served) -> None:
    bearing = bearer(served)

    def begun() -> int:
        with answered(served, *MEASURE, bearing) as answer:
            assert answer.status == 202
            return int(json.loads(answer.read())["number"])

    first, second, third = begun(), begun(), begun()
    assert (second, third) == (first + 1, first + 1)  # one is enough for both
    with answered(served, *LIVE, bearing) as answer:
        told = (json.loads(line).get("matrix") or {} for line in answer)
        assert any(each.get("number") == second and not each["running"] for each in told)


def test_a_port_that_is_taken_is_refused_in_words(served: Served) -> None:
    port = urlsplit(served.origin).port
    done = served.machine.kproxy("ui", "--port", str(port))
    assert (done.returncode, f"--port {port}: another program" in done.stderr) == (2, True)


def test_a_mode_keeps_the_options_that_it_has_and_tells_of_the_others() -> None:
    with private_machine() as machine:
        machine.ok("up", "--name", "kept", "--mode", "nftables", "--nftables-layout", "flat")

        def switched(mode: str) -> tuple[object, ...]:
            kind = bearer(served) | {"Content-Type": "application/json"}
            body = json.dumps({"mode": mode})
            with answered(served, "POST", "/ask/mode", kind, body) as answer:
                told = json.loads(answer.read())
            status = machine.values("status")
            assert machine.values("ls")[0]["mode"] == told["mode"] == status["mode"] == mode
            assert told["unusedOptions"] == status["unusedOptions"]
            config = machine.run("cat", f"{Path(status['kubeconfig']).parent}/config-node-a")
            return status["options"], status["unusedOptions"], json.loads(config.stdout)["mode"]

        with serving(machine) as served:
            flat = {"nftablesLayout": "flat"}
            assert switched("iptables") == ({}, flat, "iptables")
            shown = machine.ok("status")
            assert "nftablesLayout=flat: iptables mode has no such option" in shown
            assert switched("nftables") == (flat, {}, "nftables")
        assert "options nftablesLayout=flat" in " ".join(machine.ok("status").split())


def test_up_shows_the_lab_and_ctrl_c_leaves_it() -> None:
    with private_machine() as machine:
        argv = machine.argv(*KPROXY, "up", "--name", "shown", "--ui")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            address = next(line for line in process.stdout if line.startswith("http://"))
            served = Served(machine, address.strip(), process)
            try:
                with answered(served, *LIVE, bearer(served)) as answer:
                    assert "host/outside" in json.loads(answer.readline())
            finally:
                process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        assert [each["state"] for each in machine.values("ls")] == ["running"]
        done = machine.kproxy("up", "--ui", "--json")
        assert (done.returncode, "give only one of --json and --ui" in done.stderr) == (2, True)
