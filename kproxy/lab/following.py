"""Who follows the objects of a lab: every node's proxy, and what must not be ahead of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from kproxy.lab.proxies import NoProxies, Proxies, SyncReports
from kproxy.store import Update


class Follower(Protocol):
    """Such as the ingress controller, or that of the load balancers."""

    def follow(self, update: Update) -> None:
        """Return when what the update says is so."""


class Followers:
    """First the nodes, so that no packet arrives before its rule, then the others in their order.

    All have their turn, whatever happens to one of them.
    """

    def __init__(self, proxies: Proxies | NoProxies, others: Sequence[Follower]) -> None:
        self._proxies = proxies
        self._others = tuple(others)

    def then(self, *others: Follower) -> Followers:
        """Return these followers and others after them."""
        return Followers(self._proxies, [*self._others, *others])

    def follow(self, update: Update) -> SyncReports:
        """Return the nodes' reports when all have followed. Raises what one of them raises."""
        with ExitStack() as others:
            for each in reversed(self._others):  # the stack starts at its end
                others.callback(each.follow, update)
            return self._proxies.sync(update)
