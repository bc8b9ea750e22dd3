"""The changes of a packet on each host, derived from sightings. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, takewhile
from typing import NamedTuple

from kproxy.outcome import How
from kproxy.probe.journey import Seen
from kproxy.probe.packets import Role


class Flow(NamedTuple):
    """Addresses and ports of a packet at one place."""

    source: str
    source_port: int
    destination: str
    destination_port: int


class Visit(NamedTuple):
    """A packet on one host."""

    host: str
    entry: str
    """The link by which it entered, "" if it was sent by the host itself. If a bridge and its port
    saw it: the bridge.
    """
    exit: str
    """The link by which it left, "" if it did not."""
    before: Flow
    after: Flow
    hop_limits: frozenset[int] = frozenset()
    """Those that it had there: every router lowers it, so they tell one visit from the next."""
    how: How | None = None
    """The message, of a refusal."""

    @property
    def destination_changed(self) -> bool:
        return (self.before.destination, self.before.destination_port) != (
            self.after.destination,
            self.after.destination_port,
        )

    @property
    def source_changed(self) -> bool:
        return self.before.source != self.after.source


def visits(seen: Iterable[Seen], role: Role, made: Flow | None = None) -> list[Visit]:
    """Return the visits of the packets of this role, in order.

    `made`: the packet as sent by a process of the first host, before that host's own rules.
    """
    found: list[Visit] = []
    for host, group in groupby(_of_role(seen, role), key=lambda entry: entry.host):
        entries = list(group)
        # If a tunnel encapsulates or decapsulates it, the bare packet counts.
        bare = [entry for entry in entries if not entry.encapsulated] or entries
        first, last = bare[0], bare[-1]
        # A packet enters by a bridge's port, and then by the bridge, the link that routing knows.
        inbound = list(takewhile(lambda entry: not entry.outgoing, bare))
        before = made if made and not found and first.outgoing else flow(first)
        found.append(
            Visit(
                host=host,
                entry=inbound[-1].link if inbound else "",
                exit=last.link if last.outgoing else "",
                before=before,
                after=flow(last),
                hop_limits=frozenset(entry.sighting.hop_limit for entry in bare),
                how=first.sighting.how,
            )
        )
    return found


def flow(seen: Seen) -> Flow:
    at = seen.sighting
    return Flow(at.source, at.source_port, at.destination, at.destination_port)


def _of_role(seen: Iterable[Seen], role: Role) -> Iterable[Seen]:
    return (entry for entry in seen if entry.sighting.role is role)
