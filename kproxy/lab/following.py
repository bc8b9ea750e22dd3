"""Followers of a lab's objects: every node's proxy, and what must not be ahead of the proxies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from kproxy.lab.proxies import NoProxies, Proxies, SyncReports
from kproxy.store import Update


class Follower(Protocol):
    """A controller that acts on objects, such as that of ingresses or of load balancers."""

    def follow(self, update: Update) -> None:
        """Apply an update; return when it is in effect."""


class Followers:
    """The nodes first, so that no packet arrives before its rule, then the others in their order.

    Each of them is called, even if another one fails.
    """

    def __init__(self, proxies: Proxies | NoProxies, others: Sequence[Follower]) -> None:
        self._proxies = proxies
        self._others = tuple(others)

    def then(self, *others: Follower) -> Followers:
        """Return these followers and others after them."""
        return Followers(self._proxies, [*self._others, *others])

    def follow(self, update: Update, rest: Callable[[], None] | None = None) -> SyncReports:
        """Let all followers apply an update; return the nodes' reports. For `rest` see
        `Proxies.sync`.

        Raises what one of the followers raises, after all were called.
        """
        with ExitStack() as others:
            for each in reversed(self._others):  # the stack starts at its end
                others.callback(each.follow, update)
            return self._proxies.sync(update, rest)
