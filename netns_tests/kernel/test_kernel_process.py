"""Programs: their input, their output, and their end."""

import os
import resource
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import process
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import ending_with_us, run
from netns_tests.descriptors import open_descriptors

LINES = 30_000
PATIENCE_S = 10


@pytest.fixture(autouse=True, params=[False, True], ids=["by-us", "by-a-small-process"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run each test with and without the small process that starts programs on user-mode Linux."""
    monkeypatch.setattr(process, "on_uml", lambda: request.param)
    return bool(request.param)


def many_lines() -> Iterator[str]:
    for number in range(LINES):
        yield f"{number:0999d}\n"


def test_what_goes_in_comes_out() -> None:
    assert run(["cat"], "grüße\n") == "grüße\n"
    assert run(["cat"]) == ""


def test_thirty_megabytes_in_both_directions() -> None:
    output = run(["cat"], many_lines())
    assert len(output) == 1000 * LINES
    assert output.endswith(f"{LINES - 1:0999d}\n")


def test_a_long_text_is_not_cut() -> None:
    text = "é" * 1_000_000
    assert run(["cat"], text) == text


def test_a_program_that_does_not_read() -> None:
    assert run(["echo", "done"], many_lines()) == "done\n"


def test_output_on_both_sides_does_not_stall() -> None:
    both = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2"
    assert len(run(["sh", "-c", both], many_lines())) == 1_000_000


def test_the_locale_is_fixed() -> None:
    assert run(["sh", "-c", "echo $LC_ALL"]) == "C\n"


def test_system_programs_are_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "iptables" in run(["iptables-nft", "--version"])


@pytest.mark.parametrize(
    ("program", "package"),
    [
        ("nft-none", "nftables"),
        ("iptables-none-restore", "iptables"),
        ("nfacct-none", "nfacct"),
        ("kproxy-none", "kproxy-none"),
    ],
)
def test_a_missing_program_names_its_package(program: str, package: str) -> None:
    with pytest.raises(Unsupported, match=f"{program}: not installed") as caught:
        run([program, "--version"])
    assert caught.value.remedy == f"apt-get install {package}"


FAILURES = [  # shell text, message
    ("echo no such chain >&2; exit 3", "exit status 3\n  no such chain"),
    (
        "for i in 1 2 3 4 5 6 7; do echo $i >&2; done; exit 1",
        "exit status 1\n  1\n  2\n  3\n  4\n  5",
    ),
    ("exit 4", "exit status 4"),
    ("kill -9 $$", "killed by signal 9"),
]


@pytest.mark.parametrize(("text", "message"), FAILURES)
def test_failures(text: str, message: str) -> None:
    with pytest.raises(KernelRefused) as caught:
        run(["sh", "-c", text], "some input")
    assert str(caught.value) == f"sh -c '{text}': {message}"


def test_time_out_kills(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(KernelRefused, match=r"killed, it was still running after 0\.5 s"):
        run(["sh", "-c", f"echo $$ >{pid}; exec sleep 1000"], timeout_s=0.5)
    assert not Path("/proc", pid.read_text().strip()).exists()


def test_time_out_while_feeding() -> None:
    with pytest.raises(KernelRefused, match=r"killed, it was still running after 0\.2 s"):
        run(["sleep", "1000"], many_lines(), timeout_s=0.2)


def test_an_error_while_making_the_input_kills() -> None:
    def broken() -> Iterator[str]:
        yield "x" * 100_000
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(["cat"], broken())


def test_several_threads_at_once() -> None:
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(run(["cat"], str(n) * 200_000)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [str(n) * 200_000 for n in range(8)]


def test_descriptors_are_not_left_open() -> None:
    before = open_descriptors()
    run(["true"])
    with pytest.raises(KernelRefused):
        run(["false"], "x")
    assert open_descriptors() == before


def test_a_process_with_many_descriptors() -> None:
    """A big lab's process has many descriptors; select(2) takes none above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1200):
            stack.enter_context(open(os.devnull, "rb"))
        assert run(["cat"], "hello") == "hello"


def test_a_program_is_where_its_thread_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Namespace.create() as namespace, namespace.entered():
        assert run(["readlink", "/proc/self/ns/net"]) == f"net:[{namespace.inode}]\n"
        assert run(["pwd"]) == f"{tmp_path}\n"
    assert run(["readlink", "/proc/self/ns/net"]) == f"{os.readlink('/proc/self/ns/net')}\n"


ENDLESS = """
import sys
from kproxy.kernel import process
process.on_uml = lambda: sys.argv[1] == "True"
def endless():
    while True:
        yield "x" * 10000
process.run(["sh", "-c", f"echo $$ $PPID >{sys.argv[2]}; exec cat >/dev/null"], endless())
"""


def test_nothing_outlives_us(tmp_path: Path, small: bool) -> None:
    """Neither the program nor the process that started it is left."""
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    argv = [sys.executable, "-c", ENDLESS, str(small), str(pids)]
    with subprocess.Popen(argv) as child:
        ends = [os.pidfd_open(int(pid)) for pid in pids.read_text().split()]
        child.kill()
    for end in ends:
        assert select.select([end], [], [], PATIENCE_S)[0]
        os.close(end)


AT_ONCE = """
import os, signal, subprocess
from kproxy.kernel.process import ending_with_us
subprocess.Popen([*ending_with_us("KILL", os.getpid()), "sleep", "600"])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_program_ends_with_a_parent_that_is_killed_at_once() -> None:
    """The parent may have ended before the program could ask the kernel for a signal."""
    for _ in range(10):
        reads, writes = os.pipe()  # it ends when no process holds it any more
        subprocess.run([sys.executable, "-c", AT_ONCE], pass_fds=[writes], check=False, timeout=60)
        os.close(writes)
        assert select.select([reads], [], [], PATIENCE_S)[0]
        os.close(reads)


def test_a_program_does_not_start_without_its_parent() -> None:
    ours, others = (ending_with_us("KILL", pid) for pid in (os.getpid(), os.getppid()))
    assert subprocess.run([*ours, "echo", "a b"], capture_output=True).stdout == b"a b\n"
    assert subprocess.run([*others, "echo", "a b"], capture_output=True).stdout == b""
