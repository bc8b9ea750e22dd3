"""Whatever is killed, `kproxy clean` leaves nothing of it, and nothing else is touched."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from netns_tests.up.machine import KPROXY, Machine

SLEEPER = "sh -c 'sleep 3600; echo {node}'"


def ended(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with open(pidfd, "rb"):
        assert select.select([pidfd], [], [], 30)[0], pid


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    ended(pid)


def test_a_killed_lab_is_cleaned_up(machine: Machine) -> None:
    pid = machine.values("up", "--name", "dies", "--nodes", "1")["pid"]
    lives = machine.values("up", "--name", "lives", "--nodes", "1")["pid"]
    killed(pid)
    assert {each["name"]: each["state"] for each in machine.values("ls")} == {
        "dies": "dead",
        "lives": "running",
    }
    assert "it is dead: kproxy clean" in machine.kproxy("status", "dies").stderr
    assert "lab dies: /run/kproxy/dies" in machine.kproxy("clean").stdout  # asked, not removed
    assert [each["name"] for each in machine.values("clean")["labs"]] == ["dies"]
    machine.ok("clean", "--yes")
    assert "dies" not in " ".join(machine.places())
    assert machine.values("status", "lives")["pid"] == lives
    assert machine.ok("clean") == "nothing is left of dead labs\n"


def test_the_processes_of_a_killed_lab_are_found_by_their_mark(machine: Machine) -> None:
    status = machine.values("up", "--nodes", "2", "--proxy-command", SLEEPER)
    assert [node["commandStatus"] for node in status["nodes"]] == [None, None]
    killed(status["pid"])
    (dead,) = machine.values("clean")["labs"]
    left = [each["pid"] for each in dead["processes"] if each["command"] == "sleep 3600"]
    assert len(left) == 2
    machine.ok("clean", "--yes")
    for pid in left:
        ended(pid)


def test_up_takes_the_place_of_a_dead_lab(machine: Machine) -> None:
    status = machine.values("up", "--nodes", "1", "--proxy-command", SLEEPER)
    killed(status["pid"])
    fresh = machine.values("up", "--nodes", "1")
    assert fresh["pid"] != status["pid"]
    assert machine.values("clean") == {"labs": [], "namespaces": []}
    assert "proxy-node-a.log" not in " ".join(machine.places())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_without_up_nobody_knows_of_the_lab_so_it_ends(
    machine: Machine, number: signal.Signals
) -> None:
    """`up` ends before the lab is ready: its process ends by itself and leaves nothing."""
    with subprocess.Popen(
        machine.argv(*KPROXY, "up"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as up:
        record = machine.argv("sh", "-c", "until cat /run/kproxy/lab/lab.json; do sleep 0.01; done")
        subprocess.run(record, check=True, capture_output=True, timeout=60)
        up.send_signal(number)
    gone = machine.argv("sh", "-c", "while [ -e /run/kproxy ]; do sleep 0.01; done")
    subprocess.run(gone, check=True, timeout=60)
    assert machine.values("ls") == []


def test_down_kills_a_lab_that_does_not_end(machine: Machine) -> None:
    pid = machine.values("up", "--nodes", "1")["pid"]
    os.kill(pid, signal.SIGTERM)
    ended(pid)
    assert machine.places() == []


def test_a_lab_whose_place_is_removed_ends_and_leaves_that_of_the_next_one(
    machine: Machine,
) -> None:
    pid = machine.values("up", "--nodes", "1")["pid"]
    machine.run("rm", "-r", "/run/kproxy/lab")
    fresh = machine.values("up", "--nodes", "1")
    ended(pid)
    assert machine.values("status")["pid"] == fresh["pid"]
    machine.ok("down")
    assert machine.places() == []


def test_commands_end_with_their_lab(machine: Machine) -> None:
    status = machine.values("up", "--nodes", "1", "--proxy-command", SLEEPER)
    command = status["nodes"][0]["commandPid"]
    machine.ok("down")
    ended(command)


ENDING = [  # commands that end at once, what is said
    ("sh -c 'echo no flag -x in {node}; exit 3'", "status 3\n  no flag -x in node-a\n"),
    ("true", "node-a: the command has ended, status 0\n"),
    ("sh -c 'kill -9 $$'", "node-a: the command has ended, status -9\n"),
]


@pytest.mark.parametrize(("command", "said"), ENDING, ids=lambda each: str(each)[:20])
def test_with_a_command_that_ends_at_once_no_lab_is_up(
    machine: Machine, command: str, said: str
) -> None:
    done = machine.kproxy("up", "--nodes", "1", "--proxy-command", command)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "try: a --proxy-command that runs in the foreground" in done.stderr
    assert machine.values("ls") == []


def test_a_command_that_ends_is_named(machine: Machine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "end")
    ends_when_told = f"sh -c 'echo {{node}} {{kubeconfig}}; read _ < {tmp_path}/end; exit 3'"
    machine.ok("up", "--nodes", "1", "--proxy-command", ends_when_told)
    (tmp_path / "end").write_text("now\n")
    with subprocess.Popen(
        machine.argv(*KPROXY, "logs", "--follow"), stdout=subprocess.PIPE, text=True
    ) as log:
        assert log.stdout
        assert any("node-a: the command has ended, status 3" in line for line in log.stdout)
        log.terminate()
    (node,) = machine.values("status")["nodes"]
    assert node["commandStatus"] == 3
    # It is still ours, so that no signal for it can reach another process of its number.
    assert ") Z " in Path(f"/proc/{node['commandPid']}/stat").read_text()
    said = machine.ok("logs", "--node", "node-a")
    assert said == "node-a /run/kproxy/lab/kubeconfig-inside\n"
