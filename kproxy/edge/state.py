"""The state of load balancers at a moment, as frozen values, for reports and tests."""

from __future__ import annotations

from dataclasses import dataclass

from kproxy.edge.listeners import Listener, ListenerBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """A backend and its health. `reason`: what was wrong at its last check, or "".

    `connections`: those that are not closing yet; 0 if the algorithm does not count them.
    """

    backend: ListenerBackend
    healthy: bool
    reason: str = ""
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerState:
    """A listener and its backends.

    `draining`: removed backends, `address:port`, whose connections may still go on.
    """

    listener: Listener
    backends: tuple[BackendState, ...]
    draining: tuple[str, ...] = ()

    @property
    def healthy(self) -> tuple[str, ...]:
        """Return the names of the nodes that get new connections."""
        return tuple(each.backend.name for each in self.backends if each.healthy)
