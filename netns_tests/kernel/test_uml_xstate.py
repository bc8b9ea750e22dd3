"""User-mode Linux keeps the registers of its processes, with what AMX needs preloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kproxy.kernel.uml import xstate

WITH_AMX = """
import sys
from kproxy.kernel.uml import command, xstate
xstate.is_needed = lambda program: True
command.main()
"""
LAUNCHER = (sys.executable, "-c", WITH_AMX, "--kernel", "uml")
# The C library searches in the widest registers there are. Each page that is new interrupts that.
SEARCHES = """
import mmap, threading
sizes = [(1 << 12) * pages - 7 for pages in range(1, 200, 2)]
found = []
def search():
    for size in sizes:
        with mmap.mmap(-1, size + 1) as memory:
            memory[size] = ord("%")
            found.append(memory.find(b"%") == size and memory.find(b"#") == -1)
threads = [threading.Thread(target=search) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), all(found))
"""

VERSIONS = [("6.1.176", True), ("6.12.113\n", True), ("6.13", False), ("6.13.1", False)]


@pytest.mark.parametrize(("version", "old"), [*VERSIONS, ("7.2.7\n", False), ("10.0", False)])
def test_versions_that_need_it(version: str, old: bool) -> None:
    assert xstate.is_old(version) is old


def test_wide_registers_are_kept() -> None:
    done = subprocess.run(
        [*LAUNCHER, sys.executable, "-c", SEARCHES], capture_output=True, check=False
    )
    assert (done.stderr, done.stdout) == (b"", f"{3 * 100} True\n".encode())


def test_amx_without_a_compiler(tmp_path: Path) -> None:
    (tmp_path / "linux.uml").symlink_to(shutil.which("linux.uml") or "")
    done = subprocess.run(
        [*LAUNCHER, "true"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"AMX" in done.stderr
    assert done.stderr.endswith(b"try: apt-get install tcc\n")
