"""Nothing is left of an nginx when its lab ends.

In a module of its own: nothing is known of descriptors while another lab of this process is up,
whose proxies may just connect to its API again.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kproxy.lab import Lab
from kproxy.lab.pods import nginx
from netns_tests.descriptors import open_descriptors
from netns_tests.lab.test_ingress import SMALL


def processes(inode: int) -> list[int]:
    """Return the processes in the network namespace with that inode."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.stat(path / "ns" / "net").st_ino == inode:
                found.append(int(path.name))
        except OSError:  # it has ended meanwhile
            continue
    return sorted(found)


@contextmanager
def watched(pids: list[int]) -> Iterator[list[int]]:
    """Yield descriptors of processes, each readable when its process has ended."""
    with ExitStack() as stack:
        descriptors = []
        for pid in pids:
            descriptors.append(os.pidfd_open(pid))
            stack.callback(os.close, descriptors[-1])
        yield descriptors


def all_end(descriptors: list[int], within_s: float) -> bool:
    return all(select.select([each], [], [], within_s)[0] for each in descriptors)


def test_nothing_is_left_when_the_lab_ends() -> None:
    before = open_descriptors()
    with ExitStack() as stack:
        with Lab(SMALL, mode=None) as lab:
            running = stack.enter_context(watched(processes(lab.pods["front"].namespace.inode)))
            assert len(running) == 3  # keeper, master, worker
            assert not any(select.select(running, [], [], 0)[0])
        assert all_end(running, 0)
    assert open_descriptors() == before


def test_nothing_is_left_after_an_error_during_bring_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(SMALL, mode=None)
    before = open_descriptors()
    with ExitStack() as stack:
        running: list[int] = []

        def fail(started: nginx.Nginx) -> None:
            inode = os.stat(f"/proc/{started._keeper.pid}/ns/net").st_ino
            running.extend(stack.enter_context(watched(processes(inode))))
            raise ZeroDivisionError

        monkeypatch.setattr(nginx.Nginx, "await_start", fail)
        with pytest.raises(ZeroDivisionError), lab:
            pass
        assert running
        assert all_end(running, 0)
    assert open_descriptors() == before


CHILD = """
import sys
import time
from kproxy.lab import Lab
from netns_tests.lab.test_ingress_ends import SMALL, processes
with Lab(SMALL, mode=None) as lab:
    print(*processes(lab.pods["front"].namespace.inode), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("victim", ["lab", "keeper"])
def test_nothing_is_left_after_a_kill(victim: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            assert process.stdout
            pids = [int(word) for word in process.stdout.readline().split()]
            assert len(pids) == 3
            with watched(pids) as running:
                os.kill(process.pid if victim == "lab" else pids[0], signal.SIGKILL)
                assert all_end(running, 30)
        finally:
            process.kill()
