"""Clients that vanish, do not read, or are many."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from netns_tests.descriptors import open_descriptors
from netns_tests.run.running import until
from netns_tests.streams.served_lab import TIMEOUT_S, ServedLab

Transport = Mapping[str, str]
ENDLESS = ("sh", "-c", "echo here; sleep 1000 & exec sleep 1000")


def running(cluster: ServedLab, transport: Transport) -> list[str]:
    """Return the programs that run in the pod."""
    done = cluster.kubectl("exec", "web", "--", "ps", "-eo", "args=", transport=transport)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    return [each for each in lines if "first_process" not in each and not each.startswith("ps ")]


def test_a_command_ends_with_its_client(cluster: ServedLab, transport: Transport) -> None:
    before = running(cluster, transport)
    with cluster.started("exec", "web", "--", *ENDLESS, transport=transport) as process:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        both = [*before, "sleep 1000", "sleep 1000"]
        until("both run", lambda: running(cluster, transport) == both)
    until("the command ends", lambda: running(cluster, transport) == before)


def test_a_client_that_vanishes_while_nobody_takes_its_input(
    cluster: ServedLab, transport: Transport
) -> None:
    before = running(cluster, transport)
    with cluster.started("exec", "-i", "web", "--", *ENDLESS, transport=transport) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(bytes(500_000))  # many times what the command's pipe takes
        assert process.stdout.readline() == b"here\n"
    until("the command ends", lambda: running(cluster, transport) == before)


def test_a_client_that_does_not_read(cluster: ServedLab, transport: Transport) -> None:
    """The command waits for it, and the others do not."""
    with cluster.started("exec", "web", "--", "cat", "/dev/zero", transport=transport) as process:
        assert process.stdout
        assert process.stdout.read(1) == b"\0"
        assert "cat /dev/zero" in running(cluster, transport)
    until("the command ends", lambda: "cat /dev/zero" not in running(cluster, transport))


def test_what_runs_in_the_background_stays_as_in_a_container(
    cluster: ServedLab, transport: Transport
) -> None:
    server = "sleep 987 > /dev/null 2>&1 < /dev/null &"
    done = cluster.kubectl("exec", "web", "--", "sh", "-c", server, transport=transport)
    assert done.returncode == 0
    assert "sleep 987" in running(cluster, transport)
    cluster.lab.pod("web").restart()
    assert running(cluster, transport) == []


def test_many_at_once(cluster: ServedLab, transport: Transport) -> None:
    def ask(number: int) -> bytes:
        command = ("exec", "web", "--", "echo", str(number))
        return cluster.kubectl(*command, transport=transport).stdout

    with ThreadPoolExecutor(20) as pool:
        assert [*pool.map(ask, range(60))] == [f"{each}\n".encode() for each in range(60)]


@pytest.mark.parametrize(
    "command",
    [
        ("exec", "-i", "two", "-c", "one", "--", "sh", "-c", "echo here; cat"),
        ("port-forward", "two", ":80"),
        ("logs", "-f", "two", "-c", "one"),
    ],
    ids=lambda command: command[0],
)
def test_nothing_stays_open(
    cluster: ServedLab, transport: Transport, command: tuple[str, ...]
) -> None:
    cluster.kubectl("exec", "two", "-c", "one", "--", "true", transport=transport)
    before = len(open_descriptors())
    for _ in range(3):
        with cluster.started(*command, transport=transport) as process:
            assert process.stdout
            if command[0] != "logs":
                assert process.stdout.readline()
    until("all is closed", lambda: len(open_descriptors()) <= before)


def test_commands_end_when_the_pod_ends(cluster: ServedLab, transport: Transport) -> None:
    with cluster.started("exec", "web", "--", *ENDLESS, transport=transport) as process:
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        cluster.lab.pod("web").restart()
        assert b"exit code 137" in process.communicate(timeout=TIMEOUT_S)[0]
        assert process.returncode == 137
