"""Programs in a pod see its files; no other process sees these, and nothing is left behind."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.errors import BadInput, KernelRefused
from kproxy.kernel.process import run
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec
from kproxy.lab.pods.process import resolve, run_in_pod
from netns_tests.descriptors import open_descriptors

CONF = "nameserver 192.0.2.1\n"
SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a",
            pods=(
                PodSpec(name="web-1"),
                PodSpec(name="agent", host_network=True),
            ),
        ),
    )
)
RESOLV_CONF = Path("/etc/resolv.conf")
MOUNTS = Path("/proc/thread-self/mountinfo")
_CLONE_NEWNS = 0x00020000


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(SPEC, mode=None) as up:
        yield up


def said(lab: Lab, *command: str, pod: str = "web-1") -> str:
    done = run_in_pod(lab.pods[pod], command, resolv_conf=CONF)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def machine() -> dict[str, object]:
    files = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        # Other processes publish namespaces, and remove them, as it pleases them.
        "mounts": [line for line in mounts if not line.split()[4].startswith("/run/netns")],
        **{path: Path(path).read_text() for path in files},
        "name": os.uname().nodename,
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "threads": {each.name for each in threading.enumerate()},
        "descriptors": open_descriptors(),
        "temporary": not any(Path("/tmp", name).exists() for name in ("resolv.conf", "hosts")),
    }


def test_a_pod_has_its_own_files_and_name(lab: Lab) -> None:
    before = machine()
    assert said(lab, "cat", "/etc/resolv.conf") == CONF
    assert "hosts: files dns" in said(lab, "cat", "/etc/nsswitch.conf").splitlines()
    assert said(lab, "ls", "/sys/class/net").split() == ["eth0", "lo"]
    assert said(lab, "sh", "-c", "echo $$") == "1\n"
    environment = {line.partition("=")[0] for line in said(lab, "env").splitlines()}
    assert environment == {"HOME", "HOSTNAME", "LC_ALL", "PATH"}
    assert machine() == before


NAMES = [("web-1", "web-1"), ("agent", "node-a")]  # pod, its host name


@pytest.mark.parametrize(("pod", "name"), NAMES)
def test_a_pod_knows_itself(lab: Lab, pod: str, name: str) -> None:
    assert said(lab, "hostname", pod=pod) == f"{name}\n"
    own = lab.pods[pod].addresses
    for family in Family:
        found = resolve(lab.pods[pod], name, resolv_conf=CONF, family=family)
        assert found == [own[family]]
    hosts = said(lab, "cat", "/etc/hosts", pod=pod)
    assert hosts.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert hosts.endswith("".join(f"{address}\t{name}\n" for address in own.values()))


ENDS = [  # command -> exit status, output, errors
    (("sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n", "err\n"),
    (("no-such-program",), 127, "", "unshare: failed to execute no-such-program: "),
    (("printf", r"\377"), 0, "\N{REPLACEMENT CHARACTER}", ""),
    # Processes that the program leaves behind end with it, and so do the outputs they hold.
    (("sh", "-c", "sleep 600 & echo gone"), 0, "gone\n", ""),
]


@pytest.mark.parametrize(("command", "status", "output", "errors"), ENDS)
def test_how_it_ends(
    lab: Lab, command: tuple[str, ...], status: int, output: str, errors: str
) -> None:
    done = run_in_pod(lab.pods["web-1"], command, resolv_conf=CONF)
    assert (done.returncode, done.stdout) == (status, output)
    assert done.stderr.startswith(errors)


def test_nothing_to_run(lab: Lab) -> None:
    with pytest.raises(BadInput, match="no command to run in web-1"):
        run_in_pod(lab.pods["web-1"], [], resolv_conf=CONF)


def test_it_is_killed_when_its_time_is_over(lab: Lab) -> None:
    before = machine()
    command = ["sh", "-c", "sleep 600 & sleep 600"]
    with pytest.raises(KernelRefused, match=r"sleep 600' in web-1: not done after 0.2 s"):
        run_in_pod(lab.pods["web-1"], command, resolv_conf=CONF, timeout_s=0.2)
    assert machine() == before


def test_many_at_once(lab: Lab) -> None:
    """Each program has a resolv.conf of its own."""
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda n: (
                run_in_pod(
                    lab.pods["web-1"], ["cat", "/etc/resolv.conf"], resolv_conf=f"# {n}\n"
                ).stdout
            ),
            range(16),
        )
        assert [*found] == [f"# {n}\n" for n in range(16)]


FILES: list[tuple[str, Callable[[Path], object]]] = [  # a name, and what makes /etc/resolv.conf
    ("a file", lambda path: path.write_text("nameserver 192.0.2.2\n")),
    ("none", lambda _: None),
    ("a link", lambda path: path.symlink_to("/etc/hostname")),
    ("a link that leads nowhere", lambda path: path.symlink_to("../run/nobody/resolv.conf")),
]


def mounts() -> list[str]:
    """Return what is mounted, but for the namespaces of other tests, which come and go."""
    return [each for each in MOUNTS.read_text().splitlines() if " /run/netns/" not in each]


@pytest.mark.parametrize("make", [make for _, make in FILES], ids=[name for name, _ in FILES])
def test_whatever_the_machine_has(lab: Lab, tmp_path: Path, make: Callable[[Path], object]) -> None:
    """A thread in a mount namespace of its own is the machine with that /etc/resolv.conf."""

    def on_another_machine() -> None:
        assert not ctypes.CDLL(None).unshare(_CLONE_NEWNS)
        run(["mount", "--make-rslave", "/"])
        run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)])
        upper, work = tmp_path / "upper", tmp_path / "work"
        upper.mkdir()
        work.mkdir()
        folders = f"lowerdir=/etc,upperdir={upper},workdir={work}"
        run(["mount", "-t", "overlay", "overlay", "/etc", "-o", folders])
        RESOLV_CONF.unlink()
        make(RESOLV_CONF)
        run(["mount", "--make-rshared", "/"])  # as systemd does
        before = kind(RESOLV_CONF), mounts()
        assert said(lab, "cat", str(RESOLV_CONF)) == CONF
        assert said(lab, "tail", "-n", "1", "/etc/hosts").endswith("\tweb-1\n")
        assert said(lab, "cat", "/etc/passwd") == Path("/etc/passwd").read_text()
        assert (kind(RESOLV_CONF), mounts()) == before

    with ThreadPoolExecutor(1) as pool:
        pool.submit(on_another_machine).result()


def kind(path: Path) -> tuple[bool, str]:
    return path.is_symlink(), path.read_text() if path.exists() else "nothing"


CHILD = """
import sys
import threading
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec
from kproxy.lab.pods.process import run_in_pod
script = 'exec 3>"$0"; echo up >&3; sleep 600 & sleep 600'
spec = LabSpec(nodes=(NodeSpec(name="node-a", pods=(PodSpec(name="web-1"),)),))
with Lab(spec, mode=None) as lab:
    run_in_pod(lab.pods["web-1"], ["sh", "-c", script, sys.argv[1]], resolv_conf="", timeout_s=600)
"""


def test_it_ends_with_us(tmp_path: Path) -> None:
    """So do the processes that it started: the pipe ends when none of them holds it any more."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with subprocess.Popen([sys.executable, "-c", CHILD, str(pipe)]) as process:
        try:
            assert read(reader) == b"up\n"
        finally:
            os.kill(process.pid, signal.SIGKILL)
        assert read(reader) == b""
    os.close(reader)


def read(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], 30)
    assert ready
    return os.read(descriptor, 100)
