"""Programs: what goes in, what comes out, and how they end."""

import os
import threading
from collections.abc import Iterator

import pytest

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.process import run

LINES = 300_000


def many_lines() -> Iterator[str]:
    for number in range(LINES):
        yield f"{number:099d}\n"


def test_what_goes_in_comes_out() -> None:
    assert run(["cat"], "grüße\n") == "grüße\n"
    assert run(["cat"]) == ""


def test_thirty_megabytes_in_both_directions() -> None:
    output = run(["cat"], many_lines())
    assert len(output) == 100 * LINES
    assert output.endswith(f"{LINES - 1:099d}\n")


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


def test_time_out_kills() -> None:
    with pytest.raises(KernelRefused, match=r"not done after 0\.2 s"):
        run(["sh", "-c", "echo $$; exec sleep 1000"], timeout_s=0.2)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_child_sleeping(pid)]


def test_time_out_while_feeding() -> None:
    with pytest.raises(KernelRefused, match=r"not done after 0\.2 s"):
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
    before = len(os.listdir("/proc/self/fd"))
    run(["true"])
    with pytest.raises(KernelRefused):
        run(["false"], "x")
    assert len(os.listdir("/proc/self/fd")) == before


def _is_child_sleeping(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[1]) == os.getpid()
