"""Commands in a pod: what they see, what they cannot do to the machine, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kproxy.errors import BadInput
from kproxy.kernel.netns import Namespace
from kproxy.lab.pods.commands import Command, HostCommands, Surroundings
from kproxy.lab.pods.environment import PATH
from netns_tests.descriptors import open_descriptors
from netns_tests.run.running import until

ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
FILES = {
    "/etc/hosts": "127.0.0.1\tlocalhost\n",
    "/etc/hostname": "pod-x\n",
    "/etc/resolv.conf": "nameserver 10.96.0.10\n",
    f"{ACCOUNT}/token": "of-the-pod",
}
LOCAL = """\
import sys, time
from kproxy.kernel.netns import Namespace
from kproxy.lab.pods.commands import HostCommands, Surroundings
host = HostCommands("x", Namespace.create(), Surroundings("x", {}))
command = host.start(["sleep", "86399"], env={"PATH": "/bin:/usr/bin"})
print("runs", flush=True)
command.status()
"""


@pytest.fixture(scope="module")
def pod() -> Iterator[HostCommands]:
    with Namespace.create("pod-x") as namespace:
        commands = HostCommands("pod-x", namespace, Surroundings("pod-x", FILES))
        yield commands
        commands.close()


def output(command: Command) -> bytes:
    """Return all that a command writes to its standard output or terminal."""
    os.set_blocking(command.stdout, True)
    said = b""
    with suppress(OSError):  # the end of a terminal
        while data := os.read(command.stdout, 65536):
            said += data
    return said


def shell(pod: HostCommands, script: str) -> tuple[int, str]:
    """Return the exit status and what a script says, errors too."""
    command = pod.start(["sh", "-c", f"exec 2>&1; {script}"], env={"PATH": PATH})
    said = output(command).decode()
    status = command.status()
    command.close()
    return status, said


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("hostname", "pod-x\n"),
        ("cat /etc/hostname", "pod-x\n"),
        ("cat /etc/hosts", FILES["/etc/hosts"]),
        ("cat /etc/resolv.conf", FILES["/etc/resolv.conf"]),
        (f"cat /var{ACCOUNT}/token", "of-the-pod"),
        ("ls /sys/class/net", "lo\n"),
        ("ls /tmp /root", "/root:\n\n/tmp:\n"),
        ("cd /tmp; echo 1 > a; cat a; rm a", "1\n"),
        ("echo more >> /etc/hosts; tail -1 /etc/hosts", "more\n"),
        ("cat /proc/1/comm | head -c 6", "python"),
        ("ls /dev/pts /dev/shm", "/dev/pts:\nptmx\n\n/dev/shm:\n"),
        ("ls /proc/self/fd | wc -l", "4\n"),  # those of the standard streams, and of the folder
        ("head -c 0 /dev/zero > /dev/null; echo $?", "0\n"),
    ],
)
def test_what_a_command_sees(pod: HostCommands, script: str, says: str) -> None:
    assert shell(pod, script)[1] == says or script.startswith("echo more")


@pytest.mark.parametrize(
    "script",
    [
        "touch /etc/new",
        "touch /usr/new /var/new /new",
        "rm -rf /etc/passwd /bin/sh",
        "mount -o remount,rw /",
        "umount /tmp",
        "mknod /tmp/disk b 8 0",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "date -s 2001-01-01",
        "test -e /run/kproxy || test -e /dev/vda || test -e /dev/sda",
        "kill -KILL 1 && sleep 0 && test ! -d /proc/1",
    ],
)
def test_what_a_command_cannot_do(pod: HostCommands, script: str) -> None:
    machines = Path("/etc/passwd").read_bytes()
    assert shell(pod, script)[0] != 0
    assert Path("/etc/passwd").read_bytes() == machines
    assert Path("/bin/sh").exists()
    assert shell(pod, "echo on")[1] == "on\n"


def test_what_one_command_writes_the_next_one_reads(pod: HostCommands) -> None:
    assert shell(pod, "echo kept > /tmp/kept; mkdir -p /run/a/b")[0] == 0
    assert shell(pod, "cat /tmp/kept; ls /run/a") == (0, "kept\nb\n")
    assert not Path("/tmp/kept").exists()


def test_a_terminal(pod: HostCommands) -> None:
    script = "test -t 0 -a -t 1 -a -t 2 && tty && read size && stty size && ps -o tty= -p $$"
    command = pod.start(["sh", "-c", script], env={"PATH": PATH}, tty=True)
    command.resize(80, 24)
    os.write(command.stdin, b"\n")
    said = output(command).replace(b"\r", b"").split()
    assert (said[0], said[1:3], said[-1]) == (b"/dev/pts/0", [b"24", b"80"], b"pts/0")
    assert command.status() == 0
    command.close()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nosuch"], 'exec: "nosuch": executable file not found in $PATH'),
        (["/nosuch"], 'exec: "/nosuch": no such file or directory'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
        (["echo", "x" * (1 << 18)], "too long"),
    ],
)
def test_what_cannot_be_started(pod: HostCommands, argv: list[str], words: str) -> None:
    before = open_descriptors()
    with pytest.raises(BadInput) as caught:
        pod.start(argv, env={"PATH": PATH})
    assert words in str(caught.value)
    assert open_descriptors() == before


def test_how_commands_end(pod: HostCommands) -> None:
    assert shell(pod, "exit 42") == (42, "")
    assert shell(pod, "kill -TERM $$")[0] == 128 + signal.SIGTERM
    abandoned = pod.start(["sh", "-c", "sleep 7654 & exec sleep 7654"], env={"PATH": PATH})
    until("it runs", lambda: shell(pod, "ps -eo args=")[1].split("\n").count("sleep 7654") == 2)
    abandoned.close()
    until("it ends", lambda: "sleep 7654" not in shell(pod, "ps -eo args=")[1])


def test_an_ended_host_runs_no_commands() -> None:
    with Namespace.create("gone") as namespace:
        host = HostCommands("gone", namespace, Surroundings("gone", {}))
        command = host.start(["sleep", "1000"], env={"PATH": PATH})
        host.close()
        host.close()
        assert command.status() == 128 + signal.SIGKILL
        command.close()
        with pytest.raises(BadInput, match="gone does not run any more"):
            host.start(["true"])
    closed = HostCommands("gone", namespace, Surroundings("gone", {}))
    with pytest.raises(BadInput, match="gone does not run any more"):
        closed.start(["true"])


def test_a_host_that_is_not_a_pod_has_the_machines_files(tmp_path: Path) -> None:
    with Namespace.create("node") as namespace:
        host = HostCommands("node", namespace, Surroundings("node-a", {}, protected=False))
        assert shell(host, f"hostname; touch {tmp_path}/by-the-node; exit 4") == (4, "node-a\n")
        host.close()
    assert (tmp_path / "by-the-node").exists()


def test_all_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", LOCAL], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"runs\n"
        (sleeper,) = processes("sleep\0" + "86399\0")
        owner.kill()
    until("it ends", lambda: sleeper not in processes("sleep\0" + "86399\0"))


def processes(command: str) -> list[int]:
    """Return the processes of the machine that run exactly this."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and (each / "cmdline").read_text() == command:
                found.append(int(each.name))
    return found
