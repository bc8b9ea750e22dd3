"""What all service ports of a node want together, and what a change of some makes of it. Pure.

Services share things: two may name one external IP, two ports one local endpoint. A thing is there
as long as anybody wants it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, KeysView, Set
from typing import Generic, NamedTuple, TypeVar

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


class ServerChange(NamedTuple):
    """None: there is none."""

    key: VirtualServer
    before: Server | None
    after: Server | None


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
        # Several service ports may claim one address and port; all but one are out of luck.
        self._claims: dict[VirtualServer, dict[ServicePortName, Server]] = {}
        self._servers_before: dict[VirtualServer, Server | None] = {}

    def change(self, name: ServicePortName, former: Wanted | None, fresh: Wanted | None) -> None:
        """`former` must be what was given as `fresh` the last time."""
        for wish in (fresh,) if fresh else ():
            self.entries.want(wish.entries)
            self.addresses.want(wish.addresses)
            self.firewall.want(wish.firewall)
            for key, server in wish.servers.items():
                self._touch(key)
                self._claims.setdefault(key, {})[name] = server
        for wish in (former,) if former else ():
            self.entries.release(wish.entries)
            self.addresses.release(wish.addresses)
            self.firewall.release(wish.firewall)
            for key in wish.servers:
                if fresh is None or key not in fresh.servers:
                    self._touch(key)
                    self._disclaim(key, name)

    def take_changes(self) -> Changes:
        """The net effect of all changes since the last call."""
        touched, self._servers_before = self._servers_before, {}
        servers = [
            ServerChange(key, before, after)
            for key, before in touched.items()
            if before != (after := self.server(key))
        ]
        entries = self.entries.take_changes()
        self.entry_counts.update(entry.set for entry in entries.come)
        self.entry_counts.subtract(entry.set for entry in entries.gone)
        return Changes(servers, entries, self.addresses.take_changes())

    def server(self, key: VirtualServer) -> Server | None:
        """What the virtual server shall be: if several claim it, the first by name has it.

        In kube-proxy it is undefined who wins.
        """
        claims = self._claims.get(key)
        return claims[min(claims)] if claims else None

    def servers(self) -> KeysView[VirtualServer]:
        return self._claims.keys()

    @property
    def filled(self) -> set[str]:
        """The sets that have entries."""
        return {suffix for suffix, count in self.entry_counts.items() if count}

    def _touch(self, key: VirtualServer) -> None:
        if key not in self._servers_before:
            self._servers_before[key] = self.server(key)

    def _disclaim(self, key: VirtualServer, name: ServicePortName) -> None:
        claims = self._claims[key]
        del claims[name]
        if not claims:
            del self._claims[key]
