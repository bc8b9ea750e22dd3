"""For tests: labs as fixtures, expectations that explain themselves, and all that a backend needs.

The plugin provides the fixtures `kproxy_lab` and `kproxy_module_lab`; this package exports the
expectations: `assert lab.ask("outside", "10.96.0.10", 80) == delivered("pod-a", source="outside")`.

For authors of backends: `MemoryBackend`, and the contract as tests (`backend_contract`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kproxy.outcome import Expectation
    from kproxy.testing.expectations import Answer, delivered, dropped, refused
    from kproxy.testing.lab import LabFactory, ProbedLab
    from kproxy.testing.memory_backend import MemoryBackend, MemoryKernel, printed

__all__ = [
    "Answer",
    "Expectation",
    "LabFactory",
    "MemoryBackend",
    "MemoryKernel",
    "ProbedLab",
    "delivered",
    "dropped",
    "printed",
    "refused",
]

_MODULES = {
    "LabFactory": "lab",
    "MemoryBackend": "memory_backend",
    "MemoryKernel": "memory_backend",
    "ProbedLab": "lab",
    "printed": "memory_backend",
}


def __getattr__(name: str) -> Any:
    # pytest imports the plugin, and so this package, in every run: it must be cheap.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"kproxy.testing.{_MODULES.get(name, 'expectations')}"), name)
