"""What all service ports of a node want together, and what a change of some makes of it. Pure.

Services share things: two may name one external IP, two ports one local endpoint. A thing is there
as long as anybody wants it.
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
    come: list[_T]
    gone: list[_T]


def difference(wanted: Set[_T], present: Set[_T]) -> Difference[_T]:
    return Difference(come=list(wanted - present), gone=list(present - wanted))


class Shared(Generic[_T]):
    """Things with the number of those who want them."""

    def __init__(self) -> None:
        self._counts: dict[_T, int] = {}
        self._were_there: dict[_T, bool] = {}  # what has been touched since `take_changes`

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
        """What has come and what has gone since the last call."""
        touched, self._were_there = self._were_there, {}
        return Difference(
            come=[thing for thing, was in touched.items() if not was and thing in self._counts],
            gone=[thing for thing, was in touched.items() if was and thing not in self._counts],
        )

    def all(self) -> KeysView[_T]:
        return self._counts.keys()


ServerChange = Change[VirtualServer, Server]


class Changes(NamedTuple):
    servers: list[ServerChange]
    entries: Difference[Entry]
    addresses: Difference[str]


class Desired:
    """The sum of all wishes. `entry_counts`: entries by set."""

    def __init__(self) -> None:
        self.entries: Shared[Entry] = Shared()
        self.addresses: Shared[str] = Shared()
        self.firewall: Shared[str] = Shared()
        self.entry_counts: Counter[str] = Counter()
        self._servers: Claims[VirtualServer, Server] = Claims()

    def change(self, name: ServicePortName, former: Wanted | None, fresh: Wanted | None) -> None:
        """`former` must be what was given as `fresh` the last time."""
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
        """The net effect of all changes since the last call."""
        servers = self._servers.take_changes()
        entries = self.entries.take_changes()
        self.entry_counts.update(entry.set for entry in entries.come)
        self.entry_counts.subtract(entry.set for entry in entries.gone)
        return Changes(servers, entries, self.addresses.take_changes())

    def server(self, key: VirtualServer) -> Server | None:
        """What the virtual server shall be: the first by name of those that claim it has it."""
        return self._servers.get(key)

    def servers(self) -> KeysView[VirtualServer]:
        return self._servers.keys()

    @property
    def filled(self) -> set[str]:
        """The sets that have entries."""
        return {suffix for suffix, count in self.entry_counts.items() if count}
