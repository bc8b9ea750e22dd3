"""Memory backends as subjects of the contract tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from kproxy.address import Family
from kproxy.backend import BackendOptions, Mode, Plan
from kproxy.testing import MemoryBackend, MemoryKernel
from kproxy.testing.backend_contract import Subject
from kproxy.testing.memory_backend import render

Make = Callable[[Family, BackendOptions, MemoryKernel], MemoryBackend]


def memory_subject(make: Make = MemoryBackend, **mode: object) -> Subject:
    """Return a subject with a kernel of its own and backends of `make`. `mode`: Mode's fields."""
    kernel = MemoryKernel()

    def foreign() -> None:
        for tables in kernel.tables.values():
            tables["mine"] = {"chain": ("drop",)}

    @contextmanager
    def refuse(family: Family, _before: Plan, _after: Plan) -> Iterator[None]:
        kernel.refuse(family)
        yield

    fields: dict[str, Any] = {
        "name": "memory",
        "backend": lambda family, options: make(family, options, kernel),
        "render": render,
    }
    return Subject(
        mode=Mode(**{**fields, **mode}),
        place=kernel.unshared,
        look=lambda: deepcopy(kernel.tables),
        foreign=foreign,
        sabotage=kernel.flush,
        refuse=refuse,
        edits=30,
    )
