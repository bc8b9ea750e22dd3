"""A measurement in a process of its own, `python -m MODULE REQUEST`: JSON in, JSON out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from kproxy.errors import KproxyError
from kproxy.kernel.process import ending_with_us, run
from kproxy.typed import decoded

# Put before a command, this has malloc (mallopt(3)) give no memory back: a page that user-mode
# Linux has to provide again costs as much as many system calls.
KEEPING_MEMORY = (
    *("env", "MALLOC_ARENA_MAX=1", "MALLOC_TOP_PAD_=4194304"),
    *("MALLOC_TRIM_THRESHOLD_=268435456", "MALLOC_MMAP_THRESHOLD_=67108864"),
)

_Request = TypeVar("_Request", bound=Struct)
_Result = TypeVar("_Result")


def measure_apart(
    module: str,
    request: Struct,
    result: type[_Result],
    *,
    on_uml: bool = False,
    timeout_s: float = 3600,
) -> _Result:
    """Return the result of the measurement `module`. `on_uml`: on user-mode Linux, which has IPVS.

    Raises KernelRefused, with the process's error message, if it fails.
    """
    python = [sys.executable, "-m"]
    there = [*python, "kproxy.kernel.uml", *KEEPING_MEMORY] if on_uml else []
    # It is terminated however this process ends: this thread waits in `run`.
    argv = [*ending_with_us("TERM"), *there, *python, module, msgspec.json.encode(request).decode()]
    return decoded(run(argv, timeout_s=timeout_s), result)


def answer(measure: Callable[[_Request], object], request: type[_Request]) -> None:
    """Act as the measuring process: read the request, write the result to standard output."""
    try:
        result = measure(decoded(sys.argv[1], request))
    except KproxyError as error:
        sys.exit(f"{error}\n{error.remedy}".strip())
    sys.stdout.write(msgspec.json.encode(result).decode())
