"""The objects that all service ports of a node need, and the changes of them. Pure.

Services share objects: two may name one external IP, two ports one local endpoint. An object stays
as long as any service port needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, KeysView, Set
from typing import Generic, NamedTuple, TypeVar

from kproxy.backend.claims import Change, Claims
from kproxy.forwarding.plan import ServicePortName
from kproxy.kernel.ipvs import VirtualServer
from kproxy_ipvs.wanted import Entry, Server, Wanted

_T = TypeVar("_T")


class Difference(NamedTuple, Generic[_T]):
    """The steps from one set to another."""

    added: list[_T]
    removed: list[_T]


def difference(wanted: Set[_T], present: Set[_T]) -> Difference[_T]:
    return Difference(added=list(wanted - present), removed=list(present - wanted))


class Shared(Generic[_T]):
    """Objects with the number of service ports that need each."""

    def __init__(self) -> None:
        self._counts: dict[_T, int] = {}
        self._were_there: dict[_T, bool] = {}  # all that were touched since `take_changes`

    def want(self, things: Iterable[_T]) -> None:
        for thing in things:
            count = self._counts.get(thing, 0)
            self._were_there.setdefault(thing, count > 0)
            self._counts[thing] = count + 1

    def release(self, things: Iterable[_T]) -> None:
        for thing in things:
            count = self._counts.pop(thing)
            self._were_there.setdefault(thing, True)
            if count > 1:
                self._counts[thing] = count - 1

    def take_changes(self) -> Difference[_T]:
        """Return the objects added and removed since the last call."""
        touched, self._were_there = self._were_there, {}
        return Difference(
            added=[thing for thing, was in touched.items() if not was and thing in self._counts],
            removed=[thing for thing, was in touched.items() if was and thing not in self._counts],
        )

    def all(self) -> KeysView[_T]:
        return self._counts.keys()


ServerChange = Change[VirtualServer, Server]


class Changes(NamedTuple):
    servers: list[ServerChange]
    entries: Difference[Entry]
    addresses: Difference[str]


class Desired:
    """The objects that all service ports need. `entry_counts`: numbers of entries by set."""

    def __init__(self) -> None:
        self.entries: Shared[Entry] = Shared()
        self.addresses: Shared[str] = Shared()
        self.firewall: Shared[str] = Shared()
        self.entry_counts: Counter[str] = Counter()
        self._servers: Claims[VirtualServer, Server] = Claims()

    def change(self, name: ServicePortName, former: Wanted | None, fresh: Wanted | None) -> None:
        """Replace what one service port needs. `former` must be its last `fresh`."""
        self._servers.change(name, former.servers if former else {}, fresh.servers if fresh else {})
        if fresh:
            self.entries.want(fresh.entries)
            self.addresses.want(fresh.addresses)
            self.firewall.want(fresh.firewall)
        if former:
            self.entries.release(former.entries)
            self.addresses.release(former.addresses)
            self.firewall.release(former.firewall)

    def take_changes(self) -> Changes:
        """Return the net effect of all changes since the last call."""
        servers = self._servers.take_changes()
        entries = self.entries.take_changes()
        self.entry_counts.update(entry.set for entry in entries.added)
        self.entry_counts.subtract(entry.set for entry in entries.removed)
        return Changes(servers, entries, self.addresses.take_changes())

    def server(self, key: VirtualServer) -> Server | None:
        """Return the desired virtual server, which belongs to the first claimant by name."""
        return self._servers.get(key)

    def servers(self) -> KeysView[VirtualServer]:
        return self._servers.keys()

    @property
    def filled(self) -> set[str]:
        """Return the suffixes of the sets that have entries."""
        return {suffix for suffix, count in self.entry_counts.items() if count}
