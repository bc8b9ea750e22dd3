"""Any service proxy in a lab: on one node by hand, on all of them by a command, and judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netns_tests.clients.served import WEB
from netns_tests.run.running import until
from netns_tests.up.machine import KPROXY, Machine, private_machine

PROXY = f"{sys.executable} -m kproxy run --config {{config}}"
# command, how many of its expectations come true
JUDGED = [
    (("demo", "--mode", "nftables"), 23),
    (("scenario", "run", "nodeport-local-from-another-node"), None),
]


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
def test_a_proxy_that_is_started_by_hand(mode: str) -> None:
    """Only the node that it was started on has its rules."""
    with private_machine() as machine:
        machine.ok("up", "--nodes", "2", "--proxy", "none", "--mode", mode)
        machine.ok("apply", "-f", WEB)
        service = json.loads(machine.ok("get", "service", "web", "-o", "json"))
        ask = ("curl", "-sm", "1", f"http://{service['spec']['clusterIP']}")
        run = ("shell", "node-a", "--", *KPROXY, "run", "--config", "/run/kproxy/lab/config-node-a")
        with subprocess.Popen(
            machine.argv(*KPROXY, *run), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as proxy:
            try:
                until("an answer", lambda: answered(machine, "node-a", ask))
                assert not answered(machine, "node-b", ask)
            finally:
                proxy.terminate()


def answered(machine: Machine, host: str, ask: tuple[str, ...]) -> bool:
    return '"pod": "web-' in machine.kproxy("shell", host, "--", *ask).stdout


@pytest.mark.parametrize(("command", "expectations"), JUDGED, ids=["demo", "scenario"])
def test_a_proxy_is_judged(command: tuple[str, ...], expectations: int | None) -> None:
    with private_machine() as machine:
        done = machine.kproxy(*command, "--proxy-command", PROXY)
        assert done.returncode == 0, done.stderr
        if expectations:
            assert f"{expectations} of {expectations} as expected" in done.stderr
        assert machine.places() == []


def test_cells_of_a_proxy_are_those_of_kproxys_own() -> None:
    asked = ("matrix", "--service", "nodeport", "--network", "vpc", "--protocol", "TCP", "--json")
    with private_machine() as machine:
        own = json.loads(machine.ok(*asked))
        others = json.loads(machine.ok(*asked, "--proxy-command", PROXY))
    assert [each["cells"] for each in others] == [each["cells"] for each in own]


def test_a_command_that_ends_is_told_with_its_last_words() -> None:
    with private_machine() as machine:
        done = machine.kproxy("demo", "--proxy-command", "sh -c 'echo nothing for {node}; exit 3'")
        assert done.returncode == 1
        assert re.search(
            r"(node-.): the command has ended, status 3\n *nothing for \1", done.stderr
        )
        assert machine.places() == []


def test_leftovers_of_a_killed_run_are_cleaned(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with private_machine() as machine:
        command = f"sh -c 'echo $$ >> {told}; exec sleep 300'"
        with subprocess.Popen(
            machine.argv(*KPROXY, "demo", "--proxy-command", command), stderr=subprocess.DEVNULL
        ) as demo:
            until("three", lambda: told.exists() and len(told.read_text().split()) == 3)
            assert [each["state"] for each in machine.values("ls")] == ["a run of kproxy"]
            assert "which lab? there is none" in machine.kproxy("status").stderr
            demo.kill()
        machine.ok("clean", "--yes")
        assert machine.places() == []
        pids = told.read_text().split()
        until("all have ended", lambda: not any(Path("/proc", pid).exists() for pid in pids))
