"""An interface for those who measure a proxy while it works. Nobody has to listen."""

from __future__ import annotations

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.forwarding.plan import Delta, Plan


class Observer:
    """Hears what happens, in the thread of the proxy. By itself it does nothing.

    Every method is on the way of each sync: it must not wait or raise, and cost next to nothing.
    """

    def requested(self) -> None:
        """A sync was requested."""

    def changed(self, obj: KubernetesObject, *, deleted: bool) -> None:
        """An object was stored, or deleted: then `obj` is what it was before."""

    def taken(self) -> None:
        """A sync has begun: it plans everything that has changed so far."""

    def tried(self, family: Family, duration_s: float, *, full: bool, ok: bool) -> None:
        """A backend has synced, or failed to. `full`: everything was to be written."""

    def in_step(self, plan: Plan, delta: Delta) -> None:
        """A family is in step with the objects. `delta` as for a backend; it may be empty."""

    def flows_checked(self, family: Family, duration_s: float, cut: int) -> None:
        """UDP flows of a family were looked at after a sync, and so many were cut."""
