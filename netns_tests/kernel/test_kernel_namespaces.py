"""The namespaces of this machine are found by their names, and by the processes in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kproxy.errors import BadInput
from kproxy.kernel.namespaces import Found, all_namespaces, this_and
from kproxy.kernel.netns import Namespace
from netns_tests.run.running import until

PUBLISHED = f"kproxy-found-{os.getpid()}"


@contextmanager
def opened(found: Found) -> Iterator[dict[str, int]]:
    """Let the block have the inodes of what was found."""
    try:
        yield {name: each.inode for name, each in found.namespaces.items()}
    finally:
        for each in found.namespaces.values():
            each.close()


@contextmanager
def process_in(namespace: Namespace, hostname: str = "") -> Iterator[int]:
    """Have a process in the namespace, which has this HOSTNAME if it is given."""
    environment = {key: value for key, value in os.environ.items() if key != "HOSTNAME"}
    environment |= {"HOSTNAME": hostname} if hostname else {}
    with namespace.entered():
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=environment)
    with process:
        until("it runs", lambda: is_running(process.pid))
        yield process.pid
        assert process.stdin
        process.stdin.close()


def is_running(pid: int) -> bool:
    """Tell whether a process runs `cat`, and has its environment, which it gets a moment later."""
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    return os.readlink(f"/proc/{pid}/exe").endswith("cat") and b"PATH=" in environment


def test_those_of_processes() -> None:
    with (
        Namespace.create() as first,
        Namespace.create() as second,
        Namespace.current() as here,
        process_in(first, "web-7d4-x2x") as _,
        process_in(second) as pid,
        opened(all_namespaces()) as found,
    ):
        assert next(iter(found.values())) == here.inode
        assert found["web-7d4-x2x"] == first.inode
        known = next(name for name, inode in found.items() if inode == second.inode)
        assert known.endswith(f"-{pid}")


def test_those_with_names() -> None:
    with Namespace.create() as created:
        created.publish(PUBLISHED)
        with opened(all_namespaces()) as found:
            assert found[PUBLISHED] == created.inode
        with process_in(created, "web"), opened(all_namespaces()) as found:
            assert found["web"] == created.inode
            assert PUBLISHED not in found  # it is there once
        with opened(this_and([PUBLISHED])) as found:
            assert list(found.values())[1:] == [created.inode]
        with created.entered(), opened(this_and([PUBLISHED])) as found:
            assert found == {PUBLISHED: created.inode}


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(BadInput, match="no network namespace called 'nosuch'"):
        this_and(["nosuch"])
