"""The pytest plugin: labs as fixtures, and assertions about packets that explain themselves.

The plugin provides the fixtures `kproxy_lab` and `kproxy_module_lab`; this package exports the
expectations: `assert lab.ask("outside", "10.96.0.10", 80) == delivered("pod-a", source="outside")`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kproxy.outcome import Expectation
    from kproxy.testing.expectations import Answer, delivered, dropped, refused
    from kproxy.testing.lab import LabFactory, ProbedLab

__all__ = [
    "Answer",
    "Expectation",
    "LabFactory",
    "ProbedLab",
    "delivered",
    "dropped",
    "refused",
]

_LAB_NAMES = ("LabFactory", "ProbedLab")


def __getattr__(name: str) -> Any:
    # pytest imports the plugin, and so this package, in every run: it must be cheap.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "kproxy.testing.lab" if name in _LAB_NAMES else "kproxy.testing.expectations"
    return getattr(import_module(module), name)
