"""Functions of a mode whose module is imported when they are called first.

Questions on paper ask a mode for its rules of the oracle only: what writes and lists rules takes
longer to import than the answer takes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def late(module: str, name: str) -> Callable[..., Any]:
    """Return a function that calls the function `name` of a module."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(module), name)(*arguments)

    return call
