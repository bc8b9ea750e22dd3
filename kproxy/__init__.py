"""kube-proxy in one process: Services to kernel rules, clusters of namespaces, real packets.

Data only moves down: `sources` -> `store` -> `forwarding` (pure: planner, plan, oracle) -> a
backend, found by entry point -> `kernel`. `proxy` is the loop that moves it; `lab` builds clusters
to try it on, `probe` sends packets through them, `testing` gives both to pytest, `cli` to people.

Exported here is what most programs begin with: a lab, and the contract of backends. The rest is in
the packages that docs/design.md lists.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kproxy.backend import Backend, BackendOptions, Mode
    from kproxy.lab import Lab, LabSpec, load_spec

__all__ = ["Backend", "BackendOptions", "Lab", "LabSpec", "Mode", "load_spec"]

_BACKEND = ("Backend", "BackendOptions", "Mode")


def __getattr__(name: str) -> Any:
    # Loaded when asked for: every import of a module of kproxy runs this file.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("kproxy.backend" if name in _BACKEND else "kproxy.lab"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
