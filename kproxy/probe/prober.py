"""The prober: sends scapy's packets from inside the clients and watches every host at once.

Packets leave through a raw IP socket in the client's namespace, to which the kernel only adds
the link header. So a node's own packet passes its OUTPUT hook, as a process's would, and a pod's
or an outside client's goes over its real link into the node's PREROUTING.
The client's kernel knows nothing of these connections and resets them, which cleans up behind us.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Protocol, Self

from kproxy.forwarding.network import Network, Packet
from kproxy.kernel.running import on_uml
from kproxy.outcome import Observation
from kproxy.probe.batch import Batch, Pending
from kproxy.probe.journey import Journey, conclude, in_order
from kproxy.probe.taps import HasNamespace, Tap

_CLOCK_S = 0.01  # the kernel notes times only from a moment after the first socket that asks for it
# The kernel needs microseconds: this is for a machine that is busy otherwise. User-mode Linux
# stands still for as long as the machine has no time for it.
SILENCE_S = 2.0 if on_uml() else 0.5


class Probed(Protocol):
    """What can be probed: namespaces by host name, and the network they form. A Lab is one."""

    @property
    def hosts(self) -> Mapping[str, HasNamespace]: ...
    @property
    def network(self) -> Network: ...


class Prober:
    """Asks questions of one lab, packet by packet. A context manager: its taps stay open between
    questions and keep the namespaces of the lab alive.

    `silence_s`: open questions are given up when nothing at all was seen of any for so long.
    Not thread-safe.
    """

    def __init__(self, probed: Probed, *, silence_s: float = SILENCE_S) -> None:
        self._probed = probed
        self._silence_s = silence_s
        self._taps: dict[str, Tap] = {}
        # Starts anywhere: conntrack remembers the flows of an earlier prober for two minutes.
        self._serials = count(random.randrange(1 << 20))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the taps. Takes about 10 ms for each: the kernel waits until no packet is in it."""
        while self._taps:
            self._taps.popitem()[1].close()

    def ask(self, packet: Packet) -> Observation:
        return self.ask_many([packet])[0]

    def ask_many(self, packets: Sequence[Packet]) -> list[Observation]:
        """Return what became of each packet, in their order. They travel at the same time.

        Raises Unsupported for protocols that cannot be probed.
        """
        return [journey.observed for journey in self.follow_many(packets)]

    def follow_many(self, packets: Sequence[Packet]) -> list[Journey]:
        """As `ask_many`, with everything that was seen on the way."""
        self._open_taps()
        with Batch(list(self._taps.values()), self._silence_s) as batch:
            sent = [self._send(batch, packet) for packet in packets]
            batch.watch()
        network = self._probed.network
        return [
            Journey(
                tag=pending.probe.tag,
                source=pending.probe.source,
                source_port=pending.probe.source_port,
                seen=tuple(in_order(pending.seen)),
                observed=conclude(network, pending.client, pending.seen, pending.reply),
            )
            if pending
            else Journey(0, "", 0, (), Observation.dropped(packet.client, hops=(packet.client,)))
            for packet, pending in zip(packets, sent, strict=True)
        ]

    def _send(self, batch: Batch, packet: Packet) -> Pending | None:
        namespace = self._probed.hosts[packet.client].namespace
        return batch.send(packet, namespace, next(self._serials))

    def _open_taps(self) -> None:
        """Tap hosts that have no tap, close taps of removed ones, and discard what was heard."""
        hosts = self._probed.hosts
        for name, tap in list(self._taps.items()):
            if name not in hosts or hosts[name].namespace is not tap.namespace:
                self._taps.pop(name).close()
            else:
                tap.discard()
        first = not self._taps
        tapped = {tap.namespace for tap in self._taps.values()}
        for name, host in hosts.items():
            if host.namespace not in tapped:  # pods of the host network share their node's
                tapped.add(host.namespace)
                self._taps[name] = Tap(name, host.namespace)
        if first:
            time.sleep(_CLOCK_S)


def probe_many(probed: Probed, packets: Sequence[Packet]) -> list[Observation]:
    """Like `Prober.ask_many`, for those who ask only once."""
    with Prober(probed) as prober:
        return prober.ask_many(packets)
