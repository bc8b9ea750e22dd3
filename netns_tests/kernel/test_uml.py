"""Commands on user-mode Linux must not notice more of it than its kernel.

Each guest takes three seconds, so a test checks several things at once.
"""

from __future__ import annotations

import json
import os
import pty
import random
import resource
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kproxy
from kproxy.kernel.running import on_uml
from netns_tests.run.running import until

LAUNCHER = (sys.executable, "-m", "kproxy.kernel.uml", "--kernel", "uml")
PATIENCE_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def _on_one_cpu() -> Iterator[None]:
    """Keep all on one CPU: a guest's kernel and processes take turns, so that is faster."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield
    os.sched_setaffinity(0, cpus)


def launched(
    *command: str, options: Sequence[str] = (), before: Sequence[str] = (), **settings: Any
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*before, *LAUNCHER, *options, *command],
        **{"capture_output": True, "stdin": subprocess.DEVNULL, "check": False, **settings},
    )


def in_own_mounts(script: str) -> tuple[str, ...]:
    """Return a command to put before the launcher's, for mounts of its own changed by `script`."""
    return ("unshare", "--mount", "sh", "-e", "-c", f'{script}\nexec "$@"', "sh")


LOOK_AROUND = """
import json, os, pathlib, resource, socket, sys
pathlib.Path("made").write_bytes(b"0123456789" * 3_000_000)
pathlib.Path("made").chmod(0o750)
os.umask(umask := os.umask(0))
print(json.dumps({
    "arguments": sys.argv[1:],
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "umask": umask,
    "prefix": sys.prefix,
    "host name": socket.gethostname(),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "pids": sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit())[0],
    "kernel": pathlib.Path("/proc/cpuinfo").read_text(),
}))
"""


def test_a_command_finds_itself_where_it_was_called(tmp_path: Path) -> None:
    folder = tmp_path / "a blank, 'quotes' and \u00fc"
    folder.mkdir()
    environment = {**os.environ, "LONG": "x" * 20_000, "LINES": "a\nb", "ODD": "\udcff"}
    arguments = ["", "a b", "$HOME", "\udcff"]
    done = launched(
        *(sys.executable, "-c", LOOK_AROUND, *arguments), cwd=folder, env=environment, umask=0o027
    )
    assert (done.stderr, done.returncode) == (b"", 0)
    found = json.loads(done.stdout)
    assert "User Mode Linux" in found.pop("kernel")
    added = {"MODPROBE_OPTIONS"}
    here = {name: value for name, value in environment.items() if name not in added}
    there = {n: v for n, v in found.pop("environment").items() if n not in {"LC_CTYPE", *added}}
    assert there == {name: value for name, value in here.items() if name != "LC_CTYPE"}
    assert found == {
        "arguments": arguments,
        "folder": str(folder),
        "umask": 0o027,
        "prefix": sys.prefix,
        "host name": socket.gethostname(),
        "files": min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20),
        "pids": 1,
    }
    made = folder / "made"
    assert made.read_bytes() == b"0123456789" * 3_000_000
    assert (made.stat().st_uid, made.stat().st_mode & 0o7777) == (os.getuid(), 0o750)


COPY = """
import os, sys
data = sys.stdin.buffer.read()
os.write(2, b"read\\n")
for start in range(0, len(data), 1000):
    sys.stdout.buffer.write(data[start : start + 1000])
    sys.stderr.buffer.write(data[start : start + 1000][::-1])
print("a terminal" if any(map(os.isatty, (0, 1, 2))) else "no terminal")
"""


def test_streams_are_apart_and_byte_exact() -> None:
    data = random.Random(1).randbytes(300_000)
    done = launched(sys.executable, "-c", COPY, stdin=None, input=data)
    assert done.stdout == data + b"no terminal\n"
    pieces = (data[start : start + 1000] for start in range(0, len(data), 1000))
    assert done.stderr == b"read\n" + b"".join(piece[::-1] for piece in pieces)
    assert done.returncode == 0


EQUIPMENT = """
for command in ip{,6}tables{,-save,-restore}; do $command --version | sed 's/ v[0-9.]*//'; done
ipvsadm -A -t 10.0.0.1:80 -s mh && ipvsadm -Sn
ipvsadm -A -t [fd00::1]:80 && ipvsadm -A --sctp-service 10.0.0.1:80 && ipvsadm -Sn | wc -l
modprobe ip_vs_ftp && grep -c ^ip_vs_ftp /proc/modules
cat /proc/sys/net/ipv4/vs/conntrack
for kind in dummy bridge veth; do ip link add type $kind && echo $kind; done
ip link add type vxlan id 1 dstport 0 && echo vxlan
ipset create KUBE hash:ip,port && iptables -A INPUT -m set --match-set KUBE dst,dst -j DROP
iptables -t nat -A POSTROUTING -m ipvs --ipvs -j MASQUERADE && iptables-save | grep -c -e '^-A'
ip6tables -t nat -A POSTROUTING -m physdev --physdev-is-in -j RETURN && echo physdev
tc qdisc add dev lo root netem delay 1ms && echo netem
ip netns add inner && ip netns exec inner ip link set lo up && ip netns list
python3 -c 'import socket; socket.socket(type=socket.SOCK_STREAM, proto=132)' && echo sctp
echo here > /dev/shm/kproxy-test && echo here > /run/kproxy-test && echo here | tee /dev/stderr
"""

FOUND = """\
iptables (legacy)
iptables-save (legacy)
iptables-restore (legacy)
ip6tables (legacy)
ip6tables-save (legacy)
ip6tables-restore (legacy)
-A -t 10.0.0.1:80 -s mh
3
1
0
dummy
bridge
veth
vxlan
2
physdev
netem
inner
sctp
here
"""


def test_the_equipment_of_the_guest() -> None:
    """Its modules are found although the machine has none of them where modprobe looks."""
    before = in_own_mounts("[ ! -d /lib/modules ] || mount -t tmpfs none /lib/modules")
    done = launched("bash", "-c", EQUIPMENT, before=before)
    assert done.stdout.decode() == FOUND
    assert (done.stderr, done.returncode) == (b"here\n", 0)
    assert not any(Path(f"{folder}/kproxy-test").exists() for folder in ("/dev/shm", "/run"))
    mounts = Path("/proc/self/mountinfo").read_text()
    assert "/etc/alternatives" not in mounts
    assert "/run/netns/inner" not in mounts


@pytest.mark.parametrize(
    ("script", "status", "says"),
    [
        ('kill -KILL "$$"', 137, ""),
        ("exec /nowhere/to-be-found", 127, "not found"),
        ("sleep 1000 & echo >&2 started; exit 3", 3, "started\n"),  # and `sleep` ends with it
    ],
)
def test_exit_statuses(script: str, status: int, says: str) -> None:
    done = launched("sh", "-c", script)
    assert done.returncode == status
    assert says in done.stderr.decode()


def test_a_command_that_is_no_program(tmp_path: Path) -> None:
    done = launched(str(tmp_path))
    assert done.stderr.decode() == f"{tmp_path}: Permission denied\n"
    assert done.returncode == 126
    done = launched("no-such-command")
    assert (done.stderr, done.returncode) == (b"no-such-command: No such file or directory\n", 127)


def test_too_long() -> None:
    done = launched("sleep", "1000", options=("--timeout", "6"))
    assert done.returncode == 124
    assert done.stderr == b"ipvs-kernel: the command was ended after 6 s (--timeout)\n"


def test_readers_and_writers_that_do_not_wait() -> None:
    """A command that does not read its input ends; one whose output is not read does, too."""
    launcher = shlex.join(LAUNCHER)
    script = f"yes | {launcher} echo done; {launcher} yes | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"done\ny\n141\n", b"")


def test_output_that_gets_lost_is_told() -> None:
    with open("/dev/full", "wb") as full:
        done = launched("echo", "lost", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.stderr == b"ipvs-kernel: standard output: No space left on device\n"
    assert done.returncode == 125


@contextmanager
def running(*command: str, **settings: Any) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """Yield the launcher, after the command's first line, and the process groups of its guest."""
    marker = f"KPROXY_TEST={uuid.uuid4()}"
    environment = {**os.environ, **settings.pop("env", {}), "KPROXY_TEST": marker[12:]}
    with subprocess.Popen(
        [*LAUNCHER, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        process_group=0,
        **settings,
    ) as launcher:
        try:
            assert launcher.stdout
            assert launcher.stdout.readline() == b"ready\n"
            guest = (
                int(path.parent.name)
                for path in Path("/proc").glob("[0-9]*/environ")
                if marker.encode() in contents(path) and int(path.parent.name) != launcher.pid
            )
            yield launcher, sorted({group for pid in guest for group in groups_of(pid)})
        finally:
            launcher.kill()


def groups_of(pid: int) -> list[int]:
    """Return the process group of a process, none if it has ended meanwhile."""
    try:
        return [os.getpgid(pid)]
    except ProcessLookupError:
        return []


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a process that has ended
        return b""


def alive(groups: Sequence[int]) -> list[str]:
    """Return the states of the processes in these groups, without zombies."""
    stats = (contents(path) for path in Path("/proc").glob("[0-9]*/stat"))
    fields = [stat.rpartition(b")")[2].split() for stat in stats if stat]
    return [f"{each}" for each in fields if int(each[2]) in groups and each[0] != b"Z"]


def kernel(groups: Sequence[int]) -> int:
    """Return the guest's main process."""
    return next(group for group in groups if b"linux" in contents(Path(f"/proc/{group}/comm")))


# Not `wait`: a shell may begin it just after it has looked for signals.
TRAP = "trap 'echo told; exit 3' {0}; sleep 1000 & echo ready; while :; do :; done"
STUBBORN = "trap '' INT TERM HUP; echo ready; while :; do sleep 0.1; done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    with running("sh", "-c", TRAP.format(number.name[3:])) as (launcher, groups):
        assert alive(groups)
        launcher.send_signal(number)
        out, errors = launcher.communicate(timeout=PATIENCE_S)
        assert (out, errors, launcher.returncode) == (b"told\n", b"", 3)
        assert alive(groups) == []


def test_a_second_signal_ends_a_command_that_ignores_the_first() -> None:
    with running("sh", "-c", STUBBORN) as (launcher, groups):
        launcher.terminate()
        time.sleep(0.5)  # two at once are one to the kernel
        launcher.terminate()
        _, errors = launcher.communicate(timeout=PATIENCE_S)
        assert (errors, launcher.returncode) == (b"", 128 + signal.SIGTERM)
        assert alive(groups) == []


def test_nothing_is_left_of_a_killed_launcher(tmp_path: Path) -> None:
    with running("sh", "-c", STUBBORN, env={"HOME": str(tmp_path)}) as (launcher, groups):
        mapped = contents(Path(f"/proc/{kernel(groups)}/maps")).decode().splitlines()
        shared = {fields[5] for line in mapped if (fields := line.split(maxsplit=5))[1][3] == "s"}
        assert shared  # its memory, a file that has no name any more
        assert all(name.endswith("(deleted)") for name in shared)
        (cpu,) = os.sched_getaffinity(kernel(groups))
        assert cpu in os.sched_getaffinity(0)
        launcher.kill()
        until("nothing is left", lambda: not alive(groups))
    assert list(tmp_path.iterdir()) == []  # no ~/.uml either


def test_a_guest_that_dies() -> None:
    with running("sh", "-c", STUBBORN) as (launcher, groups):
        os.kill(kernel(groups), signal.SIGKILL)
        _, errors = launcher.communicate(timeout=PATIENCE_S)
        assert b"ipvs-kernel: the user-mode kernel died" in errors
        assert launcher.returncode == 125
        until("nothing is left", lambda: not alive(groups))


def test_a_kernel_panic_is_told() -> None:
    done = launched("sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger")
    assert done.returncode == 125
    assert "the user-mode kernel died:\n" in done.stderr.decode()
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stderr.decode()


def test_a_terminal() -> None:
    """The guest has its own terminal of the same size; Ctrl-C goes to the command."""
    launcher, terminal = pty.fork()
    if launcher == 0:
        script = "tty; stty size; read line; echo got $line; echo waiting >&2; sleep 1000; echo no"
        os.execv(LAUNCHER[0], [*LAUNCHER, "bash", "-c", script])
    try:
        termios.tcsetwinsize(terminal, (33, 77))
        before = termios.tcgetattr(terminal)
        shown = output_until(terminal, "33 77\r\n")
        os.write(terminal, b"a line\r")
        shown += output_until(terminal, "waiting\r\n")
        os.write(terminal, b"\x03")
        shown += output_until(terminal, "")
        assert shown.startswith("/dev/pts/0\r\n")
        assert "got a line\r\n" in shown
        assert "no\r\n" not in shown
        assert before == termios.tcgetattr(terminal)
    finally:
        os.close(terminal)
        _, status = os.waitpid(launcher, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT


def test_a_terminal_that_is_closed() -> None:
    launcher, terminal = pty.fork()
    if launcher == 0:
        os.execv(LAUNCHER[0], [*LAUNCHER, "bash", "-c", TRAP.format("HUP")])
    try:
        output_until(terminal, "ready\r\n")
    finally:
        os.close(terminal)
        _, status = os.waitpid(launcher, 0)
    assert os.waitstatus_to_exitcode(status) == 3


def output_until(terminal: int, text: str) -> str:
    """Return the output on the terminal up to `text`; "" is its end."""
    shown = b""
    deadline = time.monotonic() + PATIENCE_S
    while not text or text.encode() not in shown:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], shown
        try:
            shown += os.read(terminal, 1)
        except OSError:
            break
    return shown.decode()


def test_what_it_takes(tmp_path: Path) -> None:
    """It is reported before anything is started."""
    done = launched("true", env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 125
    assert done.stderr.decode() == (
        "ipvs-kernel: user-mode Linux (linux.uml) is not installed\n"
        "  try: apt-get install user-mode-linux\n"
    )
    done = launched("true", options=("--memory", "999999999"))
    assert done.returncode == 125
    assert "no folder with 999999999 MiB of room" in done.stderr.decode()


def test_small_shared_memory() -> None:
    """The guest's memory goes to another folder, for instance in a container."""
    small = "mount -t tmpfs -o size=64m,noexec none /dev/shm"
    done = launched(
        "cat", "/proc/meminfo", options=("--memory", "512"), before=in_own_mounts(small)
    )
    assert done.returncode == 0
    total = int(done.stdout.split()[1])
    assert 400 << 10 < total < 512 << 10  # KiB


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Make a temporary folder for all users: pytest's own are for one."""
    with tempfile.TemporaryDirectory(prefix="kproxy-test-", dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def test_an_ordinary_user(open_path: Path) -> None:
    """The user is root in the guest only, with its own rights to files."""
    mine, others = open_path / "mine", open_path / "others"
    mine.mkdir()
    others.mkdir()
    os.chown(mine, 65534, 65534)
    # Other users may have no access to this checkout and its Python.
    shutil.copytree(Path(kproxy.__file__).parent, open_path / "kproxy")
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    assert python
    before = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    script = "id -u; ipvsadm -A -t 10.0.0.1:80 && echo yes; echo >mine/a; echo >others/b"
    done = subprocess.run(
        [*before, python, *LAUNCHER[1:], "sh", "-c", script],
        cwd=open_path,
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"0\nyes\n", done.stderr
    assert b"others/b: Permission denied" in done.stderr
    assert (mine / "a").stat().st_uid == 65534
    assert list(others.iterdir()) == []


def test_this_machine_is_not_user_mode_linux() -> None:
    """These tests start guests, which cannot be done inside one."""
    assert not on_uml()
