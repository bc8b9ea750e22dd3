"""Options of `kproxy exec` and `kproxy shell` stand before or after the place, as kubectl's do."""

from __future__ import annotations

import pytest

from kproxy.cli.exec import exec as run_in_pod
from kproxy.cli.labs import shell

EXEC = [  # what is typed -> namespace, container, the words that run
    ("shell -- ls -n", "default", "", "ls -n"),
    ("-n shop shell -- ls -n", "shop", "", "ls -n"),
    ("shell -n shop -- ls -n", "shop", "", "ls -n"),
    ("shell -n shop -c web -it -- ls", "shop", "web", "ls"),
    ("-n shop shell -c web -- ls -- -n", "shop", "web", "ls -- -n"),
    ("-n shop -- shell ls -n", "shop", "", "ls -n"),
    ("shell ls -n", "default", "", "ls -n"),
    ("shell sh -c x -- y", "default", "", "sh -c x -- y"),  # words of the command, as before
    ("shell ls -n -- y", "default", "", "ls -n -- y"),
]


@pytest.mark.parametrize(("typed", "namespace", "container", "words"), EXEC)
def test_options_of_exec(typed: str, namespace: str, container: str, words: str) -> None:
    found = run_in_pod.make_context("exec", typed.split()).params
    assert (found["pod"], found["namespace"], found["container"]) == ("shell", namespace, container)
    assert _run(found["command"]) == words


@pytest.mark.parametrize(
    "typed", ["--lab a node-a -- ip -br addr", "node-a --lab a -- ip -br addr"]
)
def test_the_lab_of_a_shell(typed: str) -> None:
    found = shell.make_context("shell", typed.split()).params
    assert (found["host"], found["name"], _run(found["command"])) == (
        "node-a",
        "a",
        "ip -br addr",
    )


def _run(command: tuple[str, ...]) -> str:
    return " ".join(command[command[:1] == ("--",) :])
