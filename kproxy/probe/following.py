"""Connections whose SYNs are followed on their way, so that their loss is known before a time-out.

A client that gets no answer sends its SYN again after one second, after three, and so on. Waiting
for that shows nothing new if a second SYN must fare like the first one. That is concluded only if

- the SYN was seen until it was lost or its answer was, and nothing is on its way any more: no
  packet waits for a processor, a link or a neighbour's address, or was dropped from a full queue;
- a probe, which is another SYN from the same client to the same address, was seen in the same
  places and no others;
- the caller knows why the probe ended there, and the reason is one that lasts: a rule, a routing
  setting, an answer that takes another way. It does not know why if, for instance, a socket that
  should have answered did not, or a host without a route was silent (Linux refuses only some of
  such packets).

The refusal of a SYN by a rule (ICMP) is concluded in the same way. The kernel ignores it if it
comes back while connect() still holds the socket, as it does between namespaces, and takes that of
the second SYN.

All else is waited for: what has connected and gets no answer, and protocols other than TCP.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Generic, Self, TypeVar

from kproxy.address import Family, family_of
from kproxy.forwarding.network import Packet
from kproxy.outcome import Connection, How, Outcome
from kproxy.probe.batch import Pending
from kproxy.probe.connection import TIMEOUT_S, Exchange, Exchanges
from kproxy.probe.journey import Journey, Seen, in_order
from kproxy.probe.packets import Role
from kproxy.probe.prober import Probed, Prober

_Answer = TypeVar("_Answer")
# Of refusals that only rules make, so that a second SYN gets one as well.
_ERRORS = {
    (Family.IPV4, How.PORT_UNREACHABLE): errno.ECONNREFUSED,
    (Family.IPV6, How.PORT_UNREACHABLE): errno.ECONNREFUSED,
    (Family.IPV4, How.PROHIBITED): errno.EHOSTUNREACH,
    (Family.IPV6, How.PROHIBITED): errno.EACCES,
}


class Followed(Generic[_Answer]):
    """Connections that are followed by the taps of a prober. A context manager."""

    def __init__(
        self,
        probed: Probed,
        prober: Prober,
        exchanges: Sequence[Exchange[_Answer]],
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Begin them, and wait until each is decided, or nothing is on its way any more.

        Raises like `exchange_many`, and like `Prober.ask_many`.
        """
        pending: list[Pending] = []

        def follow(packet: Packet) -> int:
            tag = prober.new_tag()
            pending.append(watching.follow(packet, tag))
            return tag

        with ExitStack() as stack:
            watching = stack.enter_context(prober.watching())
            self._exchanges = stack.enter_context(
                Exchanges(probed, exchanges, timeout_s=timeout_s, follow=follow)
            )
            followed = iter(pending)
            self._pending = [
                next(followed) if each.packet.protocol == "TCP" else None for each in exchanges
            ]

            def is_calm() -> bool:
                # Most have connected by now, and how they did that needs no look.
                watching.follow_only([each.probe.tag for _, each in self._connecting()])
                return watching.calm()

            self._exchanges.wait(is_calm)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def conclude(self, probes: Sequence[Journey], lasts: Callable[[int], bool]) -> None:
        """Decide the connections whose end is known from a probe, which each has one of.

        `lasts` tells, by the place of a probe, whether it ended for a known reason that lasts.
        """
        for place, pending in self._connecting():
            if not lasts(place):
                continue
            result = concluded(pending.seen, probes[place], pending.probe.address)
            if result:
                self._exchanges.conclude(place, result)

    def _connecting(self) -> list[tuple[int, Pending]]:
        """Return the followed connections that are undecided, with their places."""
        return [
            (place, pending)
            for place in self._exchanges.connecting
            if (pending := self._pending[place])
        ]

    def results(self) -> list[_Answer | Connection]:
        """Return the results in their order, after the time-out of what is undecided."""
        self._exchanges.wait()
        return self._exchanges.results()


def concluded(seen: Iterable[Seen], probe: Journey, address: str) -> Connection | None:
    """Return the end of a connection to `address` whose SYN was `seen` to fare like a probe.

    None if it did not, or if only time will tell.
    """
    if places(seen) != places(probe.seen) or probe.observed.answered:
        return None
    if probe.observed.outcome is not Outcome.REFUSED:
        refused = any(entry.sighting.role is Role.REFUSAL for entry in probe.seen)
        return None if refused else Connection(outcome=Outcome.TIMEOUT)
    code = _ERRORS.get((family_of(address), probe.observed.how or How.OTHER))
    return Connection(outcome=Outcome.REFUSED, errno=code) if code else None


def places(seen: Iterable[Seen]) -> list[tuple[Role, str, str, bool, How | None]]:
    """Return where packets were seen, by role and in order; repetitions count once."""
    found = dict.fromkeys(
        (each.sighting.role, each.host, each.link, each.outgoing, each.sighting.how)
        for each in in_order(seen)
    )
    return sorted(found, key=lambda place: place[0].value)
