"""A measurement in a process of its own: `python -m MODULE SIZE`; size and result are JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from kproxy.errors import KproxyError
from kproxy.kernel.process import run

_Size = TypeVar("_Size", bound=Struct)
_Result = TypeVar("_Result", bound=Struct)


def measure_apart(module: str, size: Struct, result: type[_Result]) -> _Result:
    """What `module` measures. Raises KernelRefused, with its error message, if it fails."""
    argv = [sys.executable, "-m", module, msgspec.json.encode(size).decode()]
    return msgspec.json.decode(run(argv, timeout_s=3600), type=result)


def answer(measure: Callable[[_Size], Struct], size: type[_Size]) -> None:
    """Be that process."""
    try:
        result = measure(msgspec.json.decode(sys.argv[1], type=size))
    except KproxyError as error:
        sys.exit(f"{error}\n{error.remedy}".strip())
    sys.stdout.write(msgspec.json.encode(result).decode())
