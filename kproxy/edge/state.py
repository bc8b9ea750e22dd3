"""What load balancers do at a moment, as frozen values, for reports and tests."""

from __future__ import annotations

from dataclasses import dataclass

from kproxy.edge.listeners import Backend, Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """`reason`: what was wrong at its last check, or "".

    `connections`: that are not closing yet; 0 where the schedule does not need them.
    """

    backend: Backend
    healthy: bool
    reason: str = ""
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerState:
    """`draining`: former backends, `address:port`, whose connections may still go on."""

    listener: Listener
    backends: tuple[BackendState, ...]
    draining: tuple[str, ...] = ()

    @property
    def healthy(self) -> tuple[str, ...]:
        """Names of the nodes that get new connections."""
        return tuple(each.backend.name for each in self.backends if each.healthy)
