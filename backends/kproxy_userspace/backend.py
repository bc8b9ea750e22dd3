"""The userspace backend: one sync.

First the node gets the addresses, then the listeners change, all of them or none; addresses that
no Service has any more are removed last, when no listener uses them.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kproxy.backend import (
    Delta,
    Family,
    NodeSettings,
    Plan,
    Ruleset,
    ServicePortName,
    Support,
    SyncReport,
)
from kproxy_userspace import addresses
from kproxy_userspace.options import UserspaceOptions
from kproxy_userspace.wanted import PROTOCOLS, Changes, Place, Wanted, in_words

if TYPE_CHECKING:
    from kproxy_userspace.forwarder import Forwarder

RETRY_S = 5.0  # until the next try to listen where another process does

log = logging.getLogger("kproxy")


class UserspaceBackend:
    """One family's proxy in the namespace of the calling thread. See kproxy.backend.Backend."""

    name = "userspace"

    def __init__(self, family: Family, options: UserspaceOptions) -> None:
        self.family = family
        self._options = options
        self._forwarder: Forwarder | None = None  # started at first use, in its namespace
        self._wanted: Wanted | None = None  # of the last sync; None: it has failed
        self._taken: set[Place] = set()  # another process listens there
        self._left_out: set[ServicePortName] = set()  # of a protocol that is not forwarded

    def support(self) -> Support:
        release = os.uname().release
        found = re.match(r"(\d+)\.(\d+)", release)
        if found and (int(found[1]), int(found[2])) < addresses.NEEDS_LINUX:
            return Support(
                False,
                f"Linux {release} does not keep who made an address",
                "use Linux {}.{} or newer".format(*addresses.NEEDS_LINUX),
            )
        return Support(True, "client addresses are not kept, and SCTP is not forwarded")

    def prepare(self, _settings: NodeSettings, /) -> None:
        """Do nothing: no setting of the kernel matters."""

    def sync(self, plan: Plan, delta: Delta) -> SyncReport:
        known, self._wanted = self._wanted, None
        if self._forwarder is None:
            # asyncio takes 3 MiB, and other modes make such an object only to look for leftovers.
            from kproxy_userspace.forwarder import Forwarder

            self._forwarder = Forwarder(self._options, f"kproxy-{self.name}-{self.family.value}")
        full = delta.full or known is None
        if known is None or full:
            ours, others = self._look()
            known = Wanted(others, plan.settings)
            for name, service in plan.services.items():
                known.change(name, None, service)
            changes = known.take_difference(self._forwarder.listeners, ours)
        else:
            for name, former in delta.before.items():
                known.change(name, former, plan.services.get(name))
            changes = known.take_changes(again=self._taken)
        written = self._apply(self._forwarder, changes)
        self._wanted = known
        self._warn_of_protocols(plan.services if full else delta.before)
        return SyncReport(
            full=full,
            transactions=1 if any(written.values()) else 0,
            rules_written=written,
            again_in_s=RETRY_S if self._taken else 0,
        )

    def intact(self) -> bool:
        """Tell whether all sockets still listen, and the addresses are those of the last sync."""
        if self._wanted is None or self._forwarder is None or not self._forwarder.alive:
            return False
        ours, others = self._look()
        return self._wanted.suits(others, ours)

    def read(self) -> Ruleset:
        """Return the `addresses` of Services on lo, and what each of the `listeners` does."""
        listeners = self._forwarder.listeners if self._forwarder else {}
        return in_words(self._look()[0], listeners)

    def cleanup(self) -> None:
        self._wanted = None
        ours, _ = self._look()
        if self._forwarder:
            self._apply(
                self._forwarder, Changes(dict.fromkeys(self._forwarder.listeners), set(), ours)
            )
        else:
            addresses.remove(ours)

    def close(self) -> None:
        forwarder, self._forwarder = self._forwarder, None
        if forwarder:
            forwarder.close()

    def _look(self) -> tuple[set[str], set[str]]:
        """Return the addresses of Services that the node has, and all its others."""
        found = addresses.look(self.family)
        ours = {each.address for each in found if each.ours}
        return ours, {each.address for each in found if not each.ours}

    def _apply(self, forwarder: Forwarder, changes: Changes) -> dict[str, int]:
        """Change addresses and listeners. Returns how many of each were written."""
        added = addresses.add(changes.added)
        try:
            taken = forwarder.apply(changes.listeners)
        except BaseException:
            addresses.remove(added)
            raise
        for place in taken - self._taken:
            log.warning(
                "another process has %s, so %s is not served there; next try in %.0f s",
                place,
                getattr(changes.listeners[place], "service", "nobody"),
                RETRY_S,
            )
        for place in self._taken & changes.listeners.keys() - taken:
            log.info("%s is free", place)
        self._taken = self._taken - changes.listeners.keys() | taken
        forwarder.reset(changes.removed)
        addresses.remove(changes.removed)
        return {
            "addresses": len(added) + len(changes.removed),
            "listeners": len(changes.listeners) - len(taken),
        }

    def _warn_of_protocols(self, names: Iterable[ServicePortName]) -> None:
        """Log, once for each service port, that it is not served."""
        left_out = {name for name in names if name.protocol not in PROTOCOLS} - self._left_out
        for name in left_out:
            log.warning("%s is not served: %s mode has no %s", name, self.name, name.protocol)
        self._left_out |= left_out
