"""Packets that the kernel still holds: for a processor, a slow link, or a neighbour's address.

Between namespaces a packet goes from one queue of a processor to the next, within microseconds on
an idle machine. While none waits in any queue, and no host waits to learn the link address of a
neighbour, only a new packet of a host, such as a retransmission, can make something happen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kproxy.kernel.netlink import NETLINK_ROUTE, Netlink, Request, attributes
from kproxy.kernel.netns import Namespace
from kproxy.kernel.rtnetlink import NEIGHBOUR

_QUEUES = Path("/proc/thread-self/net/softnet_stat")
# Of a line, which is a processor's: packets dropped because its queue was full, and the length of
# the queue (since Linux 5.10). Source: net/core/net-procfs.c, softnet_seq_show.
_DROPPED, _LENGTH = 1, 11
_GET_NEIGHBOURS = 30  # RTM_GETNEIGH
_INCOMPLETE = 0x01  # NUD_INCOMPLETE: asked for, and packets wait for the answer
_GET_DISCIPLINES = 38  # RTM_GETQDISC
_DISCIPLINE_BYTES = 20  # tcmsg
_STATISTICS, _QUEUE = 7, 3  # TCA_STATS2, TCA_STATS_QUEUE in it, whose first number is the length


class Queues(NamedTuple):
    """The queues of all processors, for all namespaces of the machine together."""

    waiting: int
    dropped: int
    """The number of packets that found a full queue, since the machine was started."""


def queues() -> Queues | None:
    """Return the state of the queues, None if this kernel does not tell it."""
    try:
        lines = [line.split() for line in _QUEUES.read_text(encoding="ascii").splitlines()]
        return Queues(
            waiting=sum(int(line[_LENGTH], 16) for line in lines),
            dropped=sum(int(line[_DROPPED], 16) for line in lines),
        )
    except (OSError, IndexError):
        return None


def holds_packets(namespace: Namespace) -> bool:
    """Tell whether packets wait in a namespace: in the queue of a link (such as netem's), or for
    the link address of a neighbour.
    """
    neighbours = Request(_GET_NEIGHBOURS, NEIGHBOUR.pack(0, 0, 0, 0, 0), ("list neighbours",))
    disciplines = Request(_GET_DISCIPLINES, bytes(_DISCIPLINE_BYTES), ("list queues of links",))
    with namespace.entered(), Netlink(NETLINK_ROUTE) as netlink:
        if any(NEIGHBOUR.unpack_from(each)[2] & _INCOMPLETE for each in netlink.dump(neighbours)):
            return True
        return any(map(_length, netlink.dump(disciplines)))


def _length(discipline: memoryview) -> int:
    """Return the number of packets that wait in the queue of a link."""
    statistics = dict(attributes(discipline[_DISCIPLINE_BYTES:])).get(_STATISTICS)
    queue = dict(attributes(statistics)).get(_QUEUE) if statistics else None
    return int.from_bytes(queue[:4], sys.byteorder) if queue else 0


class Stillness:
    """Tells that no packet is on its way any more, nor was lost in a full queue since creation."""

    def __init__(self) -> None:
        self._before = queues()

    def reigns(self, namespaces: Iterable[Namespace]) -> bool:
        """Tell it for the hosts of these namespaces; False if the kernel does not tell.

        A packet that a processor has just taken from a queue is in none: ask after a pause in
        which nothing was seen of any.
        """
        now = queues()
        if now is None or self._before is None:
            return False
        if now.waiting or now.dropped != self._before.dropped:
            return False
        return not any(map(holds_packets, namespaces))
