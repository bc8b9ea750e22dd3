"""Where the proxies of a lab have their objects from, if the lab does not hand them over itself.

    verbs -> (the source) -> proxies

Such a source is an API server: `kproxy.resident.through_api`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from kproxy.lab.object_verbs import ObjectVerbs
from kproxy.store import Update

if TYPE_CHECKING:
    from kproxy.lab.lab import Lab


class ObjectSource(Protocol):
    """A source for the proxies of all nodes, which calls `Lab.sync_proxy` with what it has."""

    def start(
        self, lab: Lab, verbs: ObjectVerbs, undo: ExitStack, /
    ) -> tuple[ObjectVerbs, Callable[[Update], None]]:
        """Start it, until `undo` is closed; return when all nodes have synced what there is.

        Returns the verbs that write there, which may be the given ones, and what is called after
        every change of the lab's objects: it returns when all proxies have that in force.
        """
