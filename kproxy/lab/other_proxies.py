"""Service proxies that are not kproxy's own, on the nodes of a lab.

The lab predicts what they have to do: its own proxies plan, for every node, and write nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from kproxy.address import Family
from kproxy.backend import Ruleset, Support, SyncReport
from kproxy.forwarding.plan import BackendOptions, Delta, NodeSettings, Plan
from kproxy.store import Update

if TYPE_CHECKING:
    from kproxy.lab.lab import Lab


class OtherProxies(Protocol):
    """The proxies of all nodes, whatever they are."""

    def start(self, lab: Lab, undo: ExitStack, /) -> Callable[[Update], None]:
        """Start them, until `undo` is closed, and return what is called after every change of the
        lab's objects: it returns when they have it in force.
        """


class Bystander:
    """A backend that leaves the kernel as it is."""

    def __init__(self, _family: Family, _options: BackendOptions) -> None:
        """Be ready."""

    def support(self) -> Support:
        return Support(ok=True)

    def prepare(self, _settings: NodeSettings, /) -> None:
        """Do nothing."""

    def sync(self, _plan: Plan, delta: Delta, /) -> SyncReport:
        return SyncReport(full=delta.full, transactions=0, rules_written={})

    def intact(self) -> bool:
        return True

    def read(self) -> Ruleset:
        return {}

    def cleanup(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
