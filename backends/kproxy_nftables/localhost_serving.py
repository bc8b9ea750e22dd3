"""Keeps the TCP proxy for node ports on the loopback address in step with the plan."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from kproxy.address import Family
from kproxy.forwarding.plan import Delta, LoopbackNodePorts, Plan
from kproxy_nftables.localhost_listeners import Changes, Wanted, place

if TYPE_CHECKING:
    from kproxy_nftables.localhost_proxy import LocalhostProxy

log = logging.getLogger("kproxy")


class LocalhostServing:
    """One family's listeners. All methods are called in the namespace of the node.

    `listeners`: how many there are. `creation_failures`: how often one could not be made.
    """

    def __init__(self, family: Family) -> None:
        self.listeners = 0
        self.creation_failures = 0
        self._family = family
        self._proxy: LocalhostProxy | None = None  # started for the first listener
        self._wanted = Wanted()
        self._failed: set[int] = set()  # ports without the listener that they should have

    @property
    def intact(self) -> bool:
        """Tell whether nothing has ended but what was to end."""
        return self._proxy is None or self._proxy.alive

    def follow(self, plan: Plan, delta: Delta) -> None:
        """Make the listeners suit the plan, after a sync that has succeeded.

        `delta`: as for the sync. Where no listener can be made, the next call tries it again.
        """
        if plan.settings.loopback_node_ports is not LoopbackNodePorts.SERVED:
            self.close()
            return
        if delta.full:
            self._wanted = Wanted()
            for name, service in plan.services.items():
                self._wanted.change(name, None, service)
            changes = self._wanted.take_difference(self._proxy.listeners if self._proxy else {})
        else:
            for name, former in delta.before.items():
                self._wanted.change(name, former, plan.services.get(name))
            changes = self._wanted.take_changes(again=self._failed)
        if changes:
            self._apply(changes)

    def close(self) -> None:
        """End all listeners and their connections."""
        self.listeners = 0
        proxy, self._proxy = self._proxy, None
        if proxy:
            proxy.close()

    def _apply(self, changes: Changes) -> None:
        if self._proxy is None:
            # asyncio takes 3 MiB, and hardly any node has such listeners.
            from kproxy_nftables.localhost_proxy import LocalhostProxy

            self._proxy = LocalhostProxy(self._family)
        failed = self._proxy.apply(changes)
        for port, error in failed.items():
            log.error(
                "Failed to create localhost nodeport proxy: failed to listen on %s: %s",
                place(self._family, port),
                os.strerror(error.errno or 0),
            )
        self.creation_failures += len(failed)
        self.listeners = len(self._proxy.listeners)
        self._failed = self._failed - changes.keys() | failed.keys()
