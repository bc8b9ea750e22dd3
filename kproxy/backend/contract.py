"""The contract between the control loop and a backend, version 1.

A backend turns the plan of one IP family into the state of one network namespace: the one that the
calling thread is in. `docs/backends.md` introduces it; here is every rule, and
`kproxy.testing.backend_contract` has them as tests.

Which object is made when:
- The factory is called with a family and options, for each family that a proxy serves. It is also
  called for every other installed mode, at the start of `run` and by `--cleanup`, to find and
  remove what that mode has left. So making an object must be cheap and must change nothing.
- It may be called in another namespace than the one that the methods will be called in. Look at the
  kernel in a method, not in the constructor.
- `support`, `read`, `cleanup`, and `Predecessor`'s methods, work on an object that has never
  synced. Such an object must find what another one left, even one in a process that was killed.

Who calls:
- One caller at a time, but each call may come from another thread. That thread is in the right
  namespace during the call. Sockets, threads and processes started in a call stay there.
- `close` is the last call. It may come without any other call before it.

What may be raised: `KernelRefused` and `Unsupported` (whose `remedy` says what to do), and OSError.
Any other exception is a fault of the backend. Either way the sync has failed, is logged with the
backend's name, and is tried again, in full; the proxy and the other family go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from kproxy.address import Family
from kproxy.forwarding.plan import Delta, NodeSettings, Plan
from kproxy.kernel.iptables_save import Jump

CONTRACT_VERSION = 1
"""Increased whenever a backend that was written for the former version would no longer work."""


class Support(Struct, frozen=True):
    """A backend's ability to run here. `missing` says what is lacking, `remedy` what to install."""

    ok: bool
    missing: str = ""
    remedy: str = ""


class SyncReport(Struct, frozen=True, kw_only=True):
    """The report of one sync: how much it wrote."""

    full: bool
    """Everything was written, not only what differs."""
    transactions: int
    """How many commits the kernel made; 0 if there was nothing to do."""
    rules_written: Mapping[str, int]
    """How many rules, elements or entries were written, by table."""
    again_in_s: float = 0
    """Seconds after which `sync` is called even if nothing has changed; 0 for never."""


Ruleset = Mapping[str, Mapping[str, tuple[str, ...]]]
"""table -> chain -> rules in order, each as the kernel's own tool prints it."""


class Backend(Protocol):
    """One family's state in the namespace of the calling thread. See the module for all rules."""

    def support(self) -> Support:
        """Tell whether this backend can work here. Changes nothing."""
        ...

    def prepare(self, settings: NodeSettings, /) -> None:
        """Write the kernel settings that the rules rely on; a full sync does so too.

        Raises KernelRefused, Unsupported.
        """
        ...

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        """Make the kernel match `plan`: all of it or nothing. Repeating it is harmless.

        `delta` is relative to the last sync of this object that did not raise. After an error, and
        on a new object, it is `Delta(full=True)`, and then nothing may be assumed of the kernel; it
        is empty if the report of the last sync asked for another call. `plan` is a value: it may be
        kept and compared. Raises KernelRefused; the former state is in force then. It is no error
        if others hold on to what is no longer needed (`kproxy.backend.held`).
        """
        ...

    def intact(self) -> bool:
        """Tell whether what the last sync wrote is still there and still suits this node.

        Called once a second, so it must be cheap. False makes the next sync a full one. Called only
        after a sync that did not raise.
        """
        ...

    def read(self) -> Ruleset:
        """Return what the kernel now holds of this mode; empty if nothing.

        A mode whose rules depend on history in some harmless way (their order, say) has
        `Mode.comparable`.
        """
        ...

    def cleanup(self) -> None:
        """Remove everything that this mode wrote, in dead processes too, and nothing else.

        Harmless if there is nothing. Raises KernelRefused after removing what can be removed.
        """
        ...

    def close(self) -> None:
        """End threads and close descriptors. What is in the kernel stays.

        Harmless when repeated; no other method is called after it.
        """
        ...


class Uses(Struct, frozen=True, kw_only=True):
    """The chains and jumps that a mode writes under names that other modes use as well."""

    mode: str
    variant: str = ""
    """The variant of iptables; "" for none."""
    chains: frozenset[tuple[str, str]] = frozenset()
    """Table and name of each chain that the mode has in every namespace."""
    jumps: frozenset[Jump] = frozenset()


@runtime_checkable
class Predecessor(Protocol):
    """The methods of a backend that shares names with other modes, or cannot be removed at once.

    Another mode, or the same one in another variant of iptables, calls them after its own first
    sync. For a backend without them, `read` tells whether anything is left, and `cleanup` removes
    it.
    """

    def uses(self) -> Uses:
        """Return what must stay while this backend is in force."""
        ...

    def has_left(self, successor: Uses, /) -> bool:
        """Tell whether there is anything that `leave` would remove. Starts no process."""
        ...

    def leave(self, successor: Uses, /) -> bool:
        """Remove everything except what `successor` uses and what open connections need.

        Returns whether connections need anything; if so, this is called again later. Raises
        KernelRefused, Unsupported.
        """
        ...


# `Any`: each mode's options are of a type of its own (`Mode.options`).
BackendFactory = Callable[[Family, Any], Backend]
