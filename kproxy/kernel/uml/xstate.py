"""Lets user-mode Linux run on processors with AMX.

Their registers take 11 KiB. User-mode Linux before 6.13 keeps the first 2696 bytes of them for each
of its processes, and gives those back (PTRACE_SETREGSET), which the machine's kernel refuses unless
it gets all: the first process of the guest dies. No process of a guest can use AMX, so the rest is
zero, and a few lines of C that are preloaded into user-mode Linux add it.
Source: seen with 6.1.176 and 6.12.113 on a Xeon with AMX; Linux, arch/x86/kernel/fpu/regset.c.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import ExitStack
from pathlib import Path

from kproxy.errors import Unsupported
from kproxy.kernel.process import run

_SOURCE = Path(__file__).with_suffix(".c")


def is_needed(program: str) -> bool:
    """Tell whether this user-mode Linux does not run on this processor by itself."""
    first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    return "amx_tile" in first.split() and is_old(run([program, "--version"]))


def is_old(version: str) -> bool:
    """Tell whether a user-mode Linux of that version keeps only some registers: before 6.13."""
    return tuple(map(int, re.findall(r"\d+", version)[:2])) < (6, 13)


def library() -> int:
    """Return a descriptor of the library to preload, in memory: it ends with its last user.

    Raises Unsupported if there is no compiler, KernelRefused if that fails.
    """
    if not shutil.which("tcc"):
        raise Unsupported(
            "user-mode Linux does not run on this processor, which has AMX, without a few lines of "
            "C, and there is no compiler for them (tcc)",
            remedy="apt-get install tcc",
        )
    with ExitStack() as undo:
        descriptor = os.memfd_create("xstate.so")
        undo.callback(os.close, descriptor)
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
        run(["tcc", "-shared", "-nostdlib", "-o", path, str(_SOURCE)])
        undo.pop_all()
    return descriptor
